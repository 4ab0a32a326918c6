"""What masks are judged by: classes that both tell apart, and which of them probabilities decide for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube.metadata import is_number
from xr_cloudmask.errors import CloudMaskError, is_one_of
from xr_cloudmask.masks.schemes import CLOUDS, SCHEMES, SURFACES, Scheme
from xr_cloudmask.names import CLASS_NAME

Words: TypeAlias = tuple[str, ...]  # of schemes.VOCABULARY
Classes: TypeAlias = Mapping[str, Words]  # a name, and the words that it stands for

# What masks of every kind are judged by.
JUDGED: Classes = {"clear": SURFACES, "cloud": CLOUDS, "cloud_shadow": ("cloud_shadow",)}
NOT_JUDGED = 255

# Sets of classes by name: those of schemes, and the three above.
JUDGINGS: Mapping[str, Classes] = {"clouds_and_shadows": JUDGED} | {
    name: {entry.name: entry.gathers for entry in scheme.classes}
    for name, scheme in SCHEMES.items()
    if scheme.tells_no_data
}
# The first that two masks both tell apart is taken.
USUAL = ("clouds_and_shadows", "binary", "validity")


def place_of(words: Sequence[str], title: str, classes: Classes = JUDGED) -> int:
    """Return the place in `classes` of what stands for some words of the vocabulary.

    Raises
    ------
    CloudMaskError
        It puts together what is judged apart.
    """
    found = _place(words, classes)
    if found is None:
        raise CloudMaskError(
            f"{title}, which stands for {list(words)}",
            f"classes that tell {', '.join(classes)} apart",
            "a mask of scheme 'cloudsen12' or 'sensei'",
        )
    return found


def _place(words: Sequence[str], classes: Classes) -> int | None:
    places = (place for place, members in enumerate(classes.values()) if set(words) <= set(members))
    return next(places, None)


def tells(words: Sequence[Sequence[str]], classes: Classes) -> bool:
    """Whether whatever stands for each of some words falls into one class.

    Examples
    --------
    >>> tells([SURFACES, CLOUDS], JUDGED), tells([(*SURFACES, "cloud_shadow"), CLOUDS], JUDGED)
    (True, False)
    """
    return all(_place(each, classes) is not None for each in words)


def judging_for(words: Sequence[Sequence[str]], asked: str | None = None, usual: Sequence[str] = USUAL) -> str:
    """Return the name of the first of `JUDGINGS` that whatever stands for some words can be judged by.

    Raises
    ------
    CloudMaskError
        Unknown classes, or classes that are not told apart.
    """
    if asked is not None and not is_one_of(asked, JUDGINGS):
        raise CloudMaskError(f"classes={asked!r}", f"one of {list(JUDGINGS)}", f"classes={USUAL[0]!r}")
    names = usual if asked is None else (asked,)
    found = next((name for name in names if tells(words, JUDGINGS[name])), None)
    if found is None:
        mixed = sorted({"/".join(each) for each in words if _place(each, JUDGINGS[names[0]]) is None})
        others = [name for name in (*USUAL, *JUDGINGS) if tells(words, JUDGINGS[name])]
        raise CloudMaskError(
            f"masks with classes that stand for {mixed}",
            f"classes that can be told apart as {list(JUDGINGS[names[0]])}",
            f"classes={others[0]!r}" if others else "masks of scheme 'cloudsen12'",
        )
    return found


def gathered(scheme: Scheme) -> list[Words]:
    """Return the words that each class of a scheme stands for."""
    return [entry.gathers for entry in scheme.classes]


def table_of(scheme: Scheme, classes: Classes) -> npt.NDArray[np.uint8]:
    """Return the place in `classes` of each of the 256 codes of a mask; `NOT_JUDGED` of no data and unknown codes."""
    places = np.full(256, NOT_JUDGED, "uint8")
    for entry in scheme.classes:
        places[entry.code] = place_of(entry.gathers, f"class {entry.name!r} of scheme {scheme.name!r}", classes)
    return places


def most_probable(
    probability: xr.DataArray,
    classes: Classes = JUDGED,
    threshold: float | None = None,
    words: Classes | None = None,
) -> Any:
    """Return the place in `classes` with the largest sum of probabilities; `NOT_JUDGED` where there are no data.

    Parameters
    ----------
    probability : DataArray
        float ``(…, class, y, x)`` with the model's own classes as coordinate.
    classes : mapping
        Of `JUDGINGS`.
    threshold : float, optional
        Cloud is what is cloud with at least this probability; by default what is most probable.
    words : mapping, optional
        What the classes of the probabilities stand for; by default each for itself.

    Returns
    -------
    array
        uint8, of the dimensions without ``class``; lazy where the probabilities are.
    """
    names = [str(name) for name in probability[CLASS_NAME].values if name != "no_data"]
    stands = dict.fromkeys(names) | dict(words or {})
    places = np.array([place_of(stands[n] or (n,), f"class {n!r} of the model", classes) for n in names])
    is_cloud = np.array([set(members) <= set(CLOUDS) for members in classes.values()])
    if threshold is not None and not is_cloud.any():
        raise CloudMaskError(
            f"a threshold of cloud for the classes {list(classes)}", "classes with cloud", f"classes={USUAL[0]!r}"
        )
    limit = None if threshold is None else _checked(threshold)
    place = partial(_places, of_names=places, is_cloud=is_cloud, limit=limit)
    chances = probability.sel({CLASS_NAME: names}).transpose(CLASS_NAME, ...)
    if chances.chunks is None:
        return place(chances.values)
    meta = np.empty((0,) * (chances.ndim - 1), "uint8")
    return chances.chunk({CLASS_NAME: -1}).data.map_blocks(place, drop_axis=0, dtype="uint8", meta=meta)


def _places(
    chances: npt.NDArray[np.float32],
    *,
    of_names: npt.NDArray[np.int_],
    is_cloud: npt.NDArray[np.bool_],
    limit: float | None,
) -> npt.NDArray[np.uint8]:
    """Return the place of every pixel, given probabilities ``(class, …)``."""
    sums = np.stack([chances[of_names == place].sum(axis=0) for place in range(len(is_cloud))])
    if limit is not None:
        cloudy = sums[is_cloud].sum(axis=0) >= limit
        sums = np.where(is_cloud.reshape(-1, *[1] * cloudy.ndim) == cloudy, sums, -1.0) + 0 * sums  # NaN stays
    found = np.where(np.isnan(sums[0]), NOT_JUDGED, np.nan_to_num(sums, nan=-1.0).argmax(axis=0))
    return found.astype("uint8")


def _checked(threshold: object) -> float:
    if not is_number(threshold) or not 0 < float(threshold) <= 1:
        raise CloudMaskError(f"threshold={threshold!r}", "a probability above 0, at most 1", "threshold=0.5")
    return float(threshold)
