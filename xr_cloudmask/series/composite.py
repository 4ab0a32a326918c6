"""Cloud-free composites: one image from many dates."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xr_cloudmask.cube import bands, calibration, layout
from xr_cloudmask.cube.declared import NODATA_KEYS, declared_nodata
from xr_cloudmask.cube.ground import ground_of
from xr_cloudmask.cube.layout import Cube, CubeView
from xr_cloudmask.engine.stacks import reduce_dates
from xr_cloudmask.errors import CloudMaskError
from xr_cloudmask.masks import labels
from xr_cloudmask.series import reductions
from xr_cloudmask.series.best import BestPixel, nearness
from xr_cloudmask.series.reductions import Rule
from xr_cloudmask.series.select import (
    CHOSEN_DATE,
    CLEAR_COUNT,
    GRID_ENCODING,
    VALID_COUNT,
    filler_of,
    float_for,
    mask_for,
    measured,
    probability_for,
)

ARRAY = "__cube__"  # what a DataArray is called while it is a Dataset
COUNTS = {CLEAR_COUNT: "number of clear dates", VALID_COUNT: "number of dates with data"}
SEASONS = ("DJF", "MAM", "JJA", "SON")


def composite(
    cube: Cube,
    method: str = "median",
    mask: Cube | None = None,
    *,
    groupby: str | None = None,
    percentile: float | None = None,
    target: Any = None,
    scoring: BestPixel | None = None,
) -> Cube:
    """Reduce a cube's dates to one image, or to one for each group of dates, from its clear pixels.

    Parameters
    ----------
    cube : Dataset or DataArray
        With a time dimension.
    method : str, default 'median'
        ``'median'``, ``'mean'`` and ``'percentile'`` reduce each band by itself. ``'geomedian'``, the point with the
        least sum of distances to all dates, reduces the bands together. ``'medoid'`` chooses the date that is nearest
        to all others, ``'latest'`` the last clear one, ``'best'`` the one with the highest score: all bands of a pixel
        are of one date.
    mask : Dataset or DataArray, optional
        Predict's Dataset or a mask; by default the cube's own ``cloudmask``, else a prediction.
    groupby : str, optional
        ``'month'`` and ``'season'`` make a composite for each, of all years; a frequency of pandas such as ``'MS'``
        (months), ``'QS-DEC'`` (seasons) or ``'16D'`` one for each period that has a date.
    percentile : float, optional
        0 to 100, for ``'percentile'``.
    target : date, optional
        For ``'best'``: dates near to it score higher.
    scoring : BestPixel, optional
        For ``'best'``: weights and scales of probability, distance to cloud or shadow, and target date. Probability
        counts where the mask has it: ``predict(probabilities=True)``.

    Returns
    -------
    Dataset or DataArray
        Without the time dimension, or with ``month``, ``season`` or ``time`` (the period as pandas labels it) in its
        place.
        ``clear_count`` and ``valid_count``, uint16 ``(y, x)``, are the numbers of clear dates and of dates with data;
        ``chosen_date``, datetime64, is where one was chosen, NaT where none was: variables of a Dataset, coordinates
        of a DataArray. Integers with a declared no-data value keep their dtype, rounded, and are that value where never
        clear; everything else is NaN there, and float: float64 for float64 and for integers of 32 bits or more, else
        float32. Lazy where the cube or the mask is.

    Raises
    ------
    CloudMaskError
        Unknown method, group or date, an option of another method, no time dimension, or digital numbers whose
        calibration differs between dates.

    Examples
    --------
    >>> import xr_cloudmask
    >>> cube = xr_cloudmask.simulate.series(bands=["red", "nir"], dates=4, size=(64, 64))
    >>> image = composite(cube, "best", mask=cube.truth, target="2024-06-11")
    >>> dict(image.sizes), image["B04"].dtype
    ({'y': 64, 'x': 64}, dtype('uint16'))
    """
    recipe = _recipe(method, {"percentile": percentile, "target": target, "scoring": scoring})
    series = Series.of(cube, mask)
    _require_one_calibration(cube)
    if groupby is None:
        return series.in_the_form_of(cube, recipe(series))
    label, groups = _groups(series.times, groupby)
    made = [recipe(series.at(dates)).expand_dims({label: [name]}) for name, dates in groups.items()]
    image = xr.concat(made, label, data_vars="all", coords="minimal", compat="override")
    return series.in_the_form_of(cube, image, label)


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
        bare = cube.drop_vars(layout.PREDICTED_NAMES, errors="ignore")
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
        return _array(self.mask.transpose(*self.view.dims))

    @property
    def clear(self) -> tuple[int, ...]:
        """The mask's codes of clear pixels."""
        return labels.clear_codes(labels.scheme_of(self.mask))

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

    def rule(self, name: Hashable) -> Rule:
        """Return which values of a variable count, and what comes of them."""
        values = self.cube[name]
        filler = filler_of(values)
        dtype = float_for(values.dtype) if filler is None else values.dtype
        nodata = np.array(declared_nodata(values), values.dtype if values.dtype.kind == "f" else "float64")
        return Rule(self.clear, tuple(nodata.tolist()), dtype.name, filler)

    def image(self, made: Sequence[Any], **further: Any) -> xr.Dataset:
        """Return what `layers` became, arrays ``(y, x)``, as the variables that they were; and the counts."""
        arrays: dict[Hashable, list[Any]] = {}
        for (name, _), array in zip(self.layers, made, strict=True):
            arrays.setdefault(name, []).append(array)
        variables = {name: self._variable(self.cube[name], bands) for name, bands in arrays.items()}
        no_data = labels.scheme_of(self.mask).no_data
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
            return out
        return out.set_coords([name for name in out.data_vars if name != ARRAY])[ARRAY].rename(cube.name)

    def _bands(self, values: xr.DataArray) -> list[Any]:
        further = self._further(values)
        array = _array(values.transpose(*further, *self.view.dims))
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
    return values if lazy is None else values.chunk({dim: lazy.chunksizes[dim] for dim in (view.y, view.x)})


