"""Find items on a STAC API."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xr_cloudmask.errors import StacError
from xr_cloudmask.stac import http
from xr_cloudmask.stac.items import valid

if TYPE_CHECKING:
    from pystac import Item
    from pystac_client import Client


def search(
    url: str,
    collections: str | Sequence[str] | None = None,
    *,
    bbox: Sequence[float] | str | None = None,
    intersects: Any = None,
    datetime: Any = None,
    query: Mapping[str, Any] | Sequence[str] | None = None,
    limit: int | None = None,
) -> list[Item]:
    """Search a STAC API; lost connections, busy servers and server errors are tried again, with growing pauses.

    Parameters
    ----------
    url : str
        Root of the API, such as ``"https://data.inpe.br/bdc/stac/v1/"``.
    collections : str or sequence of str, optional
        Collection ids.
    bbox : sequence of float or str, optional
        West, south, east, north in degrees; a text of four numbers, separated by commas, will do.
    intersects : geometry, optional
        GeoJSON, or anything with ``__geo_interface__``, in longitude and latitude; instead of `bbox`.
    datetime : str, datetime or pair, optional
        ``"2025-01"``, ``"2025-01-01/2025-01-31"`` …
    query : mapping or sequence of str, optional
        Conditions on item properties, ``{"eo:cloud_cover": {"lt": 50}}`` or ``["eo:cloud_cover<50"]``.
    limit : int, optional
        Largest number of items, in the order of the server; by default all.

    Returns
    -------
    list of pystac.Item
        By date, then id. Their files are not touched.

    Raises
    ------
    StacError
        The API does not answer, not even after some repetitions, or not as an API should; a search that it refuses,
        or a `query` to an API that does not offer it, which may ignore it or return nothing.

    Examples
    --------
    >>> search("http://127.0.0.1:9", "CB4A-WPM-L4-DN-1", bbox="-53.2, -19.5, -45.9")
    Traceback (most recent call last):
    ...
    xr_cloudmask.errors.StacError: found: bbox='-53.2, -19.5, -45.9'
    expected: west, south, east, north in degrees
    try: bbox=(-53.2, -19.5, -45.9, -12.4)
    """
    from pystac_client import Client
    from pystac_client.conformance import ConformanceClasses
    from pystac_client.stac_api_io import StacApiIO

    box = _box(bbox)
    transport = StacApiIO(max_retries=None, timeout=http.TIMEOUT)
    transport.session = http.session()
    try:
        client = Client.open(url, stac_io=transport)
        if query and not client.conforms_to(ConformanceClasses.QUERY):
            raise StacError(
                f"query={query!r} to {url}, which does not offer queries",
                "an API with the query extension",
                "search without query=, then [item for item in items if item.properties['eo:cloud_cover'] < 50]",
            )
        found = client.search(
            method=_method(client),
            collections=[collections] if isinstance(collections, str) else list(collections or ()) or None,
            bbox=box,
            intersects=intersects,
            datetime=datetime,
            query=query,  # type: ignore[arg-type]
            max_items=limit,
        )
        return ordered(valid(found.items()))
    except StacError:
        raise
    except Exception as error:  # an answer may hold anything, which pystac's readers do not expect
        raise StacError(
            f"no items from {url}: {error or type(error).__name__}",
            "a STAC API that answers, and a search that it understands",
            f"open {url} in a browser: it should show JSON with a link 'search'; then check the arguments",
        ) from error


def _method(client: Client) -> str:
    """Return POST, which pages and geometries need on some servers; GET where the API offers nothing else."""
    offered = {str(link.extra_fields.get("method", "GET")).upper() for link in client.get_links("search")}
    return "GET" if offered == {"GET"} else "POST"


def ordered(items: Any) -> list[Item]:
    """Return items by date, then id."""
    return sorted(items, key=lambda item: (moment(item), item.id))


def moment(item: Item) -> dt.datetime:
    """Return when an item was acquired, UTC; the start where there is only a range."""
    when = item.datetime or item.common_metadata.start_datetime
    if when is None:
        raise StacError(f"item {item.id!r} without a date", "datetime, or start_datetime", "leave the item out")
    return when if when.tzinfo else when.replace(tzinfo=dt.UTC)


def _box(bbox: Sequence[float] | str | None) -> list[float] | None:
    if bbox is None:
        return None
    try:
        numbers = [float(number) for number in (bbox.split(",") if isinstance(bbox, str) else bbox)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 4:
        raise StacError(f"bbox={bbox!r}", "west, south, east, north in degrees", "bbox=(-53.2, -19.5, -45.9, -12.4)")
    return numbers
