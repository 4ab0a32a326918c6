"""How much of a scene is cloud, shadow, clear: fractions over valid pixels, per date."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube.layout import TIME_NAMES
from xr_cloudmask.errors import CloudMaskError, CoverageWarning
from xr_cloudmask.masks.schemes import CLOUDS, SURFACES, WATER, Scheme, scheme_of
from xr_cloudmask.names import (
    CLEAR_FRACTION,
    CLOUD_FRACTION,
    CLOUD_SHADOW_FRACTION,
    COUNTED_OVER,
    FRACTIONS,
    MASK_NAME,
    OF_THE_AREA,
    PERCENTAGES,
    THIN_CLOUD_FRACTION,
    VALID_FRACTION,
    WATER_FRACTION,
)

# What each fraction counts, in the terms of schemes.VOCABULARY. All are fractions of the valid pixels.
COUNTED: Mapping[str, tuple[str, ...]] = {
    CLOUD_FRACTION: CLOUDS,
    THIN_CLOUD_FRACTION: ("thin_cloud",),
    CLOUD_SHADOW_FRACTION: ("cloud_shadow",),
    CLEAR_FRACTION: SURFACES,
}
ATTRS: Mapping[str, dict[str, str]] = {
    name: {"long_name": f"{name.replace('_', ' ')} of {'all' if name == VALID_FRACTION else 'valid'} pixels"}
    | {"units": "1"}
    for name in FRACTIONS
}
STRIP = 1 << 18  # pixels: what fits the cache
LIKELY_CODES = (0, 255, 1, 2, 3, 4, 5, 6)


def limit(name: str, value: object) -> float:
    """Return a limit of a fraction, which is from 0 to 1 as the fraction is.

    Parameters
    ----------
    name : str
        The caller's keyword, for the error.
    value : float

    Raises
    ------
    CloudMaskError
        A percentage, or no number.

    Examples
    --------
    >>> limit("max_cloud", 0.15)
    0.15
    """
    number = float(value) if isinstance(value, Real) else math.nan
    if 0 <= number <= 1:
        return number
    percent = number / 100 if 1 < number <= 100 else 0.3
    found = f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}"
    raise CloudMaskError(found, "a fraction from 0 to 1", f"{name}={percent:g}")


def coverage(mask: xr.DataArray) -> xr.Dataset:
    """Return the fractions of cloud, thin cloud, shadow and clear over valid pixels, and of valid over all pixels.

    Parameters
    ----------
    mask : DataArray
        uint8 ``(time, y, x)`` or ``(y, x)`` with flag attributes.

    Returns
    -------
    Dataset
        A float64 variable per fraction, 0–1, dims ``(time,)`` or none. Lazy where the mask is. A date without any
        valid pixel has ``valid_fraction`` 0 and NaN elsewhere. A fraction that the scheme cannot tell (shadow in a
        binary mask) is left out.

    Raises
    ------
    CloudMaskError
        It is no cloud mask, or its codes do not tell which pixels are valid.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import SCHEMES, flag_attrs
    >>> mask = xr.DataArray(np.uint8([[0, 1], [3, 255]]), dims=("y", "x"), attrs=flag_attrs(SCHEMES["cloudsen12"]))
    >>> {name: round(float(value), 2) for name, value in coverage(mask).items()}
    {'cloud_fraction': 0.33, 'thin_cloud_fraction': 0.0, 'cloud_shadow_fraction': 0.33, 'clear_fraction': 0.33,
    'valid_fraction': 0.75}
    """
    scheme = scheme_of(mask)
    if scheme.name == WATER.name:
        raise CloudMaskError(
            f"the layer {str(mask.name)!r}, which says nothing of clouds",
            "a cloud mask",
            f"coverage of out['cloud_mask']; predict() gives {WATER_FRACTION!r} as a coordinate",
        )
    if not scheme.tells_no_data:
        raise CloudMaskError(
            f"a mask in scheme {scheme.name!r}, whose code {scheme.no_data} is both clear and no data",
            "a scheme that tells which pixels are valid",
            "predict(scheme='cloudsen12'); predict(scheme='4-4A', model='4-4A') has the fractions as coordinates",
        )
    return _coverage(mask, scheme)


def _coverage(mask: xr.DataArray, scheme: Scheme) -> xr.Dataset:
    time = next((dim for dim in mask.dims if dim in TIME_NAMES or _is_datetime(mask, str(dim))), None)
    weights = fraction_weights(scheme)
    table = _fractions(_histogram(mask, time), weights, scheme)
    dims = () if time is None else (time,)
    # Fractions and percentages that the mask already carries are of the area it was cut from: they are not reused.
    dated = {name: coord.variable for name, coord in mask.coords.items() if coord.dims == (time,)}
    coords = {name: variable for name, variable in dated.items() if name not in OF_THE_AREA}
    area = counted_over([size for dim, size in mask.sizes.items() if dim != time])
    names = (*weights, VALID_FRACTION)
    variables = {name: (dims, table[..., i], ATTRS[name] | area) for i, name in enumerate(names)}
    return xr.Dataset(variables, coords=coords)


def with_coverage(mask: xr.DataArray, target: xr.Dataset) -> xr.Dataset:
    """Add the mask's fractions to `target` as coordinates; NumPy masks without time get them as attributes too."""
    target[MASK_NAME].attrs = {k: v for k, v in target[MASK_NAME].attrs.items() if k not in (*FRACTIONS, COUNTED_OVER)}
    scheme = scheme_of(mask)
    if not scheme.tells_no_data:
        return target
    out = target.assign_coords({str(name): value.variable for name, value in _coverage(mask, scheme).items()})
    return stated(out) if mask.chunks is None else out