def _array(values: xr.DataArray) -> Any:
    return values.values if values.chunks is None else values.data


# The methods: from a series to an image.

Recipe = Callable[..., xr.Dataset]


def _by_band(series: Series, statistic: Callable[..., Any]) -> xr.Dataset:
    """Reduce every band by itself."""
    made = []
    for name, band in series.layers:
        rule = series.rule(name)
        reduce = partial(reductions.reduce_band, statistic=statistic, rule=rule)
        made.append(reduce_dates(reduce, [band, series.codes], dtype=rule.dtype))
    return series.image(made)


def _by_percentile(series: Series, percentile: float | None) -> xr.Dataset:
    if percentile is None or not 0 <= percentile <= 100:
        raise CloudMaskError(
            f"percentile={percentile!r}", "a number from 0 to 100", "composite('percentile', percentile=25)"
        )
    return _by_band(series, partial(reductions.quantile, share=percentile / 100))


def _together(series: Series) -> xr.Dataset:
    """Reduce all bands together, to their geometric median."""
    names, bands = zip(*series.layers, strict=True)
    rules = [series.rule(name) for name in names]
    reduce = partial(reductions.geometric_median, rules=rules)
    points = reduce_dates(reduce, [*bands, series.codes], dtype="float64", layers=len(bands))
    return series.image([_finished(point, rule) for point, rule in zip(points, rules, strict=True)])


def _finished(point: Any, rule: Rule) -> Any:
    if isinstance(point, np.ndarray):
        return rule.finished(point)
    return point.map_blocks(rule.finished, dtype=rule.dtype, meta=np.empty((0, 0), rule.dtype))


def _by_medoid(series: Series) -> xr.Dataset:
    names, bands = zip(*series.layers, strict=True)
    choose = partial(reductions.medoid, rules=[series.rule(name) for name in names], order=series.order)
    return _picked(series, reduce_dates(choose, [*bands, series.codes], dtype="int16"))


def _by_age(series: Series) -> xr.Dataset:
    choose = partial(reductions.latest, clear=series.clear, order=series.order)
    return _picked(series, reduce_dates(choose, [series.codes], dtype="int16"))


def _by_score(series: Series, target: Any, scoring: BestPixel | None) -> xr.Dataset:
    scoring = scoring or BestPixel()
    terms = {}
    if scoring.probability and series.probability is not None:
        terms["probability"] = _array(series.probability.transpose(*series.view.dims))
    if scoring.distance:
        pixel = ground_of(series.view).known("cube", "scoring=BestPixel(distance=0)")
        terms["distance"] = nearness(series.codes, _obstacles(series), pixel, scoring.reach)
    choose = partial(
        reductions.best,
        clear=series.clear,
        order=series.order,
        weights=tuple(getattr(scoring, name) for name in terms),
        dated=scoring.of_dates(series.times, _date(target)),
    )
    return _picked(series, reduce_dates(choose, [series.codes, *terms.values()], dtype="int16"))


