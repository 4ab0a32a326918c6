"""Which items lie behind which date of a cube.

Loaders keep an item's time, its id, or of several items the time of the first; people round times, cut them to days,
or take a part of the dates.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_cloudmask.cube.layout import TIME_NAMES
from xr_cloudmask.cube.metadata import read
from xr_cloudmask.cube.remedies import ATTACH
from xr_cloudmask.errors import StacError, listed
from xr_cloudmask.stac.searching import moment

if TYPE_CHECKING:
    import xarray as xr
    from pystac import Item

    from xr_cloudmask.cube.layout import CubeView

ROUNDED = np.timedelta64(1, "s")  # files and people round times to this
HOURS_PER_DEGREE = 24 / 360

ItemGroups = tuple[tuple[int, ...], ...]  # positions of the items of every date


def matched(view: CubeView, items: Sequence[Item], moments: np.ndarray) -> ItemGroups:
    """Return the positions of the items of every date.

    Parameters
    ----------
    view : CubeView
        The cube.
    items : sequence of pystac.Item
        In any order; those of other dates are left out.
    moments : ndarray of datetime64[ns]
        When they were acquired, UTC.

    Raises
    ------
    StacError
        A date has no item, or the cube has no dates.
    """
    places = np.array([longitude(item) for item in items])
    groups = _by_id(view, [item.id for item in items])
    if groups is None:
        times = dates(view)
        if times is None:  # one picture, and nothing that tells its date
            return (tuple(range(len(items))),)
        groups = by_time(times, moments, places)
        _require_items(groups, times, moments)
    return groups


def by_time(times: np.ndarray, moments: np.ndarray, longitudes: np.ndarray) -> ItemGroups:
    """Return the positions of the items of every date, by time or, where it tells no more, by solar day.

    An item belongs to the date within a second; where several dates have that time, to all of them, but to one each
    where items and dates are in the same order. Other items belong to the date of their solar day if it is the only
    one of that day: the items of a mosaic, and dates without time of day, which may be days in UTC or solar days.

    Parameters
    ----------
    times, moments : ndarray of datetime64[ns]
        Of the dates, and of the items, UTC.
    longitudes : ndarray of float
        Of the items, degrees.

    Examples
    --------
    >>> day = np.array(["2023-09-10T10:00", "2023-09-15T10:00"], "datetime64[ns]")
    >>> by_time(day, day[[1, 0, 0]] + np.timedelta64(14, "s") * np.array([0, 0, 1]), np.zeros(3))
    ((1, 2), (0,))
    """
    gaps = np.abs(times[:, None] - moments[None, :])
    if len(times) == len(moments) and (np.diagonal(gaps) <= ROUNDED).all():
        return tuple((i,) for i in range(len(times)))
    belongs = (gaps <= ROUNDED) & (gaps == gaps.min(axis=0))
    return _to_groups(belongs | _by_day(times, moments, longitudes, belongs))


def _by_day(times: np.ndarray, moments: np.ndarray, longitudes: np.ndarray, belongs: np.ndarray) -> np.ndarray:
    """Say of the items that have no date yet to which they belong by their day."""
    free = ~belongs.any(axis=0)
    days = _days(moments + _solar(longitudes))
    timed = np.array([_days(time + _solar(longitudes)) for time in times]).reshape(belongs.shape)
    for date, has_item in enumerate(belongs):  # what an item of the date says of its day is nearer than any longitude
        if has_item.any():
            timed[date] = days[has_item.argmax()]
    same = (timed == days) & free
    cut = (times == _days(times)) & ~belongs.any(axis=1)
    for of_items in (_days(moments), days):
        same[cut] = (_days(times[cut])[:, None] == of_items[None, :]) & free
        if same[cut].any(axis=1).all():
            break
    alone = np.array([len(set(times[column].tolist())) == 1 for column in same.T], bool)
    belongs_too: np.ndarray = same & alone
    return belongs_too


def dates(view: CubeView) -> np.ndarray | None:
    """Return the times of a cube as ``datetime64[ns]``, UTC; None where it is one picture of an unknown date.

    Raises
    ------
    StacError
        The dates are only counted, or what they are called is no time.
    """
    coords = view.source.coords
    names = (view.time,) if view.time else TIME_NAMES
    coord = next(
        (coords[name] for name in names if name in coords and coords[name].ndim == (view.time is not None)), None
    )
    if coord is None and view.time is None:
        return None
    found = None if coord is None else _utc(coord)
    if found is None or np.isnat(found).any():
        labels = "no labels" if coord is None else f"labels such as {coord.values.ravel()[-1]!r}"
        raise StacError(
            f"{view.dates} dates, of which {view.time or 'time'} has {labels}",
            "the time of every date, as the loader gave it",
            f"cube.assign_coords({view.time or 'time'}=[item.datetime.replace(tzinfo=None) for item in items])",
        )
    return found


def _utc(coord: xr.DataArray) -> np.ndarray | None:
    """Return times of any kind (with time zone, cftime, periods, text) as datetime64[ns], None where they are none."""
    import pandas as pd

    if coord.dtype.kind == "M":
        return np.atleast_1d(read(coord)).astype("datetime64[ns]")
    values = coord.to_index() if coord.ndim else [coord.values.item()]
    try:
        spelt = [value.isoformat() if hasattr(value, "isoformat") else str(value) for value in values]
        times = pd.to_datetime(spelt, utc=True, format="ISO8601").tz_localize(None)
    except (ValueError, OverflowError):
        return None
    return times.to_numpy().astype("datetime64[ns]")


def moments_of(items: Sequence[Item]) -> np.ndarray:
    """Return when items were acquired as ``datetime64[ns]``, UTC."""
    return np.array([moment(item).astimezone(dt.UTC).replace(tzinfo=None) for item in items], "datetime64[ns]")


def longitude(item: Item) -> float:
    """Return the longitude of an item's centre in degrees; 0 where it lies nowhere."""
    if item.bbox is None:
        return 0.0
    west, east = item.bbox[0], item.bbox[len(item.bbox) // 2]
    return (west + (east + 360 if east < west else east)) / 2


def _by_id(view: CubeView, ids: Sequence[str]) -> ItemGroups | None:
    """Return the items that the cube names; None where it names none.

    Raises
    ------
    StacError
        It names others: with those of another collection, times would match and levels would not.
    """
    coord = view.source.coords.get("id")
    if coord is None or coord.dims not in ((), (view.time,)):
        return None
    named = np.atleast_1d(read(coord)).tolist()
    if not all(isinstance(text, str) for text in named):
        return None
    dates = [text.split(", ") for text in (named * view.dates if len(named) == 1 else named)]
    positions: dict[str, list[int]] = {}
    for i, name in enumerate(ids):
        positions.setdefault(name, []).append(i)
    unknown = list(dict.fromkeys(name for names in dates for name in names if name not in positions))
    if unknown:
        raise StacError(
            f"a cube of items that are not given: {listed(unknown, 3)}",
            f"the items that it was loaded from; given: {listed(dict.fromkeys(ids), 3)}",
            f"{ATTACH} with those items; cube.drop_vars('id') first, to go by time instead",
        )
    return tuple(tuple(i for name in names for i in positions[name]) for names in dates)


def _days(times: Any) -> Any:
    return times.astype("datetime64[D]").astype("datetime64[ns]")


def _solar(longitudes: np.ndarray) -> np.ndarray:
    seconds: np.ndarray = (longitudes * HOURS_PER_DEGREE * 3600).astype("timedelta64[s]")
    return seconds


def _to_groups(belongs: np.ndarray) -> ItemGroups:
    return tuple(tuple(np.flatnonzero(row).tolist()) for row in belongs)


def _require_items(groups: ItemGroups, times: np.ndarray, moments: np.ndarray) -> None:
    """Refuse dates that have no item."""
    lacking = [str(time)[:19] for time, group in zip(times, groups, strict=True) if not group]
    if not lacking:
        return
    shown = ", ".join(lacking[:3]) + ", ..." * (len(lacking) > 3)
    raise StacError(
        f"{len(lacking)} of {len(groups)} dates without an item: {shown}; items from {str(moments.min())[:19]} to "
        f"{str(moments.max())[:19]}",
        "the items that the cube was loaded from, at least one per date",
        f"items with those from xr_cloudmask.stac.search(..., datetime='{min(lacking)[:10]}/{max(lacking)[:10]}')",
    )
