"""Requests that outlast a busy server and a bad line: one policy for APIs, metadata files and pixels."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from xr_cloudmask.errors import FileError

if TYPE_CHECKING:
    from requests import Response, Session

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each repetition
LONGEST_PAUSE = 60.0  # seconds, whatever the server asks for
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two pieces of an answer
CONNECTIONS = 8  # at once, for headers and metadata files
BUSY = (429, 500, 502, 503, 504)

# What GDAL does where the caller's environment does not say otherwise; it repeats requests that end in `BUSY`.
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": str(PAUSES[0]),
}
REPETITIONS = 4  # of what GDAL does not repeat itself

T = TypeVar("T")


def session() -> Session:
    """Return an HTTP session that repeats what is worth repeating, with growing pauses.

    Lost connections, also midway through an answer, time-outs, and the statuses of `BUSY` are repeated; a server that
    says when to come back (``Retry-After``) is heeded. What still fails then is the caller's to tell.
    """
    from requests import Session
    from requests.adapters import HTTPAdapter
    from requests.exceptions import ChunkedEncodingError, Timeout
    from requests.exceptions import ConnectionError as Disconnected

    class Patient(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Response:
            for pause in PAUSES:
                try:
                    response = super().send(request, *args, **kwargs)
                    _ = response.content  # read here: a connection can be lost midway
                except (ChunkedEncodingError, Disconnected, Timeout):
                    time.sleep(pause)
                    continue
                if response.status_code not in BUSY:
                    return response
                time.sleep(max(pause, _asked_for(response)))
            return super().send(request, *args, **kwargs)

    patient = Session()
    for scheme in ("http://", "https://"):
        patient.mount(scheme, Patient())
    return patient


def fetch(href: str) -> bytes:
    """Read a small file, from the web or from disk.

    Raises
    ------
    FileError
        It cannot be read, or it is in a place that is neither.
    """
    from requests import RequestException

    parts = urlsplit(href)
    try:
        if parts.scheme in ("http", "https"):
            with session() as patient:
                response = patient.get(href, timeout=TIMEOUT)
                response.raise_for_status()
                return response.content
        if parts.scheme in ("", "file"):
            return Path(unquote(parts.path) if parts.scheme else href).read_bytes()
    except (OSError, RequestException) as error:
        raise FileError(f"{href}, which cannot be read: {error}", "a file that is there", "try again later") from error
    raise FileError(
        f"{href}, at a kind of address that is not known",
        "https://, http://, file:// or a path",
        "patch_url=: a function that turns the address into one of these",
    )


def gdal_environment() -> AbstractContextManager[Any]:
    """Return an environment with `GDAL_OPTIONS`; what the caller has set himself stays."""
    import rasterio
    from rasterio.env import getenv, hasenv

    already = getenv() if hasenv() else {}
    environment: AbstractContextManager[Any] = rasterio.Env(
        **{name: value for name, value in GDAL_OPTIONS.items() if name not in already}
    )
    return environment


def patiently(href: str, read: Callable[[], T]) -> T:
    """Open or read a raster on the web; again, with growing pauses, where a connection was lost midway.

    GDAL repeats neither an answer that was cut nor a first request without one, and it remembers half an answer as if
    it were the end of the file.
    """
    from rasterio.errors import RasterioError

    for pause in PAUSES[:REPETITIONS]:
        try:
            return read()
        except RasterioError as error:
            # A status is either final, such as 404, or GDAL has repeated the request already.
            if not href.startswith(("http://", "https://")) or "HTTP response code" in str(error):
                raise
        time.sleep(pause)
        _forget(href)
    return read()


def _forget(href: str) -> None:
    """Make GDAL forget what it has of a file: it does when a file that must not be cached is closed."""
    import rasterio
    from rasterio.errors import RasterioError

    with rasterio.Env(CPL_VSIL_CURL_NON_CACHED="/vsicurl/http", **GDAL_OPTIONS), suppress(RasterioError):
        rasterio.open(href).close()


def _asked_for(response: Response) -> float:
    """Return the seconds that a server asks to wait; dates, which the header may hold too, count as none."""
    stated = response.headers.get("Retry-After", "")
    return min(float(stated), LONGEST_PAUSE) if stated.isdigit() else 0.0
