"""What one task does: cube pixels → reflectance → model pixels → windows → probabilities → labels. Plain NumPy."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import compress, product
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from xr_cloudmask.cube.bands import BandDescriptor
from xr_cloudmask.cube.calibration import Calibration
from xr_cloudmask.cube.plausible import SAMPLE, require_plausible
from xr_cloudmask.cube.reflectance import blank, to_units
from xr_cloudmask.cube.sun import Sun
from xr_cloudmask.engine.lattice import Axis, batches
from xr_cloudmask.models import registry
from xr_cloudmask.models.base import FloatArray, ModelSpec, shows_visible
from xr_cloudmask.models.merging import Merged

# A model uses every thread of its process, unless it says otherwise (`threaded = False`), so one window batch at a time
# is as fast as the process can be. Other threads meanwhile read, calibrate and write.
_INFERENCE = threading.Lock()

# Label of a pixel whose values can be no measurement, until it is counted and becomes no data; a code of no scheme.
DROPPED = 254
NO_VOTES = 255  # of pixels without data, where nobody agrees or disagrees


class ToLabels(Protocol):
    """Turns class probabilities into labels; `masks.labels.Labeller` is one."""

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, in the order of the gathered probabilities."""
        ...

    @property
    def no_data(self) -> int:
        """The code of pixels without data."""
        ...

    def gather(self, probabilities: FloatArray) -> FloatArray:
        """Sum ``(class, y, x)`` into the classes of the scheme."""
        ...

    def label(self, probabilities: FloatArray) -> npt.NDArray[np.uint8]:
        """Return the code of the most probable class of ``(class, y, x)``."""
        ...

    def agreeing(
        self, codes: npt.NDArray[np.uint8], votes: npt.NDArray[np.uint8], judged: Sequence[Sequence[int]]
    ) -> npt.NDArray[np.uint8]:
        """Return how many of ``(judged, y, x)`` votes are for what each code stands for."""
        ...


# Labels, probabilities and votes of a tile; the latter two where they are asked for.
Predicted = tuple[npt.NDArray[np.uint8], FloatArray | None, npt.NDArray[np.uint8] | None]


@dataclass(frozen=True)
class Job:
    """Everything that the tasks of one prediction share. It enters the graph once, and holds no weights.

    Attributes
    ----------
    spec : ModelSpec
    descriptors : tuple of BandDescriptor
        The bands, in the order in which they come.
    merged : tuple of Merged
        The bands as the model sees them, in its order.
    calibrations : tuple of Calibration
        How each becomes reflectance.
    rows, columns : Axis
        The window lattice, in model pixels.
    shape : tuple of int
        ``(y, x)`` of the cube.
    factor : int
        Cube pixels per model pixel, along an axis.
    to_labels : ToLabels
    device : str or None
    batch_size : int or None
        Windows per call of the model; None leaves it to the model.
    suns : tuple of Sun
        For models that ask where shadows fall: one for all dates or one per date.
    judged : tuple of tuple of int
        Of an ensemble, where it is asked how many of its networks agree: on what, as positions of its classes.
    """

    spec: ModelSpec
    descriptors: tuple[BandDescriptor, ...]
    merged: tuple[Merged, ...]
    calibrations: tuple[Calibration, ...]
    rows: Axis
    columns: Axis
    shape: tuple[int, int]
    factor: int
    to_labels: ToLabels
    device: str | None
    batch_size: int | None
    suns: tuple[Sun, ...] = ()
    judged: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Tile:
    """The windows and dates of one task.

    Attributes
    ----------
    date : int
        First date.
    rows, columns : tuple of int
        First and last (exclusive) window along each axis.
    """

    date: int
    rows: tuple[int, int]
    columns: tuple[int, int]


def reads(job: Job, tile: Tile) -> tuple[slice, slice]:
    """Return the cube pixels (rows, columns) that a tile reads: its core and the halo of its windows."""
    rows, columns = job.rows.reach(*tile.rows), job.columns.reach(*tile.columns)
    return _cube_slice(job, rows, 0), _cube_slice(job, columns, 1)


