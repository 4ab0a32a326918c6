"""Where items may point: nobody on the internet decides which files and servers of this network are read."""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from xr_cloudmask.errors import StacError

if TYPE_CHECKING:
    from pystac import Item

WEB = ("http", "https")
BUCKETS = ("s3", "gs", "az")
ORIGINS = ("self", "root", "parent", "collection")  # links of an item to where it came from
ODD = re.compile(r"^\s|[\x00-\x1f\x7f]|^[^/?#]*//[^/?#]*[\s\\]")  # which parsers of addresses read differently


# GDAL's drivers for files that name no other files: a VRT or a WMS file of the internet could name any of this machine,
# and so could the external data of an HDF5 file, which netCDF 4 is too.
PLAIN = ("GTiff", "COG", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JPEG", "PNG", "WEBP", "HFA", "NITF")
# Prefixes of IPv6 addresses that lead to the IPv4 address in them, and its place among their 16 bytes.
CARRIERS = {"::ffff:0:0/96": 12, "::/96": 12, "64:ff9b::/96": 12, "64:ff9b:1::/48": 12, "2002::/16": 2}


class Place(IntEnum):
    """How far away something is: an item may point to what is as far away as itself, or further."""

    MACHINE = 0
    NETWORK = 1
    INTERNET = 2


WORDS = {
    Place.MACHINE: "this machine",
    Place.NETWORK: "a private network",
    Place.INTERNET: "the internet",
}


def place_of(href: str) -> Place:
    """Return how far away an address is; what is not known to be elsewhere is on this machine.

    Paths, ``file:``, ``/vsi…``, ``vrt://`` and GDAL's other prefixes are on this machine. A name is looked up, so that
    one of the internet that stands for a private address does not count as the internet.

    Examples
    --------
    >>> [place_of(href).name for href in ("https://8.8.8.8/b2.tif", "s3://bucket/b2.tif", "http://10.0.0.1/b2.tif")]
    ['INTERNET', 'INTERNET', 'NETWORK']
    >>> {place_of(href).name for href in ("/data/b2.tif", "/vsicurl/https://a.org/b2.tif", "http://[::1]/", "vrt://x")}
    {'MACHINE'}
    """
    parts = _split(href)
    if parts is None:
        return Place.MACHINE
    if parts.scheme in BUCKETS:
        return Place.INTERNET
    host = unquote(parts.hostname or "").rstrip(".").lower()  # as curl and requests read it
    return _place_of_host(host) if parts.scheme in WEB and host else Place.MACHINE


def origin_of(item: Item) -> Place:
    """Return where an item came from: the furthest of its links to its catalogue; this machine where it has none."""
    links = (link for link in item.links if link.rel in ORIGINS)
    hrefs = (link.get_href(transform_href=False) or "" for link in links)
    return max((place_of(href) for href in hrefs if _is_remote(href)), default=Place.MACHINE)


def require_reachable(item: Item, href: str, allow_local: bool) -> None:
    """Refuse an address that is nearer than where the item came from.

    Raises
    ------
    StacError
        The item may not point there.
    """
    if allow_local:
        return
    origin = origin_of(item)
    place = place_of(href) if origin > Place.MACHINE else origin
    if place < origin:
        raise StacError(
            f"item {item.id!r} from {WORDS[origin]}, which points to {WORDS[place]}: {href}",
            "https://, http://, s3://, gs:// or az://, and no private address",
            "load(..., allow_local=True), if you trust the catalogue",
        )


def drivers(origin: Place) -> tuple[str | None, ...]:
    """Return the drivers that may open a file that was named at a place; None stands for all of them."""
    return PLAIN if origin > Place.MACHINE else (None,)


def require_as_far(url: str, origin: Place) -> None:
    """Refuse what a server on the internet leads to on a nearer network: a redirect, or the link to another page."""
    place = place_of(url)
    if place < origin:
        raise StacError(
            f"{url} on {WORDS[place]}, where a server on {WORDS[origin]} leads to",
            "redirects and links that stay as far away as the catalogue",
            "the address itself, if you trust the server",
        )


def _split(href: str) -> SplitResult | None:
    try:
        return None if ODD.search(href) else urlsplit(href)
    except ValueError:
        return None


def _is_remote(href: str) -> bool:
    parts = _split(href)
    return parts is not None and parts.scheme in (*WEB, *BUCKETS)


@functools.lru_cache(maxsize=1024)
def _place_of_host(host: str) -> Place:
    """Return the nearest place of all addresses of a host."""
    with suppress(ValueError):
        return _place_of_address(host)
    if host == "localhost" or host.endswith(".localhost"):  # curl asks no server for it
        return Place.MACHINE
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # no such name, or none that this machine can look up
        return Place.INTERNET
    return min((_place_of_address(str(entry[4][0])) for entry in found), default=Place.INTERNET)


def _place_of_address(text: str) -> Place:
    address = ipaddress.ip_address(text.partition("%")[0])
    if address.is_loopback or address.is_unspecified or address.is_link_local:
        return Place.MACHINE
    for prefix, start in CARRIERS.items():
        if address in ipaddress.ip_network(prefix):
            return _place_of_address(str(ipaddress.IPv4Address(address.packed[start : start + 4])))
    near = address.is_multicast or getattr(address, "is_site_local", False)
    return Place.INTERNET if address.is_global and not near else Place.NETWORK
