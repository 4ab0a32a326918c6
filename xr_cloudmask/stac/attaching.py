"""What loaders drop of items comes back onto the cube that they made."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import xarray as xr

from xr_cloudmask.cube.calibration import Calibration
from xr_cloudmask.cube.declared import BASELINE_KEYS, HARMONISED_KEYS, LEVEL_KEYS, PDGS_OFFSET_KEYS
from xr_cloudmask.cube.described import DescribedCube
from xr_cloudmask.cube.layout import CubeView
from xr_cloudmask.cube.layout import view as view_of
from xr_cloudmask.errors import CloudMaskError, StacError
from xr_cloudmask.stac.facts import LISTED, joined, said_of_dates
from xr_cloudmask.stac.headers import Patch
from xr_cloudmask.stac.items import as_items, understood
from xr_cloudmask.stac.loaded import said_of_bands
from xr_cloudmask.stac.matching import matched, moments_of
from xr_cloudmask.stac.onto import DateRecord, with_time, write

if TYPE_CHECKING:
    from pystac import Item

CubeT = TypeVar("CubeT", xr.Dataset, xr.DataArray)

# Items of one date may differ by this much in what their numbers mean: scenes of one pass, under another sun.
SAME_SCALE, SAME_OFFSET = 0.05, 0.005
DECISIVE = {*LEVEL_KEYS, *BASELINE_KEYS, *HARMONISED_KEYS, *PDGS_OFFSET_KEYS} - {*LISTED}


def attach(cube: CubeT, items: Any, *, patch_url: Patch | None = None) -> CubeT:
    """Put back onto a cube what its loader dropped of the items, so that `predict` needs no argument.

    For cubes of odc-stac, stackstac and cubo. Items are matched to dates by their ids where the cube has them, else by
    time; by solar day where the loader put several items into one date, or where times were cut to days.

    Parameters
    ----------
    cube : Dataset or DataArray
        As it was loaded, or a part of it; with or without time; NumPy or dask. Never modified; no band is computed.
    items : pystac.Item, pystac.ItemCollection, dict, or iterable of items
        The items that the cube was loaded from, as objects or as JSON; further items do no harm.
    patch_url : callable, optional
        As in `load`, for the XML files of INPE.

    Returns
    -------
    Dataset or DataArray
        The same kind of cube, as lazy as it was, with what the items state of the following. Coordinates, along time
        where dates differ, else scalars: ``id`` (always along time), ``collection``, ``platform``, ``instruments``,
        level, processing baseline, offset flags, ``view:sun_azimuth`` and ``view:sun_elevation`` (degrees),
        ``eo:cloud_cover`` (percent) … Of every band: ``common_name``, ``center_wavelength`` and
        ``full_width_half_max`` (µm), ``nodata``, ``scale_factor`` and ``add_offset``, or ``applied_scale`` and
        ``applied_offset`` where stackstac has rescaled the values; as attributes, or as coordinates along the band
        dimension, and along time where dates differ.

    Raises
    ------
    StacError
        There are no items, a date has none, or the items of one date differ in what their numbers mean.
    FileError
        An XML file of INPE cannot be read.
    CubeError
        The cube's dimensions are not understood.

    Notes
    -----
    No file is read, but for digital numbers of CBERS and Amazonia-1 one XML file per item, which holds what makes
    reflectance of them.

    Of several items of one date, ids are listed, angles and percentages are means; of all else the first item's stays,
    for they agree in everything that decides what their numbers mean.

    References
    ----------
    STAC 1.1 common metadata; STAC extensions eo, raster, view and processing.

    Examples
    --------
    >>> import datetime, numpy as np, pystac
    >>> said = {"platform": "sentinel-2a", "processing:level": "L2A", "s2:processing_baseline": "05.09"}
    >>> item = pystac.Item("S2A_T32TQM", None, None, datetime.datetime(2022, 8, 11, 10, 15), said)
    >>> time = np.array(["2022-08-11T10:15"], "datetime64[ns]")
    >>> cube = xr.Dataset({"red": (("time", "y", "x"), np.full((1, 1, 2), 3000, "uint16"))}, coords={"time": time})
    >>> attach(cube, item).cloudmask.reflectance().red.values.round(3)
    array([[[0.2, 0.2]]], dtype=float32)
    """
    view = view_of(cube)
    listed = as_items(items)
    with understood(f"{len(listed)} items"):
        return _attached(cube, view, listed, patch_url)


def _attached(cube: CubeT, view: CubeView, listed: Sequence[Item], patch_url: Patch | None) -> CubeT:
    moments = moments_of(listed)
    groups = matched(view, listed, moments)
    used = sorted({i for group in groups for i in group})
    facts = said_of_dates([listed[i] for i in used], patch_url or str)
    bands = said_of_bands(view, [listed[i] for i in used])
    records = dict(zip(used, map(DateRecord, facts, bands), strict=True))
    dates = [[records[i] for i in group] for group in groups]
    if any(len(date) > 1 for date in dates):
        _require_agreement(cube, view, dates, [moments[i] for group in groups for i in group])
    return with_time(write(cube, view, list(map(_of_date, dates))), view, moments[used])


def _of_date(items: Sequence[DateRecord]) -> DateRecord:
    """Return what the items of one date say, which agree."""
    bands = {name: attrs for item in reversed(items) for name, attrs in item.bands.items()}
    return DateRecord(joined([item.facts for item in items]), bands)


def _require_agreement(
    cube: CubeT, view: CubeView, dates: Sequence[Sequence[DateRecord]], moments: Sequence[Any]
) -> None:
    """Refuse dates of items whose numbers mean different things: nobody can tell the pixels of a mosaic apart."""
    items = [item for date in dates for item in date]
    meanings = _meanings(_pixel(cube, view, dates, moments), items)
    starts = itertools.accumulate((len(date) for date in dates), initial=0)
    for start, date in zip(starts, dates, strict=False):
        for item, meaning in zip(date[1:], meanings[start + 1 :], strict=False):
            differing = [key for key, said in meaning.items() if not _is_same(said, meanings[start].get(key))]
            if differing:
                raise _disagreement(
                    date[0], item, differing[0], meanings[start].get(differing[0]), meaning[differing[0]]
                )


def _pixel(cube: CubeT, view: CubeView, dates: Sequence[Sequence[DateRecord]], moments: Sequence[Any]) -> CubeT:
    """Return one pixel of a cube with as many dates as there are items."""
    pixel = cube.isel({view.y: [0], view.x: [0]})
    if view.time is None:
        return pixel.drop_vars("time", errors="ignore").expand_dims(time=list(moments))
    return pixel.isel({view.time: [place for place, date in enumerate(dates) for _ in date]})


def _meanings(pixel: CubeT, items: Sequence[DateRecord]) -> list[dict[str, Any]]:
    """Return for every item how the numbers of each band become reflectance; what it says where that is not settled."""
    try:
        rules = DescribedCube.of(write(pixel, view_of(pixel), items)).calibrated()
    except CloudMaskError:
        return [{key: value for key, value in item.facts.items() if key in DECISIVE} | item.bands for item in items]
    return [{name: _meaning(rule, i) for name, rule in rules.items()} for i in range(len(items))]


def _meaning(rule: Calibration, date: int) -> tuple[Any, ...]:
    return tuple(column[date % len(column)] for column in (rule.scale, rule.offset, rule.planck or (None,)))


def _is_same(one: Any, other: Any) -> bool:
    """Whether what is said, or a scale and an offset, mean the same."""
    if not isinstance(one, tuple) or not isinstance(other, tuple):
        return bool(one == other)
    scales, offsets, others = zip(one, other, strict=True)
    same = math.isclose(*scales, rel_tol=SAME_SCALE) and math.isclose(*offsets, rel_tol=SAME_SCALE, abs_tol=SAME_OFFSET)
    return same and others[0] == others[1]


def _disagreement(one: DateRecord, other: DateRecord, key: str, *said: Any) -> StacError:
    spelt = [f"{s[0]:.4g} * number + {s[1]:.4g}" if isinstance(s, tuple) else str(s) for s in said]
    return StacError(
        f"items of one date differ: {key} = {spelt[0]} in {one.facts['id']!r}, {spelt[1]} in {other.facts['id']!r}",
        "one date per item, or items whose numbers mean the same",
        "xr_cloudmask.stac.load(items), which keeps items apart; or odc.stac.load(items, groupby='id', ...)",
    )