def stated(target: xr.Dataset) -> xr.Dataset:
    """Write the fractions of a mask in memory, and without time, into its attributes too."""
    fractions = {name: target[name] for name in FRACTIONS if name in target.coords}
    if all(value.ndim == 0 for value in fractions.values()):
        area = counted_over(list(target[MASK_NAME].shape)) if fractions else {}
        target[MASK_NAME].attrs.update({name: float(value) for name, value in fractions.items()} | area)
    return target


def warn_of(warnings_of_models: Iterable[str], stacklevel: int = 3) -> None:
    """Say again what models say of their masks, where something is decided by coverage."""
    for text in dict.fromkeys(filter(None, warnings_of_models)):
        warnings.warn(text, CoverageWarning, stacklevel=stacklevel + 1)


def counted_over(shape: Sequence[int]) -> dict[str, str]:
    """Return the attribute that says of how many pixels fractions are: a part of the mask has others.

    Examples
    --------
    >>> counted_over((5490, 5490))
    {'counted_over': '5490 x 5490 pixels'}
    """
    return {COUNTED_OVER: f"{' x '.join(map(str, shape))} pixels"}


def _is_datetime(mask: xr.DataArray, dim: str) -> bool:
    return dim in mask.coords and np.issubdtype(mask.coords[dim].dtype, np.datetime64)


def fraction_weights(scheme: Scheme) -> dict[str, npt.NDArray[np.bool_]]:
    """Return, for each fraction the scheme can tell, which of the 256 codes it counts."""
    weights = {}
    for name, counted in COUNTED.items():
        inside = {entry.code for entry in scheme.classes if set(entry.gathers) <= set(counted)}
        mixed = [entry for entry in scheme.classes if entry.code not in inside and set(entry.gathers) & set(counted)]
        if not mixed:
            weights[name] = np.isin(np.arange(256), list(inside))
    return weights


def _histogram(mask: xr.DataArray, time: Any) -> Any:
    """Count the pixels of every code, ``(256,)`` or ``(time, 256)``: one small task per chunk of the mask."""
    ordered = mask if time is None else mask.transpose(time, ...)
    values = ordered.data if time is not None else ordered.data[None]
    if ordered.chunks is None:
        counts = _count_codes(values)
    else:
        chunks = (values.chunks[0], (1,) * values.numblocks[1], (1,) * values.numblocks[2], (256,))
        blocks = values.map_blocks(
            _count_block,
            new_axis=3,
            chunks=chunks,
            dtype="int64",
            meta=np.empty((0,) * 4, "int64"),
            name=f"class-counts-{values.name}",
        )
        counts = blocks.sum(axis=(1, 2), split_every=8)
    return counts if time is not None else counts[0]


