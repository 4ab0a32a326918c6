"""Requests that outlast a busy server and a bad line, and none for ever: for APIs, metadata files and pixels."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from xr_cloudmask.errors import CloudMaskError, FileError, causes
from xr_cloudmask.limits import limits, raised
from xr_cloudmask.stac.places import Place, drivers, require_as_far

if TYPE_CHECKING:
    from requests import Response, Session

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each repetition
LONGEST_PAUSE = 60.0  # seconds, whatever the server asks for
CONNECTIONS = 8  # at once, for headers and metadata files
BUSY = (429, 500, 502, 503, 504)
STATUS = re.compile(r"HTTP response code.*:\s*(\d{3})\b")  # in GDAL's messages
UNRECOGNISED = "not recognized as being in a supported file format"  # by the driver that was asked
FOLLOWED = ("OVERVIEWS", "GEOLOCATION")  # namespaces of tags by which a raster names other files, in GDAL
PIECE = 1 << 14  # bytes of an answer that are unpacked at once
PACKINGS = ("", "identity", "gzip", "x-gzip", "deflate")  # one of them: packed several times, a kilobyte is a terabyte

# What GDAL does where the caller's environment does not say otherwise; it repeats requests that end in `BUSY`.
GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "2",
    "GDAL_HTTP_RETRY_DELAY": str(PAUSES[0]),
}
# GDAL's names of limits; it takes whole numbers.
GDAL_LIMITS = {
    "GDAL_HTTP_CONNECTTIMEOUT": "connect",
    "GDAL_HTTP_LOW_SPEED_TIME": "idle",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "slowest",
    "GDAL_HTTP_TIMEOUT": "total",
}
REPETITIONS = 4  # of what GDAL does not repeat itself
FORGETTING = {"GDAL_HTTP_MAX_RETRY": "0", "GDAL_HTTP_TIMEOUT": "1", "GDAL_HTTP_CONNECTTIMEOUT": "1"}

T = TypeVar("T")


def timeout() -> tuple[float, float]:
    """Return the seconds to connect, and between two pieces of an answer."""
    return limits().connect, limits().idle


def session(origin: Place = Place.MACHINE) -> Session:
    """Return an HTTP session that repeats what is worth repeating, with growing pauses.

    Lost connections, also midway through an answer, time-outs, and the statuses of `BUSY` are repeated; a server that
    says when to come back (``Retry-After``) is heeded. What still fails then is the caller's to tell. An answer that is
    larger than it may be, or that leads to a place nearer than `origin`, is an error at once.
    """
    from requests import Session
    from requests.adapters import HTTPAdapter

    class Patient(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Response:
            require_as_far(str(request.url), origin)
            send = super().send
            kwargs |= {"stream": True, "timeout": kwargs.get("timeout") or timeout()}  # pystac-client forgets its own
            return _repeated(lambda: _whole(lambda: send(request, *args, **kwargs)))

    patient = Session()
    patient.headers["Accept-Encoding"] = "gzip, deflate"
    for scheme in ("http://", "https://"):
        patient.mount(scheme, Patient())
    return patient


def _repeated(attempt: Callable[[], Response]) -> Response:
    """Try again while a server is busy, or does not answer; both within their limits, but once in any case."""
    from requests.exceptions import ChunkedEncodingError, Timeout
    from requests.exceptions import ConnectionError as Disconnected

    begin = time.monotonic()
    for number, pause in enumerate(PAUSES):
        try:
            response = attempt()
        except (ChunkedEncodingError, Disconnected, Timeout):
            if number and time.monotonic() - begin + pause > limits().patience:
                raise
            time.sleep(pause)
            continue
        wait = max(pause, _asked_for(response))
        if response.status_code not in BUSY or time.monotonic() - begin + wait > limits().total:
            return response
        time.sleep(wait)
    return attempt()


def _whole(send: Callable[[], Response]) -> Response:
    """Return an answer of which everything has come."""
    from requests.exceptions import ChunkedEncodingError
    from urllib3.exceptions import HTTPError

    response = _within(sum(timeout()), send)
    try:
        response._content = _body(response)  # what requests would read without a limit
    except (HTTPError, OSError) as error:
        raise ChunkedEncodingError(error, response=response) from error
    finally:
        response.close()
    response._content_consumed = True
    return response


def _within(seconds: float, function: Callable[[], T]) -> T:
    """Run a function that may wait for ever: a server can send a byte of its headers now and then."""
    from requests.exceptions import ReadTimeout

    outcome: list[tuple[T | None, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((function(), None))
        except BaseException as error:  # raised where it is waited for
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise ReadTimeout(f"no answer in {seconds:g} s")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def _body(response: Response) -> bytes:
    """Read a body: not more, and not for longer, than an answer may be."""
    from requests.exceptions import ReadTimeout

    allowed, url = limits(), response.url
    packing = response.headers.get("Content-Encoding", "").strip().lower()
    if packing not in PACKINGS:
        raise FileError(f"{url}, packed as {packing!r}", f"one of {', '.join(PACKINGS[1:])}", "another server")
    begin = looked = time.monotonic()
    pieces, size, before = [], 0, 0
    while piece := response.raw.read1(PIECE, decode_content=True):
        pieces.append(piece)
        size, now = size + len(piece), time.monotonic()
        if size > allowed.document:
            raise _too_large(str(url))
        if now - begin > allowed.total:
            raise FileError(
                f"{url}, which takes longer than {allowed.total:g} s", "an answer within that time",
                raised("total", 2 * allowed.total),
            )  # fmt: skip
        if now - looked > allowed.idle:
            if size - before < allowed.slowest * (now - looked):
                raise ReadTimeout(f"less than {allowed.slowest:g} bytes a second in {allowed.idle:g} s")
            looked, before = now, size
    return b"".join(pieces)


def _too_large(href: str) -> FileError:
    most = limits().document
    return FileError(f"{href}, of more than {most:.6g} bytes", "metadata, not data", raised("document", 4 * most))


def fetch(href: str, origin: Place = Place.MACHINE) -> bytes:
    """Read a small file, from the web or from disk.

    Parameters
    ----------
    href : str
    origin : Place
        Where it was named: the web may not lead to what is nearer.

    Raises
    ------
    FileError
        It cannot be read, it is too large, or it is in a place that is neither.
    """
    from requests import RequestException

    parts = urlsplit(href)
    try:
        if parts.scheme in ("http", "https"):
            with session(origin) as patient:
                response = patient.get(href, timeout=timeout())
                response.raise_for_status()
                return response.content
        if parts.scheme in ("", "file"):
            return _from_disk(Path(unquote(parts.path) if parts.scheme else href))
    except (OSError, RequestException, ValueError) as error:
        if isinstance(error, CloudMaskError):
            raise
        raise FileError(f"{href}, which cannot be read: {error}", "a file that is there", "try again later") from error
    raise FileError(
        f"{href}, at a kind of address that is not known",
        "https://, http://, file:// or a path",
        "patch_url=: a function that turns the address into one of these",
    )


def _from_disk(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a device or a pipe may have no end
        raise FileError(f"{path}, which is no file", "a metadata file", f"ls -l {path}")
    with path.open("rb") as file:
        content = file.read(int(limits().document) + 1)
    if len(content) > limits().document:
        raise _too_large(str(path))
    return content


def gdal_environment() -> AbstractContextManager[Any]:
    """Return an environment with `GDAL_OPTIONS` and the limits; what the caller has set himself stays."""
    import rasterio
    from rasterio.env import getenv, hasenv

    already = {**os.environ, **(getenv() if hasenv() else {})}
    options = GDAL_OPTIONS | {name: str(math.ceil(getattr(limits(), limit))) for name, limit in GDAL_LIMITS.items()}
    environment: AbstractContextManager[Any] = rasterio.Env(
        **{name: value for name, value in options.items() if name not in already}
    )
    return environment


def open_raster(href: str, origin: Place) -> Any:
    """Open a raster; one that was named far away by no driver that follows it to other files."""
    from rasterio.errors import RasterioIOError

    allowed = drivers(origin)
    for driver in allowed:
        try:
            return _opened(href, driver)
        except RasterioIOError as error:
            if driver == allowed[-1] or UNRECOGNISED not in str(error):
                raise
    raise AssertionError("there are drivers")


def _opened(href: str, driver: str | None) -> Any:
    import rasterio

    if driver is None:
        return rasterio.open(href)
    with alone():
        file = rasterio.open(href, driver=driver)
    named = [tags for namespace in FOLLOWED if (tags := file.tags(ns=namespace))]
    if named:
        file.close()
        raise FileError(
            f"{href}, whose tags name another file: {named[0]}",
            "a raster that is one file",
            "load(..., allow_local=True), if you trust the catalogue",
        )
    return file


def alone() -> AbstractContextManager[Any]:
    """Return an environment in which GDAL looks for no files beside a raster: an overview could be a VRT."""
    import rasterio

    environment: AbstractContextManager[Any] = rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR")
    return environment


def patiently(href: str, read: Callable[[], T]) -> T:
    """Open or read a raster on the web; again, with growing pauses, where a connection was lost midway.

    GDAL repeats neither an answer that was cut nor a first request without one, and it remembers half an answer as if
    it were the end of the file.
    """
    from rasterio.errors import RasterioError

    begin = time.monotonic()
    for number, pause in enumerate(PAUSES[:REPETITIONS]):
        try:
            return read()
        except RasterioError as error:
            # Once in any case: a chunk on a slow line may take longer than that before its connection is lost.
            late = number > 0 and time.monotonic() - begin + pause > limits().patience
            if late or not href.startswith(("http://", "https://")) or _is_final(error):
                raise
        time.sleep(pause)
        _forget(href)
    return read()


def _is_final(error: Exception) -> bool:
    """Whether GDAL names a status such as 404, which the next answer will have as well."""
    status = STATUS.search("\n".join(map(str, causes(error))))
    return status is not None and int(status[1]) not in BUSY


def _forget(href: str) -> None:
    """Make GDAL forget what it has of a file: it does when a file that must not be cached is closed."""
    import rasterio
    from rasterio.errors import RasterioError

    options = {**GDAL_OPTIONS, **FORGETTING}
    with rasterio.Env(CPL_VSIL_CURL_NON_CACHED="/vsicurl/http", **options), suppress(RasterioError):
        rasterio.open(href).close()


def _asked_for(response: Response) -> float:
    """Return the seconds that a server asks to wait; dates, which the header may hold too, count as none."""
    stated = response.headers.get("Retry-After", "")
    return min(float(stated), LONGEST_PAUSE) if stated.isdigit() else 0.0
