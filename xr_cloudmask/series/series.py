"""The dates of a cube and its mask, taken apart for composites and refinement, and put together again."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xr_cloudmask.cube import layout
from xr_cloudmask.cube.layout import Cube, CubeView
from xr_cloudmask.cube.nodata import NODATA_KEYS, declared_nodata
from xr_cloudmask.engine.stacks import reduce_dates
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import ancillary, schemes
from xr_cloudmask.names import CHOSEN_DATE, CLEAR_COUNT, PREDICTED_NAMES, VALID_COUNT
from xr_cloudmask.series import reductions
from xr_cloudmask.series.reductions import ReductionRule
from xr_cloudmask.series.select import (
    GRID_ENCODING,
    filler_of,
    float_for,
    mask_for,
    measured,
    on_bands,
    probability_for,
)

ARRAY = "__cube__"  # what a DataArray is called while it is a Dataset
OF_THE_DATES = (CLEAR_COUNT, VALID_COUNT, CHOSEN_DATE)
COUNTS = {CLEAR_COUNT: "number of clear dates", VALID_COUNT: "number of dates with data"}


@dataclass(frozen=True)
class Series:
    """A cube's dates and its mask, as composites need them.

    Attributes
    ----------
    cube : Dataset
        Without masks and coverage; a DataArray as its only variable.
    view : CubeView
        Of the cube as it was given.
    mask : DataArray
        uint8 ``(time, y, x)``.
    probability : DataArray or None
        Of a clear surface, ``(time, y, x)``.
    """

    cube: xr.Dataset
    view: CubeView
    mask: xr.DataArray
    probability: xr.DataArray | None

    @classmethod
    def of(cls, cube: Cube, mask: Cube | None) -> Series:
        """Take a cube and its mask apart.

        Raises
        ------
        CloudMaskError
            There is no time dimension, or the mask is no mask of this cube.
        """
        view = layout.view(cube)
        if view.time is None:
            raise CloudMaskError(
                f"a cube with dimensions {tuple(cube.dims)}", "a time dimension", "cube.expand_dims('time')"
            )
        bare = on_bands(cube.drop_vars(PREDICTED_NAMES, errors="ignore"), ancillary.unnamed)
        as_dataset = bare if isinstance(bare, xr.Dataset) else bare.to_dataset(name=ARRAY)
        chances = probability_for(cube, mask)
        chances = None if chances is None else _chunked_as(view, chances)
        return cls(as_dataset, view, _chunked_as(view, mask_for(cube, mask)), chances)

    def at(self, dates: Sequence[int]) -> Series:
        """Return some of the dates."""
        time = {self.view.time: dates}
        chances = None if self.probability is None else self.probability.isel(time)
        return replace(self, cube=self.cube.isel(time), mask=self.mask.isel(time), probability=chances)

    @property
    def codes(self) -> Any:
        """The mask ``(date, y, x)``, as an array."""
        return array_of(self.mask.transpose(*self.view.dims))

    @property
    def clear(self) -> tuple[int, ...]:
        """The mask's codes of clear pixels."""
        return schemes.clear_codes(schemes.scheme_of(self.mask))

    @property
    def times(self) -> npt.NDArray[np.datetime64]:
        """The dates.

        Raises
        ------
        CloudMaskError
            The cube does not tell them.
        """
        time = str(self.view.time)
        if time not in self.cube.coords or self.cube.coords[time].dtype.kind != "M":
            raise CloudMaskError(
                f"a dimension {time!r} without dates", "datetime64 coordinates", f"cube.assign_coords({time}=[...])"
            )
        times = self.cube.coords[time].values
        if np.isnat(times).any():
            raise CloudMaskError("dates that are NaT", "a date for every image", f"cube.dropna({time!r})")
        return times

    @property
    def order(self) -> tuple[int, ...]:
        """Indices of the dates, from first to last."""
        return tuple(np.argsort(self.times, kind="stable").tolist())

    @property
    def layers(self) -> list[tuple[Hashable, Any]]:
        """Every band of every variable that is measured: the variable's name, the array ``(date, y, x)``."""
        return [(name, band) for name in measured(self.cube, self.view) for band in self._bands(self.cube[name])]

    def rule(self, name: Hashable) -> ReductionRule:
        """Return which values of a variable count, and what comes of them."""
        values = self.cube[name]
        filler = filler_of(values)
        dtype = float_for(values.dtype) if filler is None else values.dtype
        nodata = np.array(declared_nodata(values), values.dtype if values.dtype.kind == "f" else "float64")
        return ReductionRule(self.clear, tuple(nodata.tolist()), dtype.name, filler)

    def image(self, made: Sequence[Any], **further: Any) -> xr.Dataset:
        """Return what `layers` became, arrays ``(y, x)``, as the variables that they were; and the counts."""
        arrays: dict[Hashable, list[Any]] = {}
        for (name, _), array in zip(self.layers, made, strict=True):
            arrays.setdefault(name, []).append(array)
        variables = {name: self._variable(self.cube[name], bands) for name, bands in arrays.items()}
        no_data = schemes.scheme_of(self.mask).no_data
        count = partial(reductions.count_dates, clear=self.clear, no_data=no_data)
        counts = reduce_dates(count, [self.codes], dtype="uint16", layers=len(COUNTS))
        for number, (name, words) in zip(counts, COUNTS.items(), strict=True):
            variables[name] = xr.Variable(self.view.dims[1:], number, {"long_name": words, "units": "1"})
        for name, array in further.items():
            variables[name] = xr.Variable(self.view.dims[1:], array)
        return xr.Dataset(variables)

    def in_the_form_of(self, cube: Cube, image: xr.Dataset, label: str | None = None) -> Cube:
        """Return an image as a cube like the one it comes from, with its static layers and coordinates."""
        time = str(self.view.time)
        still = self.cube.drop_dims(time).assign_coords(_undated_coords(self.cube, time))
        out = still.assign_coords(image.coords).assign(image.data_vars)
        for name in image.data_vars:
            out[name].encoding = {} if self.view.grid_mapping is None else {"grid_mapping": self.view.grid_mapping}
        for name in measured(self.cube, self.view):
            values = self.cube[name]
            dims = [label if dim == time else dim for dim in values.dims]
            out[name] = out[name].transpose(*(dim for dim in dims if dim is not None))
            kept = GRID_ENCODING if self.rule(name).filler is None else (*GRID_ENCODING, *NODATA_KEYS)
            out[name].encoding = {key: value for key, value in values.encoding.items() if key in kept}
        if label in self.cube.coords:
            out[label].attrs = self.cube.coords[label].attrs
        if isinstance(cube, xr.Dataset):
            # Beside bands that have a no-data value, they would keep rioxarray from writing the image.
            return out.set_coords([name for name in OF_THE_DATES if name in out])
        return out.set_coords([name for name in out.data_vars if name != ARRAY])[ARRAY].rename(cube.name)

    def _bands(self, values: xr.DataArray) -> list[Any]:
        further = self._further(values)
        array = array_of(values.transpose(*further, *self.view.dims))
        return [array[index] for index in np.ndindex(*(values.sizes[dim] for dim in further))]

    def _variable(self, values: xr.DataArray, bands: Sequence[Any]) -> xr.Variable:
        further = self._further(values)
        if not further:
            return xr.Variable(self.view.dims[1:], bands[0], values.attrs)
        stacked = np.stack(bands).reshape(*(values.sizes[dim] for dim in further), *bands[0].shape)
        return xr.Variable((*further, *self.view.dims[1:]), stacked, values.attrs)

    def _further(self, values: xr.DataArray) -> list[Hashable]:
        return [dim for dim in values.dims if dim not in self.view.dims]


def _chunked_as(view: CubeView, values: xr.DataArray) -> xr.DataArray:
    """Return something of the mask in the chunks of the bands, so that counts and bands of an image have the same."""
    lazy = next((band for band in view.bands.values() if band.chunks), None)
    return values if lazy is None else values.chunk({dim: lazy.variable.chunksizes[dim] for dim in (view.y, view.x)})


def array_of(values: xr.DataArray) -> Any:
    """Return the values: a NumPy array, or a dask array where they are lazy."""
    return values.values if values.chunks is None else values.data


def _undated_coords(cube: Cube, time: str) -> dict[Hashable, xr.Variable]:
    """Return the coordinates along time that are the same on every date, as scalars."""
    dated = {name: coord for name, coord in cube.coords.items() if coord.dims == (time,) and coord.chunks is None}
    return {name: coord.variable[0] for name, coord in dated.items() if name != time and _is_constant(coord)}


def _is_constant(coord: xr.DataArray) -> bool:
    # One by one, for item properties may be lists, of which NumPy would make an axis.
    first, *others = coord.values.tolist()
    return all(np.array_equal(value, first) for value in others)