def _count_block(block: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    return _count_codes(block)[:, None, None, :]


def _count_codes(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    counts = np.zeros((len(labels), 256), "int64")
    for d, date in enumerate(labels):
        pixels = date.reshape(-1)
        for i in range(0, pixels.size, STRIP):
            counts[d] += _count(pixels[i : i + STRIP])
    return counts


def _count(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Count code by code until none is left: a mask has few, and a comparison is a tenth of what bincount takes."""
    counts, left = np.zeros(256, "int64"), pixels.size
    for code in LIKELY_CODES:
        counts[code] = np.count_nonzero(pixels == code)
        left -= counts[code]
        if not left:
            return counts
    return np.bincount(pixels, minlength=256)


def _fractions(counts: Any, weights: Mapping[str, npt.NDArray[np.bool_]], scheme: Scheme) -> Any:
    """Turn counts ``(..., 256)`` into fractions ``(..., fraction)``."""
    named = tuple(entry.code for entry in scheme.classes)
    check = partial(_require_named, named=(*named, scheme.no_data), names=tuple(c.name for c in scheme.classes))
    counts = check(counts) if isinstance(counts, np.ndarray) else counts.map_blocks(check, dtype="int64")
    return _divided(counts, np.stack([*weights.values(), np.arange(256) != scheme.no_data, np.ones(256)], axis=1), 1.0)


def _require_named(
    counts: npt.NDArray[np.int64], *, named: tuple[int, ...], names: tuple[str, ...]
) -> npt.NDArray[np.int64]:
    """Refuse codes that no flag names: they would be valid, and neither cloud nor clear."""
    present = np.flatnonzero(counts.reshape(-1, 256).any(axis=0))
    unknown = sorted(set(present.tolist()) - set(named))
    if unknown:
        raise CloudMaskError(
            f"a mask with codes {unknown}, which its flags do not name",
            f"codes {sorted(set(named))}: {', '.join(names)}, no data",
            "to_scheme('cloudsen12') on each mask before masks of several models are joined; "
            "mask.where(mask.isin(mask.attrs['flag_values']), 255) where they mean no data",
        )
    return counts


def _divided(counts: Any, matrix: npt.NDArray[np.float64], scale: Any) -> Any:
    """Return sums of counts per sum of valid ones, the last but one, and that per sum of all, the last; lazily."""
    if isinstance(counts, np.ndarray):
        return _divide(counts, matrix, scale)
    chunks = (*counts.chunks[:-1], (matrix.shape[1] - 1,))
    return counts.map_blocks(_divide, matrix, scale, dtype="float64", chunks=chunks, meta=np.empty((0,) * counts.ndim))


def _divide(counts: npt.NDArray[np.int64], matrix: npt.NDArray[np.float64], scale: Any) -> npt.NDArray[np.float64]:
    sums = counts @ matrix
    valid, total = sums[..., -2:-1], sums[..., -1:]
    with np.errstate(invalid="ignore"):
        return np.asarray(scale * np.concatenate([sums[..., :-2] / valid, valid / total], axis=-1))


def shares(counts: Any, counted: Sequence[str], scheme: Scheme) -> dict[str, tuple[Any, dict[str, str]]]:
    """Return the fractions and percentages of scenes, and their attributes, from what was counted; lazy where it is.

    Parameters
    ----------
    counts : array
        int64 ``(date, count)`` or ``(count,)``.
    counted : sequence of str
        What was: every class of the scheme, ``"no_data"``, ``"cloud"``, in shadow or not, and ``"water"``.
    scheme : Scheme

    Returns
    -------
    dict
        By name, float64 ``(date,)`` or one number; NaN for a date without data.

    Examples
    --------
    >>> from xr_cloudmask.masks.schemes import scheme_for
    >>> counted = ["clear", "thick_cloud", "cloud_shadow", "no_data", "cloud", "water"]
    >>> found = shares(np.array([2, 1, 1, 4, 2, 1]), counted, scheme_for("native", counted[:3]))
    >>> {name: float(found[name][0]) for name in ("cloud_fraction", "cloud_percentage", "valid_fraction")}
    {'cloud_fraction': 0.25, 'cloud_percentage': 50.0, 'valid_fraction': 0.5}
    """
    classes = {entry.code: entry.name for entry in scheme.classes}
    parts = {
        name: {classes[code] for code in classes if inside[code]} for name, inside in fraction_weights(scheme).items()
    }
    parts |= dict(zip(PERCENTAGES, ({"cloud"}, parts[CLOUD_SHADOW_FRACTION], {"water"}), strict=True))
    parts |= {WATER_FRACTION: {"water"}, VALID_FRACTION: set(classes.values())}
    columns = [*parts.values(), {*classes.values(), "no_data"}]
    matrix = np.array([[name in column for column in columns] for name in counted], "float64")
    table = _divided(counts, matrix, np.array([100.0 if name in PERCENTAGES else 1.0 for name in parts]))
    attrs = {**ATTRS, **{key: {"units": "percent"} for key in PERCENTAGES}}
    return {name: (table[..., i], attrs.get(name, {"units": "1"})) for i, name in enumerate(parts)}