def writes(job: Job, tile: Tile) -> tuple[slice, slice]:
    """Return the cube pixels (rows, columns) that a tile decides."""
    edges = [(axis.edges[first], axis.edges[last]) for axis, (first, last) in _axes(job, tile)]
    return _cube_slice(job, edges[0], 0), _cube_slice(job, edges[1], 1)


def _axes(job: Job, tile: Tile) -> tuple[tuple[Axis, tuple[int, int]], tuple[Axis, tuple[int, int]]]:
    return (job.rows, tile.rows), (job.columns, tile.columns)


def _cube_slice(job: Job, pixels: tuple[int, int], axis: int) -> slice:
    return slice(pixels[0] * job.factor, min(pixels[1] * job.factor, job.shape[axis]))


def predict_tile(job: Job, tile: Tile, bands: Sequence[npt.NDArray[Any]], probabilities: bool) -> Predicted:
    """Predict a tile.

    Parameters
    ----------
    job, tile
    bands : sequence of ndarray
        Digital numbers ``(date, y, x)`` of each band over `reads`.
    probabilities : bool
        Whether to return probabilities too.

    Returns
    -------
    labels : ndarray
        uint8 ``(date, y, x)`` over `writes`; `DROPPED` where values can be no measurement.
    probabilities : ndarray or None
        float32 ``(date, class, y, x)`` over `writes`, NaN where no data.
    votes : ndarray or None
        uint8 ``(date, y, x)`` over `writes`: networks of an ensemble that agree with the label; `NO_VOTES` where no
        data.

    Raises
    ------
    ReflectanceError
        What a window shows cannot be what the calibrations make of it.
    """
    read, write = reads(job, tile), writes(job, tile)
    shape = tuple(part.stop - part.start for part in write)
    dates = len(bands[0])
    labels = np.full((dates, *shape), job.to_labels.no_data, dtype="uint8")
    chances = np.full((dates, len(job.to_labels.names), *shape), np.nan, dtype="float32") if probabilities else None
    votes = np.full_like(labels, NO_VOTES) if job.judged else None
    together = [one.positions for one in job.merged]
    for date in range(dates):
        values = [band[date] for band in bands]
        _judge(job, tile, values, tile.date + date)
        reflectance, valid, beyond = model_pixels(values, job.calibrations, job.factor, tile.date + date, together)
        core = tuple(slice(w.start - r.start, w.stop - r.start) for w, r in zip(write, read, strict=True))
        if not valid[core].any():
            labels[date][beyond[core]] = DROPPED
            continue
        out, agreed = (None if layer is None else layer[date] for layer in (chances, votes))
        _predict_windows(job, replace(tile, date=tile.date + date), reflectance, (labels[date], out, agreed))
        labels[date][~valid[core]] = job.to_labels.no_data
        labels[date][beyond[core]] = DROPPED
        if out is not None:
            out[:, ~valid[core]] = np.nan
        if agreed is not None:
            agreed[~valid[core]] = NO_VOTES
    return labels, chances, votes


