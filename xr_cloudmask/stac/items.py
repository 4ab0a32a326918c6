"""STAC items in any of the forms in which people hold them; what is no item is refused before it is used."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from xr_cloudmask.cube.metadata import is_number
from xr_cloudmask.errors import StacError, refusing

if TYPE_CHECKING:
    from pystac import Item

VALID = "an item as STAC 1.0 and 1.1 describe it"
BOXES = (4, 6)  # numbers of a bbox


def understood(items: str) -> AbstractContextManager[None]:
    """Make a StacError of whatever is raised on items whose fields are of odd kinds."""
    remedy = "item.validate() for each of them, and leave out those that it refuses"
    return refusing(StacError, f"{items} that cannot be understood", VALID, remedy)


def as_items(items: Any) -> list[Item]:
    """Return items, each once, as pystac has them.

    Parameters
    ----------
    items : pystac.Item, pystac.ItemCollection, dict, or iterable of items
        Objects or JSON.

    Raises
    ------
    StacError
        There are none, or they are none.
    """
    from pystac import Item

    given = items
    with refusing(
        StacError,
        f"items={str(given)[:60]!r}, which are none",
        "pystac.Item objects, an ItemCollection, or their JSON as dict",
        "items = client.search(...).item_collection(), or items = xr_cloudmask.stac.search(...)",
    ):
        if isinstance(items, Mapping):
            items = items.get("features", [items])
        entries: list[Any] = (
            [items] if isinstance(items, Item | str) or not isinstance(items, Iterable) else list(items)
        )
        found = [entry if isinstance(entry, Item) else Item.from_dict(dict(entry)) for entry in entries]
    if not found:
        raise StacError(
            "no items", "those that the cube was loaded from", "search for a larger area, or for more dates"
        )
    return list({(item.collection_id, item.id): item for item in reversed(valid(found))}.values())[::-1]


def valid(items: Iterable[Any]) -> list[Item]:
    """Return items whose fields are of the kinds that STAC says.

    Raises
    ------
    StacError
        One is not: null assets or properties, a date that is none, numbers that place it nowhere.
    """
    from pystac import Item

    found = []
    for item in items:
        if not isinstance(item, Item):
            raise StacError(f"an item of type {type(item).__name__}", "pystac.Item", "pystac.Item.from_dict(item)")
        with understood(f"item {item.id!r}"):
            odd = next((name for name, test in FIELDS.items() if not test(item)), None)
        if odd is not None:
            raise StacError(
                f"item {item.id!r} with odd {odd}", VALID, "leave it out: [item for item in items if item.assets]"
            )
        found.append(item)
    return found


def _are_assets(item: Item) -> bool:
    from pystac import Asset

    return isinstance(item.assets, dict) and all(
        isinstance(key, str)
        and isinstance(asset, Asset)
        and isinstance(asset.href, str)
        and isinstance(asset.extra_fields, dict)
        and (asset.roles is None or isinstance(asset.roles, Sequence))
        for key, asset in item.assets.items()
    )


def _is_dated(item: Item) -> bool:
    dates = item.datetime, item.common_metadata.start_datetime
    return all(date is None or isinstance(date, dt.datetime) for date in dates)


def _is_box(item: Item) -> bool:
    box = item.bbox
    return box is None or (
        isinstance(box, list | tuple)
        and len(box) in BOXES
        and all(is_number(number) and math.isfinite(number) for number in box)
    )


FIELDS: dict[str, Callable[[Item], bool]] = {
    "id": lambda item: isinstance(item.id, str),
    "collection": lambda item: item.collection_id is None or isinstance(item.collection_id, str),
    "properties": lambda item: isinstance(item.properties, dict),
    "datetime": _is_dated,
    "assets": _are_assets,
    "bbox": _is_box,
    "geometry": lambda item: item.geometry is None or isinstance(item.geometry, dict),
}
