"""What items say of dates and bands, put onto a cube: attributes where they can say it, else coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xr_cloudmask.cube.declared import FACTORS
from xr_cloudmask.cube.layout import TIME_NAMES, CubeView
from xr_cloudmask.cube.nodata import declared_nodata
from xr_cloudmask.stac.assets import SPECTRAL
from xr_cloudmask.stac.facts import BandAttributes, Facts, by_date, columns
from xr_cloudmask.stac.headers import fits

CubeT = TypeVar("CubeT", xr.Dataset, xr.DataArray)
Said = Mapping[str, tuple[dict[str, Any], dict[str, list[float]]]]  # of bands: attributes, and factors by date

ONE_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class DateRecord:
    """What an item, or the items of one date, say: of the date, and of each of the cube's bands."""

    facts: Facts
    bands: BandAttributes


def write(cube: CubeT, view: CubeView, dates: Sequence[DateRecord]) -> CubeT:
    """Return a cube with what is known of its dates and bands; computes nothing.

    Parameters
    ----------
    cube : Dataset or DataArray
    view : CubeView
        Of the cube.
    dates : sequence of DateRecord
        One per date.
    """
    names = dict.fromkeys(name for date in dates for name in date.bands)
    first = {name: next(date.bands[name] for date in dates if name in date.bands) for name in names}
    said = {name: by_date(name, [date.bands.get(name, first[name]) for date in dates]) for name in names}
    dated: CubeT = cube.assign_coords(_facts(cube, view, dates))
    return _with_bands_along(dated, view, said) if view.band is not None else _with_bands(dated, view, said)


def with_time(cube: CubeT, view: CubeView, moments: np.ndarray) -> CubeT:
    """Return a cube that knows its date: that of its items, where it has none and they are of one day."""
    if view.time is not None or any(name in cube.coords for name in TIME_NAMES) or np.ptp(moments) > ONE_DAY:
        return cube
    dated: CubeT = cube.assign_coords(time=moments.min())
    return dated


def _facts(cube: xr.Dataset | xr.DataArray, view: CubeView, dates: Sequence[DateRecord]) -> dict[str, Any]:
    along = {
        key: values for key, values in columns([date.facts for date in dates]).items() if _is_free(cube, view, key)
    }
    facts = {key: _along_time(view, values) for key, values in along.items()}
    if view.time is not None and "id" in along:
        facts["id"] = (view.time, along["id"])
    return facts


def _is_free(cube: xr.Dataset | xr.DataArray, view: CubeView, key: str) -> bool:
    """Whether a name is not one of a dimension, a variable or something along the bands."""
    if key in cube.dims or (isinstance(cube, xr.Dataset) and key in cube.data_vars):
        return False
    return key not in cube.coords or view.band not in cube.coords[key].dims


def _along_time(view: CubeView, values: Sequence[Any]) -> Any:
    """Return a coordinate along time, a scalar where all dates agree."""
    agree = len(set(map(repr, values))) == 1  # NaN and NaN do
    return values[0] if agree or view.time is None else (view.time, list(values))


def _with_bands(cube: CubeT, view: CubeView, said: Said) -> CubeT:
    """Return a cube of a variable per band; what is said of a band is in its attributes."""
    stale = [f"{key}:{name}" for name in said for key in FACTORS]
    dated = {f"{key}:{name}": (view.time, column) for name, (_, by) in said.items() for key, column in by.items()}
    cube = cube.drop_vars(stale, errors="ignore").assign_coords(dated)
    if isinstance(cube, xr.DataArray):
        return next((_described(cube, *of_band) for of_band in said.values()), cube)
    return cube.assign({name: _described(cube[name], *of_band) for name, of_band in said.items()})


def _described(values: xr.DataArray, said: Mapping[str, Any], dated: Mapping[str, Any]) -> xr.DataArray:
    """Return a band with attributes; its own units and no-data value stay."""
    new = dict(said)
    if "nodata" in new and (declared_nodata(values) or not fits(new["nodata"], values.dtype)):
        del new["nodata"]
    if values.attrs.get("units"):
        new.pop("units", None)
    obsolete = FACTORS if {*new, *dated} & {*FACTORS} else ()
    described = values.copy(deep=False)
    described.attrs = {key: value for key, value in values.attrs.items() if key not in obsolete} | new
    return described


def _with_bands_along(cube: CubeT, view: CubeView, said: Said) -> CubeT:
    """Return a cube with a band dimension; what is said of a band is in coordinates along it."""
    spectra = {key: [said.get(name, ({}, {}))[0].get(key) for name in view.bands] for key in SPECTRAL}
    known = {key: values for key, values in spectra.items() if key not in cube.coords and any(values)}
    coords: dict[str, Any] = {key: (view.band, _filled(values)) for key, values in known.items()}
    for key in FACTORS:
        table = np.array([_factors(view, key, *said.get(name, ({}, {}))) for name in view.bands]).T
        if not np.isnan(table).all():
            agree = all(np.array_equal(row, table[0], equal_nan=True) for row in table)
            coords[key] = (view.band, table[0]) if agree else ((view.time, view.band), table)
    cube = cube.drop_vars([key for key in FACTORS if key in cube.coords]).assign_coords(coords)
    shared = {key: {attrs[key] for attrs, _ in said.values() if key in attrs} for key in ("nodata", "units")}
    attrs = {key: values.pop() for key, values in shared.items() if len(values) == 1}
    if isinstance(cube, xr.DataArray):
        return _described(cube, attrs, {})
    name = next(name for name, values in cube.data_vars.items() if view.band in values.dims)
    return cube.assign({name: _described(cube[name], attrs, {})})


def _factors(view: CubeView, key: str, attrs: Mapping[str, Any], dated: Mapping[str, list[float]]) -> list[float]:
    return dated.get(key, [attrs.get(key, math.nan)] * view.dates)


def _filled(values: Sequence[Any]) -> list[Any]:
    """Return texts, or numbers, with what stands for nothing among them."""
    nothing: Any = "" if any(isinstance(value, str) for value in values) else math.nan
    return [nothing if value is None else value for value in values]