def _judge(job: Job, tile: Tile, values: Sequence[npt.NDArray[Any]], date: int) -> None:
    """Refuse what a window shows; a window is the same whatever chunks the cube has."""
    read, visible = reads(job, tile), [shows_visible(band) for band in job.descriptors]
    for i, j in product(range(*tile.rows), range(*tile.columns)):
        seen = reads(job, Tile(date, (i, i + 1), (j, j + 1)))
        rows, columns = (slice(s.start - r.start, s.stop - r.start) for s, r in zip(seen, read, strict=True))
        step = max(1, math.isqrt((rows.stop - rows.start) * (columns.stop - columns.start) // SAMPLE))
        sample = [band[rows, columns][::step, ::step] for band in values]
        zero, same = blank(sample, job.calibrations, date)
        require_plausible([band[~(zero | same)] for band in sample], job.calibrations, visible, date, zero.size)


def model_pixels(
    bands: Sequence[npt.NDArray[Any]],
    calibrations: Sequence[Calibration],
    factor: int,
    date: int,
    together: Sequence[tuple[int, ...]],
) -> tuple[list[FloatArray], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return merged bands at the model's pixels and, at the cube's pixels, where all of them have data.

    Returned last is where values that can be no measurement became no data, at the cube's pixels.

    Parameters
    ----------
    bands : sequence of ndarray
        Digital numbers ``(y, x)`` of one date.
    calibrations : sequence of Calibration
        How each band becomes reflectance.
    factor : int
        Cube pixels per model pixel, along an axis.
    date : int
        Position of the date in the cube.
    together : sequence of tuple of int
        Which bands are averaged to one; mostly each by itself.
    """
    zero, dropped = blank(bands, calibrations, date)
    without = zero | dropped
    valid, coarse = ~without, []
    again = np.empty(valid.shape, "float32") if factor > 1 else None  # a mean needs the pixels no longer
    for positions in together:
        values = (to_units(bands[i], calibrations[i], date, again) for i in positions)
        mean = _mean_of_bands(values, len(positions), factor, blank=without, valid=valid, dropped=dropped)
        coarse.append(mean)
    return coarse, valid, dropped & ~zero & ~valid


def _mean_of_bands(
    bands: Iterable[FloatArray],
    number: int,
    factor: int,
    *,
    blank: npt.NDArray[np.bool_],
    valid: npt.NDArray[np.bool_],
    dropped: npt.NDArray[np.bool_],
) -> FloatArray:
    """Average the block means of some bands, one after the other; a pixel is valid where any of them is."""
    from xr_cloudmask.engine import kernels

    if number == 1:
        return block_mean(next(iter(bands)), blank, factor, valid, dropped)
    shape = tuple(-(-size // factor) for size in valid.shape)
    total, count = np.zeros(shape, "float32"), np.zeros(shape, "float32")
    seen = np.zeros_like(valid)
    for band in bands:
        has_data = valid.copy()
        mean = block_mean(band, blank, factor, has_data, dropped)
        kernels.add(mean.reshape(-1), total.reshape(-1), count.reshape(-1))
        seen |= has_data
    valid &= seen
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)


def block_mean(
    values: FloatArray,
    blank: npt.NDArray[np.bool_],
    factor: int,
    valid: npt.NDArray[np.bool_],
    dropped: npt.NDArray[np.bool_],
) -> FloatArray:
    """Average blocks of ``factor × factor`` pixels, leaving out what is no number or blank; blocks may be incomplete.

    What is left out is no longer `valid`, and NaN in `values` too; what is infinite is `dropped`. All arrays are
    contiguous.

    Examples
    --------
    >>> valid, dropped = np.ones((2, 3), bool), np.zeros((2, 3), bool)
    >>> block_mean(np.float32([[1, 3, 5], [1, np.inf, 7]]), np.zeros((2, 3), bool), 2, valid, dropped)
    array([[1.6666666, 6.       ]], dtype=float32)
    >>> valid.tolist(), dropped.tolist()
    ([[True, True, True], [True, False, True]], [[False, False, False], [False, True, False]])
    """
    from xr_cloudmask.engine import kernels

    kernels.mark(values.reshape(-1), blank.reshape(-1), valid.reshape(-1), dropped.reshape(-1))
    if factor == 1:
        return values
    out = np.empty(tuple(-(-size // factor) for size in values.shape), "float32")
    kernels.block_mean(values, factor, out)
    return out


def _predict_windows(job: Job, tile: Tile, reflectance: Sequence[FloatArray], layers: Predicted) -> None:
    """Fill the layers of one date, batch by batch."""
    model: Any = registry.load(job.spec, job.device)
    seen = tuple(one.descriptor for one in job.merged)
    known = (seen, job.suns[tile.date % len(job.suns)]) if job.suns else (seen,)
    origin = (job.rows.starts[tile.rows[0]], job.columns.starts[tile.columns[0]])
    for batch in batches(range(*tile.rows), range(*tile.columns), job.batch_size or model.batch_size):
        cuts = [_cut(job, reflectance, i, j, origin) for i, j in batch]
        wanted = [bool(np.isfinite(cut).any()) for cut in cuts]
        if not any(wanted):
            continue
        results, votes = _infer(job, model, np.stack(list(compress(cuts, wanted))), *known)
        seen_by = zip(results, compress(cuts, wanted), strict=True)
        ruled = [model.decided(*pair) for pair in seen_by] if job.spec.decides else results
        for window, *found in zip(compress(batch, wanted), results, ruled, votes, strict=True):
            _place(job, tile, window, found, layers)


def _infer(job: Job, model: Any, windows: FloatArray, *known: Any) -> tuple[FloatArray, Sequence[Any]]:
    """Return probabilities, and the votes of an ensemble, of each window."""
    with _INFERENCE if getattr(model, "threaded", True) else nullcontext():
        if job.judged:
            judged: tuple[FloatArray, Sequence[Any]] = model.judged(windows, *known)
            return judged
        return model.probabilities(windows, *known), [None] * len(windows)


def _cut(job: Job, reflectance: Sequence[FloatArray], i: int, j: int, origin: tuple[int, int]) -> FloatArray:
    """Cut window ``(i, j)`` out of a tile; an array smaller than the window is mirrored until it fills it."""
    y, x = job.rows.starts[i] - origin[0], job.columns.starts[j] - origin[1]
    window = np.stack([band[y : y + job.rows.window, x : x + job.columns.window] for band in reflectance])
    lacking = (job.rows.window - window.shape[1], job.columns.window - window.shape[2])
    if lacking == (0, 0):
        return window
    return np.pad(window, ((0, 0), (0, lacking[0]), (0, lacking[1])), mode="symmetric")


def _place(
    job: Job,
    tile: Tile,
    window: tuple[int, int],
    found: Sequence[Any],
    layers: Predicted,
) -> None:
    """Write the core of one window's result into the tile, at the cube's pixels."""
    (result, ruled, said), (labels, chances, votes) = found, layers
    one = Tile(tile.date, (window[0], window[0] + 1), (window[1], window[1] + 1))
    target = tuple(
        slice(part.start - whole.start, part.stop - whole.start)
        for part, whole in zip(writes(job, one), writes(job, tile), strict=True)
    )
    core = tuple(
        slice(axis.edges[k] - axis.starts[k], axis.edges[k + 1] - axis.starts[k])
        for axis, k in zip((job.rows, job.columns), window, strict=True)
    )
    shape = labels[target].shape
    codes = job.to_labels.label(ruled[:, *core])
    labels[target] = repeat(codes, job.factor)[: shape[0], : shape[1]]
    if votes is not None:
        agreeing = job.to_labels.agreeing(codes, said[:, *core], job.judged)
        votes[target] = repeat(agreeing, job.factor)[: shape[0], : shape[1]]
    if chances is not None:
        gathered = job.to_labels.gather(result)
        chances[:, *target] = interpolate(gathered, core, job.factor)[:, : shape[0], : shape[1]]


def repeat(values: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Repeat every pixel ``factor × factor`` times."""
    return values if factor == 1 else values.repeat(factor, axis=0).repeat(factor, axis=1)


def interpolate(values: FloatArray, core: Sequence[slice], factor: int) -> FloatArray:
    """Interpolate the core of ``(class, y, x)`` bilinearly to pixels `factor` times finer.

    Pixel centres are where they belong: a coarse pixel lies in the middle of its block. Neighbours come from the
    window's own halo, so that a window's result stays its own affair.

    Examples
    --------
    >>> interpolate(np.float32([[[0, 1]]]), (slice(0, 1), slice(0, 2)), 2)
    array([[[0.  , 0.25, 0.75, 1.  ],
            [0.  , 0.25, 0.75, 1.  ]]], dtype=float32)
    """
    for axis, part in zip((1, 2), core, strict=True):
        values = _interpolate_axis(values, axis, part, factor)
    return values


def _interpolate_axis(values: FloatArray, axis: int, core: slice, factor: int) -> FloatArray:
    if factor == 1:
        return values[(slice(None),) * axis + (core,)]
    at = (np.arange(core.start * factor, core.stop * factor) + 0.5) / factor - 0.5
    below = np.floor(at).astype(int)
    weight = (at - below).astype("float32")
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    last = values.shape[axis] - 1
    low, high = (values.take(np.clip(k, 0, last), axis=axis) for k in (below, below + 1))
    between: FloatArray = low + (high - low) * weight.reshape(shape)
    return between
