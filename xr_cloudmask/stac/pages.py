"""The pages of a search: read within the limits, and what a search without a result says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from xr_cloudmask.errors import CloudMaskError, StacError, close_to, listed
from xr_cloudmask.limits import limits, raised
from xr_cloudmask.stac import http
from xr_cloudmask.stac.places import place_of

if TYPE_CHECKING:
    from pystac_client import Client
    from pystac_client.stac_api_io import StacApiIO


def transport(url: str) -> StacApiIO:
    """Return how pystac-client talks to an API: patiently, within the limits, and to no nearer place."""
    from pystac_client.stac_api_io import StacApiIO

    class Bounded(StacApiIO):
        def get_pages(self, *args: Any, **kwargs: Any) -> Iterator[dict[str, Any]]:
            return _ending(super().get_pages(*args, **kwargs), url)

    bounded = Bounded(max_retries=None, timeout=http.timeout())
    bounded.session = http.session(place_of(url))
    return bounded


def _ending(pages: Iterator[dict[str, Any]], url: str) -> Iterator[dict[str, Any]]:
    """Yield pages while they bring something new: a server may link to the same page again and again."""
    seen: set[tuple[Any, ...]] = set()
    for number, page in enumerate(pages, 1):
        entries = page.get("features") or page.get("collections") or []
        names = {(str(entry.get("collection")), str(entry.get("id"))) for entry in entries if isinstance(entry, dict)}
        if names and names <= seen:
            raise StacError(
                f"page {number} of {url}, which has nothing that the pages before it do not have",
                "pages that end",
                f"limit={len(seen)}, for what has come so far",
            )
        seen |= names
        if len(seen) > limits().items:
            raise StacError(
                f"{url} with more than {limits().items} items",
                "a search of fewer",
                f"limit={limits().items}, a smaller area, fewer dates, or {raised('items', 10 * limits().items)}",
            )
        yield page


def nothing_found(client: Client, collections: Sequence[str], asked: Mapping[str, Any]) -> NoReturn:
    """Say what an API has instead of what was searched for.

    Raises
    ------
    StacError
        Always.
    """
    there = {collection.id: collection for collection in client.get_collections()}
    unknown = [name for name in collections if name not in there]
    if unknown:
        raise StacError(
            f"no collection {unknown[0]!r} at {client.get_self_href()}",
            f"one of {listed(sorted(there))}" if there else "an API that has collections",
            f"collections={close_to(unknown[0], there, next(iter(sorted(there)), ''))!r}",
        )
    given = ", ".join(f"{name}={value!r}" for name, value in asked.items() if value is not None)
    extents = [f"{name} ({_extent(there[name])})" for name in collections or sorted(there)]
    raise StacError(
        f"no items with {given or 'these conditions'} at {client.get_self_href()}",
        f"a search within what there is: {listed(extents)}",
        "a larger bbox=, a wider datetime=, or no query=",
    )


def _extent(collection: Any) -> str:
    """Return where and when a collection has items, as it says itself."""
    try:
        said = collection.extent.to_dict()
        box, dates = said["spatial"]["bbox"][0], said["temporal"]["interval"][0]
        return f"bbox {tuple(box)}, {'/'.join(str(date or '..')[:10] for date in dates)}"
    except (AttributeError, KeyError, IndexError, TypeError):
        return "it does not say where and when"


def told_by(error: BaseException) -> CloudMaskError | None:
    """Return the error of this package that led to one of pystac-client's, which keeps only its text."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, CloudMaskError):
        found = found.__cause__ or found.__context__
    return found