def _picked(series: Series, chosen: Any) -> xr.Dataset:
    """Take every pixel from the date that was chosen for it, by its index."""
    made = []
    for name, band in series.layers:
        rule = series.rule(name)
        made.append(reduce_dates(partial(reductions.pick, rule=rule), [band], [chosen], dtype=rule.dtype))
    dates = partial(reductions.when, times=tuple(series.times))
    when = dates(chosen) if isinstance(chosen, np.ndarray) else chosen.map_blocks(dates, dtype="datetime64[ns]")
    return series.image(made, **{CHOSEN_DATE: when})


METHODS: Mapping[str, tuple[Recipe, tuple[str, ...]]] = {  # and the options that each takes
    "median": (partial(_by_band, statistic=partial(reductions.quantile, share=0.5)), ()),
    "mean": (partial(_by_band, statistic=reductions.mean), ()),
    "percentile": (_by_percentile, ("percentile",)),
    "geomedian": (_together, ()),
    "medoid": (_by_medoid, ()),
    "latest": (_by_age, ()),
    "best": (_by_score, ("target", "scoring")),
}


def _recipe(method: str, given: Mapping[str, Any]) -> Recipe:
    if method not in METHODS:
        raise CloudMaskError(f"method {method!r}", f"one of {sorted(METHODS)}", "composite('median')")
    recipe, options = METHODS[method]
    unused = [name for name, value in given.items() if value is not None and name not in options]
    if unused:
        fitting = next(name for name, (_, its) in METHODS.items() if unused[0] in its)
        raise CloudMaskError(
            f"{unused[0]}= for method {method!r}", f"{unused[0]}= for {fitting!r} alone", f"composite({fitting!r}, ...)"
        )
    return partial(recipe, **{name: given[name] for name in options})


def _obstacles(series: Series) -> tuple[int, ...]:
    """Return the codes of cloud and shadow."""
    codes = {entry.code for entry in labels.scheme_of(series.mask).classes}
    return tuple(sorted(codes - set(series.clear)))


def _date(target: Any) -> np.datetime64 | None:
    if target is None:
        return None
    try:
        date = pd.NaT if isinstance(target, int | float) else pd.Timestamp(target)
    except (TypeError, ValueError):
        date = pd.NaT
    if pd.isna(date):
        raise CloudMaskError(f"target={target!r}", "a date", "target='2024-07-01'")
    return date.to_datetime64()


def _groups(times: npt.NDArray[np.datetime64], groupby: str) -> tuple[str, dict[Any, list[int]]]:
    """Return what the groups are called along which dimension, and the indices of their dates."""
    dates = pd.DatetimeIndex(times)
    months = dates.month.to_numpy()
    calendar = {"month": (months, range(1, 13)), "season": (np.array(SEASONS)[months % 12 // 3], SEASONS)}
    if groupby in calendar:
        of_dates, names = calendar[groupby]
        groups = {name: np.flatnonzero(of_dates == name).tolist() for name in names}
        return groupby, {name: group for name, group in groups.items() if group}
    try:
        periods = pd.Series(np.arange(len(times)), index=dates).resample(groupby)
    except (TypeError, ValueError) as error:
        raise CloudMaskError(
            f"groupby={groupby!r}", "'month', 'season' or a frequency such as 'MS', 'QS-DEC', '16D'", "groupby='MS'"
        ) from error
    return "time", {np.datetime64(str(start), "ns"): group.tolist() for start, group in periods if len(group)}


def _require_one_calibration(cube: Cube) -> None:
    """Refuse digital numbers that mean different reflectance on different dates: their median means nothing."""
    view = layout.view(cube)
    try:
        solar = [band for band in bands.describe(view) if band.kind == "reflectance"]
        calibrations = calibration.calibrate(view, solar).calibrations
    except CloudMaskError:
        return  # no calibration is known, so none is known to differ
    if any(len(set(rule)) > 1 for found in calibrations for rule in (found.scale, found.offset)):
        raise CloudMaskError(
            "digital numbers whose scale or offset differs between dates",
            "reflectance, or numbers of one calibration",
            "cube.cloudmask.reflectance().cloudmask.composite(...)",
        )


def _undated_coords(cube: Cube, time: str) -> dict[Hashable, xr.Variable]:
    """Return the coordinates along time that are the same on every date, as scalars."""
    dated = {name: coord for name, coord in cube.coords.items() if coord.dims == (time,) and coord.chunks is None}
    return {name: coord.variable[0] for name, coord in dated.items() if name != time and _is_constant(coord)}


def _is_constant(coord: xr.DataArray) -> bool:
    # One by one, for item properties may be lists, of which NumPy would make an axis.
    first, *others = coord.values.tolist()
    return all(np.array_equal(value, first) for value in others)
