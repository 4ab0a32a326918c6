"""How many networks of an ensemble agree with the mask, as a layer and as the mean of every date."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from xr_cloudmask.engine.tile import NO_VOTES


def shares(votes: Any, networks: int) -> Any:
    """Return the share of networks that agree, float32 ``(date, y, x)``, NaN where no data; lazy where the votes are.

    Examples
    --------
    >>> shares(np.uint8([[[4, 1, 255]]]), 4)
    array([[[1.  , 0.25,  nan]]], dtype=float32)
    """
    if isinstance(votes, np.ndarray):
        return _shares(votes, networks)
    return votes.map_blocks(_shares, networks, dtype="float32", meta=np.empty((0,) * 3, "float32"))


def _shares(votes: npt.NDArray[np.uint8], networks: int) -> npt.NDArray[np.float32]:
    table = np.full(256, np.nan, "float32")
    table[: networks + 1] = np.arange(networks + 1) / networks
    return table[votes]


def mean(votes: Any, networks: int) -> Any:
    """Return the mean share over the valid pixels of every date, float64 ``(date,)``; the same bits for any chunks.

    Examples
    --------
    >>> mean(np.uint8([[[4, 2, 255]], [[255, 255, 255]]]), 4)
    array([0.75,  nan])
    """
    if isinstance(votes, np.ndarray):
        return _divided(_sums(votes)[:, 0, 0], networks)
    ones = [(1,) * count for count in votes.numblocks[1:]]
    parts = votes.map_blocks(
        _sums, new_axis=3, chunks=(votes.chunks[0], *ones, (2,)), dtype="int64", meta=np.empty((0,) * 4, "int64")
    )
    counts = parts.sum(axis=(1, 2), split_every=8)
    return counts.map_blocks(_divided, networks, drop_axis=1, dtype="float64", meta=np.empty(0))


def _sums(votes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the votes and the valid pixels of every date, ``(date, 1, 1, 2)``."""
    valid = votes != NO_VOTES
    agreeing = np.where(valid, votes, 0).sum(axis=(1, 2), dtype="int64")
    return np.stack([agreeing, valid.sum(axis=(1, 2), dtype="int64")], axis=-1)[:, None, None]


def _divided(sums: npt.NDArray[np.int64], networks: int) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[:, 0] / (sums[:, 1] * networks))
