"""Cloud-free composites: one image from many dates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from xr_cloudmask.cube.described import DescribedCube, Told
from xr_cloudmask.cube.ground import ground_of
from xr_cloudmask.cube.layout import Cube
from xr_cloudmask.cube.metadata import is_number
from xr_cloudmask.engine.stacks import reduce_dates
from xr_cloudmask.errors import CloudMaskError, is_one_of
from xr_cloudmask.masks import schemes
from xr_cloudmask.names import CHOSEN_DATE
from xr_cloudmask.series import reductions
from xr_cloudmask.series.best import BestPixel, nearness
from xr_cloudmask.series.reductions import ReductionRule
from xr_cloudmask.series.series import Series, array_of

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
        Predict's Dataset or a mask; by default the cube's own ``cloud_mask``, else a prediction.
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
        ``chosen_date``, datetime64, is where one was chosen, NaT where none was: coordinates.
        Integers with a declared no-data value keep their dtype, rounded, and are that value where never clear;
        everything else is NaN there, and float: float64 for float64 and for integers of 32 bits or more, else
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
    _require_one_calibration(cube, Told.of(series.mask.attrs))
    if groupby is None:
        return series.in_the_form_of(cube, recipe(series))
    label, groups = _groups(series.times, groupby)
    made = [recipe(series.at(dates)).expand_dims({label: [name]}) for name, dates in groups.items()]
    image = xr.concat(made, label, data_vars="all", coords="minimal", compat="override")
    return series.in_the_form_of(cube, image, label)


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
    if not is_number(percentile) or not 0 <= percentile <= 100:
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


def _finished(point: Any, rule: ReductionRule) -> Any:
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
        terms["probability"] = array_of(series.probability.transpose(*series.view.dims))
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
    if not is_one_of(method, METHODS):
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
    codes = {entry.code for entry in schemes.scheme_of(series.mask).classes}
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


def _require_one_calibration(cube: Cube, told: Told) -> None:
    """Refuse digital numbers that mean different reflectance on different dates: their median means nothing."""
    try:
        described = DescribedCube.of(cube, told)
        solar = [band for band in described.descriptors if band.kind == "reflectance"]
        calibrations = described.calibrated(solar).values()
    except CloudMaskError:
        return  # no calibration is known, so none is known to differ
    if any(len(set(rule)) > 1 for found in calibrations for rule in (found.scale, found.offset)):
        raise CloudMaskError(
            "digital numbers whose scale or offset differs between dates",
            "reflectance, or numbers of one calibration",
            "cube.cloudmask.reflectance().cloudmask.composite(...)",
        )
