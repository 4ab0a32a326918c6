"""What a loader has done to the values of a cube's bands, and so what items say of the values as they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xr_cloudmask.cube.bands import THERMAL
from xr_cloudmask.cube.declared import (
    APPLIED_OFFSET,
    APPLIED_SCALE,
    NUMBERS_UNITS,
    OFFSET,
    SCALE,
    declared_scaling,
)
from xr_cloudmask.cube.layout import CubeView
from xr_cloudmask.cube.plausible import HOTTEST, LARGEST_TYPICAL, SAMPLE
from xr_cloudmask.cube.rules import is_marked
from xr_cloudmask.errors import StacError
from xr_cloudmask.stac.assets import StatedBand, stated
from xr_cloudmask.stac.facts import BandAttributes

if TYPE_CHECKING:
    from pystac import Asset, Item

AS_STORED, RESCALED, FRACTIONS, FINAL = (
    "as in the files",
    "rescaled by stackstac",
    "fractions",
    "says itself what it is",
)
UNITS_OF_REFLECTANCE = ("1", "%", "percent")
UNCHANGED = (1.0, 0.0)  # a scale and an offset that change nothing
INTEGERS = "stackstac.stack(items, rescale=False, dtype='uint16', fill_value=numpy.uint16(0))"


def said_of_bands(view: CubeView, items: Sequence[Item]) -> list[BandAttributes]:
    """Return what every item says of those of the cube's bands that it has.

    Raises
    ------
    StacError
        stackstac rescaled a band on some dates and not on others.
    """
    found = [stated(item, view.bands) for item in items]
    known = {name: [said[name] for said in found if name in said] for name in view.bands}
    states = {name: _state(view, name, said) for name, said in known.items() if said}
    is_float = {name: view.bands[name].dtype.kind == "f" for name in states}
    return [
        {name: _of_state(states[name], is_float[name], said) for name, said in of_item.items()} for of_item in found
    ]


def _state(view: CubeView, name: str, said: Sequence[StatedBand]) -> str:
    values = view.bands[name]
    if values.dtype.kind != "f":
        return AS_STORED
    if is_marked(view, name) or values.attrs.get("units") in UNITS_OF_REFLECTANCE:
        return FINAL
    in_memory, is_spectral = values.chunks is None, said[0].is_spectral
    of_stackstac = "epsg" in view.source.coords  # what is left of it where dates were joined
    largest = HOTTEST if _is_thermal(said[0].attrs) else LARGEST_TYPICAL
    if in_memory and is_spectral and _typical(values.variable) > largest:
        return AS_STORED
    if of_stackstac and _are_rescaled(name, said):
        return RESCALED
    declared = declared_scaling(view, name)
    if declared is not None and declared.applied and not of_stackstac:  # xarray decoded it
        return FINAL
    return FRACTIONS if in_memory else AS_STORED


def _typical(values: xr.Variable) -> float:
    """Return the median of a sample of a band that is in memory, zero and NaN left out."""
    step = max(1, math.isqrt(max(values.size // SAMPLE, 1)))
    sample = values.isel(dict.fromkeys(values.dims[-2:], slice(None, None, step))).values
    data = sample[np.isfinite(sample) & (sample != 0)]
    return float(np.median(data)) if data.size else 0.0


def _of_state(state: str, is_float: bool, said: StatedBand) -> dict[str, Any]:
    if state == AS_STORED:
        is_open = is_float and said.is_spectral and SCALE not in said.attrs
        return {"units": NUMBERS_UNITS, **said.attrs} if is_open else dict(said.attrs)
    attrs = {key: value for key, value in said.attrs.items() if key not in (SCALE, OFFSET, "nodata")}
    if state == FRACTIONS and said.is_spectral and not _is_thermal(attrs):
        attrs["units"] = UNITS_OF_REFLECTANCE[0]
    if state == RESCALED:
        attrs |= dict(zip((APPLIED_SCALE, APPLIED_OFFSET), _rescaling(said.asset), strict=True))
    return attrs


def _are_rescaled(name: str, said: Sequence[StatedBand]) -> bool:
    factors = {_rescaling(of_item.asset) for of_item in said}
    if UNCHANGED in factors and len(factors) > 1 and said[0].is_spectral:
        raise StacError(
            f"floats from stackstac, which rescaled band {name!r} on some dates and not on others",
            "digital numbers, or raster:bands in all items",
            INTEGERS,
        )
    return factors != {UNCHANGED}


def _rescaling(asset: Asset) -> tuple[float, float]:
    """Return the scale and offset by which stackstac rescales an asset: those of ``raster:bands``, and no others."""
    raster = asset.extra_fields.get("raster:bands") or [{}]
    return float(raster[0].get("scale", 1)), float(raster[0].get("offset", 0))


def _is_thermal(attrs: Mapping[str, Any]) -> bool:
    centre = attrs.get("center_wavelength") or 0.0  # micrometres
    return str(attrs.get("common_name", "")).startswith("lwir") or centre * 1000 > THERMAL
