"""Nothing from outside takes longer, or is larger, than it may be; and the error says which limit it was."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import threading
import time
import zlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pystac
import pytest
import rasterio
import scenes
from affine import Affine
from stac_server import serve_files

import xr_cloudmask
from xr_cloudmask import CloudMaskError, FileError, Limits, StacError, files, set_limits, stac
from xr_cloudmask.limits import limits
from xr_cloudmask.stac import http

QUICK = {"connect": 1, "idle": 1, "patience": 2, "total": 4}
ENOUGH = 25  # seconds, on a busy machine


@contextmanager
def quickly(seconds=ENOUGH):
    begin = time.monotonic()
    with set_limits(**QUICK):
        yield
    assert time.monotonic() - begin < seconds


@contextmanager
def serve(answer):
    """Answer every request with what `answer(path)` says: status, headers, body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

    asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def mute():
    """The port of a server that accepts and says nothing: a process of its own, for GDAL may hold Python's lock."""
    program = (
        "import socket, time\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "print(server.getsockname()[1], flush=True)\n"
        "kept = []\n"
        "while True: kept.append(server.accept())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    yield int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


def item(href, **said):
    """Return an item of four bands at one address."""
    bands = ("blue", "green", "red", "nir")
    assets = {
        name: {"href": href, "eo:bands": [{"name": name, "common_name": name}], "raster:bands": [{}]} | said
        for name in bands
    }
    return pystac.Item.from_dict(
        {
            "type": "Feature", "stac_version": "1.0.0", "id": "a", "geometry": None, "links": [], "assets": assets,
            "properties": {"datetime": "2025-01-01T00:00:00Z"},
        }
    )  # fmt: skip


GRID = {"proj:code": "EPSG:32722", "proj:transform": [10, 0, 5e5, 0, -10, 7.9e6]}
KNOWN = GRID | {"proj:shape": [64, 64], "raster:bands": [{"data_type": "uint16", "nodata": 0}]}


# Silence -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_a_header_is_not_waited_for_for_ever(mute, scheme):
    with quickly(), pytest.raises(FileError, match="GDAL cannot read"):
        stac.load([item(f"{scheme}://127.0.0.1:{mute}/b.tif")])


def test_pixels_are_not_waited_for_for_ever(mute):
    with quickly():
        cube = stac.load([item(f"http://127.0.0.1:{mute}/b.tif", **KNOWN)])
        with pytest.raises(rasterio.errors.RasterioIOError, match=r"too slow|timed out"):
            cube["red"].compute(scheduler="synchronous")


def test_an_api_is_not_waited_for_for_ever(mute):
    with quickly(), pytest.raises(StacError, match="no items from"):
        stac.search(f"http://127.0.0.1:{mute}", "c")
    with quickly(), pytest.raises(FileError, match="cannot be read"):
        http.fetch(f"http://127.0.0.1:{mute}/x_BAND2.xml")


@pytest.mark.parametrize("fault", ["trickle", "stall"])
def test_a_byte_now_and_then_is_silence(tmp_path, fault):
    (tmp_path / "a.xml").write_bytes(b"x" * 4000)
    with serve_files(tmp_path) as server:
        server.fail(share=1.0, kinds=[fault])
        with quickly(), pytest.raises(FileError, match=r"bytes a second|timed out|no answer"):
            http.fetch(f"{server.url}/a.xml")


def test_a_stall_that_ends_is_outlasted(tmp_path):
    made = scenes.make_wpm(tmp_path, "", size=(48, 48))
    with serve_files(tmp_path) as server, set_limits(connect=1, idle=1):
        server.fail("stall", None, "stall", "garble", "short", "long", None, "cut")
        text = json.dumps(made.item).replace('"href": "/', f'"href": "{server.url}/')
        cube = stac.load([pystac.Item.from_dict(json.loads(text))]).compute()
        assert server.faults >= 5
    assert (cube["BAND1"].values[0] == made.numbers["BAND1"].values).all()


# Sizes ---------------------------------------------------------------------------------------------------------------


def test_an_answer_is_bounded_once_it_is_unpacked():
    bomb = gzip.compress(bytes(64 << 20))
    for coding in ("gzip", "deflate"):
        body = bomb if coding == "gzip" else zlib.compress(bytes(64 << 20))
        with (
            serve(lambda _, body=body, coding=coding: (200, {"Content-Encoding": coding}, body)) as (url, asked),
            set_limits(document=1e6),
        ):
            with pytest.raises(FileError, match=r"(?s)more than 1e\+06 bytes.*set_limits\(document="):
                http.fetch(f"{url}/a.xml")
            assert len(asked) == 1  # not repeated
            with pytest.raises(StacError, match="more than"):
                stac.search(url, "c")


def test_what_was_packed_several_times_is_refused():
    body = gzip.compress(gzip.compress(b"<a/>"))
    with (
        serve(lambda _: (200, {"Content-Encoding": "gzip, gzip"}, body)) as (url, _),
        pytest.raises(FileError, match="packed as 'gzip, gzip'"),
    ):
        http.fetch(f"{url}/a.xml")


def test_an_answer_without_end_ends():
    with (
        serve(lambda _: (200, {"Content-Length": str(1 << 40)}, bytes(4 << 20))) as (url, _),
        set_limits(document=1e6),
        pytest.raises(FileError, match="more than"),
    ):
        http.fetch(f"{url}/a.xml")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs /dev/zero")  # noqa: PTH110
@pytest.mark.parametrize("href", ["/dev/zero", "file:///dev/zero?x_BAND2.xml", "{tmp}/pipe", "{tmp}"])
def test_devices_pipes_and_folders_are_no_metadata(tmp_path, href):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="no file"):
        http.fetch(href.format(tmp=tmp_path))


def test_files_on_disk_are_bounded(tmp_path):
    (tmp_path / "large.xml").write_bytes(bytes(2000))
    with set_limits(document=1000), pytest.raises(FileError, match="more than 1000 bytes"):
        http.fetch(str(tmp_path / "large.xml"))
    assert len(http.fetch(str(tmp_path / "large.xml"))) == 2000


def test_absurd_grids_of_items_are_refused(tmp_path):
    with pytest.raises(FileError, match=r"(?s)1000000 x 1000000 pixels.*set_limits\(pixels="):
        stac.load([item("/nowhere/b.tif", **KNOWN | {"proj:shape": [1_000_000, 1_000_000]})])


def test_absurd_headers_are_refused(tmp_path):
    shape = {"height": 1_000_000, "width": 1_000_000, "count": 1, "dtype": "uint8", "crs": "EPSG:32722"}
    with rasterio.open(
        tmp_path / "b.tif", "w", driver="GTiff", sparse_ok=True, tiled=True, blockxsize=65536, blockysize=65536,
        transform=Affine(10, 0, 5e5, 0, -10, 7.9e6), bigtiff="yes", **shape,
    ):  # fmt: skip
        pass
    with pytest.raises(FileError, match="1000000 x 1000000 pixels"):
        stac.load([item(str(tmp_path / "b.tif"))])
    with pytest.raises(FileError, match="1000000 x 1000000 pixels"):
        files.open_cube(tmp_path / "b.tif", bands=["red"])


# Pages ---------------------------------------------------------------------------------------------------------------


def api(page, collections=("c",)):
    """Return the answers of an API whose search gives `page(number)`: items and the number of the next page."""

    def answer(path):
        kind, _, number = path.partition("?")[0].strip("/").partition("/")
        if kind == "search":
            ids, following = page(int(number or 0))
            body = {"type": "FeatureCollection", "features": [_feature(name) for name in ids]}
            body["links"] = [] if following is None else [{"rel": "next", "href": f"{base[0]}/search/{following}"}]
        elif kind == "collections":
            body = {"collections": [_collection(name) for name in collections], "links": []}
        else:
            conforms = ["core", "item-search", "collections"]
            body = {
                "type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "api",
                "conformsTo": [f"https://api.stacspec.org/v1.0.0/{name}" for name in conforms],
                "links": [
                    {"rel": "search", "href": f"{base[0]}/search", "type": "application/geo+json", "method": "GET"},
                    {"rel": "data", "href": f"{base[0]}/collections"},
                ],
            }  # fmt: skip
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()

    base = [""]
    return answer, base


def _feature(name):
    return item("/nowhere.tif").to_dict() | {"id": name, "collection": "c"}


def _collection(name):
    return {
        "type": "Collection", "stac_version": "1.0.0", "id": name, "description": name, "license": "other", "links": [],
        "extent": {
            "spatial": {"bbox": [[-54, -20, -45, -12]]}, "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]},
        },
    }  # fmt: skip


@contextmanager
def serve_api(page, **options):
    answer, base = api(page, **options)
    with serve(answer) as (url, asked):
        base[0] = url
        yield url, asked


ENDLESS = {
    "the next page is itself": lambda i: (["a", "b"], 0),
    "two pages in turn": lambda i: ([f"{i}a", f"{i}b"], 1 - i),
    "another address, the same items": lambda i: (["a", "b"], i + 1),
}


@pytest.mark.parametrize("page", ENDLESS.values(), ids=ENDLESS)
def test_pages_that_repeat_end_the_search(page):
    with serve_api(page) as (url, asked):
        with pytest.raises(StacError, match="nothing that the pages before it do not have") as told:
            stac.search(url, "c")
        assert sum("search" in path for path in asked) <= 3
        limit = int(told.value.remedy.partition("limit=")[2].partition(",")[0])
        assert len(stac.search(url, "c", limit=limit)) == limit


def test_pages_without_end_end():
    with serve_api(lambda i: ([f"{i}a", f"{i}b"], i + 1)) as (url, _):
        with set_limits(items=10), pytest.raises(StacError, match=r"(?s)more than 10 items.*limit=10"):
            stac.search(url, "c")
        assert len(stac.search(url, "c", limit=9)) == 9


def test_pages_that_end_are_all_read():
    with serve_api(lambda i: ([f"{i}a", f"{i}b"], i + 1 if i < 4 else None)) as (url, _):
        assert len(stac.search(url, "c")) == 10


def test_a_search_without_a_result_says_what_there_is():
    with serve_api(lambda i: ([], None), collections=("sentinel-2-l2a", "landsat")) as (url, _):
        with pytest.raises(StacError, match=r"(?s)no collection 'sentinel2'.*sentinel-2-l2a.*collections='sent"):
            stac.search(url, "sentinel2")
        with pytest.raises(StacError, match=r"(?s)bbox=.*landsat \(bbox \(-54, -20, -45, -12\), 2020-01-01/\.\.\)"):
            stac.search(url, "landsat", bbox=(0, 0, 1, 1))


# How they are set ----------------------------------------------------------------------------------------------------


def test_limits_are_set_for_good_or_for_a_while():
    before = limits()
    with set_limits(idle=7) as inner:
        assert inner.idle == limits().idle == 7
        with set_limits(items=3):
            assert (limits().idle, limits().items) == (7, 3)
    assert limits() == before
    set_limits(idle=9)
    assert limits().idle == 9
    set_limits(idle=before.idle)
    assert limits() == before


@pytest.mark.parametrize("wrong", [{"idel": 3}, {"idle": 0}, {"idle": -1}, {"idle": float("nan")}, {"items": "many"}])
def test_limits_that_are_none_are_refused(wrong):
    before = limits()
    with pytest.raises(CloudMaskError, match=r"set_limits|above zero"):
        set_limits(**wrong)
    assert limits() == before


@pytest.mark.parametrize(("text", "right"), [("idle=5, items=7", True), ("idle", False), ("idel=4", False)])
def test_limits_come_from_the_environment(text, right):
    program = "from xr_cloudmask.limits import limits; print(limits().idle, limits().items)"
    environment = os.environ | {"XR_CLOUDMASK_LIMITS": text}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == (["5.0", "7.0"] if right else [])
    assert right or "found: " in done.stderr


def test_gdal_has_the_limits_unless_the_caller_has_set_his_own(monkeypatch):
    with set_limits(idle=7.5), http.gdal_environment():
        assert rasterio.env.getenv()["GDAL_HTTP_LOW_SPEED_TIME"] == "8"
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "77")
    with rasterio.Env(GDAL_HTTP_CONNECTTIMEOUT="55"), http.gdal_environment():
        assert str(rasterio.env.getenv()["GDAL_HTTP_CONNECTTIMEOUT"]) == "55"
        assert "GDAL_HTTP_TIMEOUT" not in rasterio.env.getenv()


def test_every_limit_is_in_the_documentation():
    from paths import DOCS

    page = (DOCS / "outside.md").read_text()
    for name, value in vars(Limits()).items():
        assert f"| `{name}` |" in page, (name, value)
    assert xr_cloudmask.Limits is Limits


def test_a_busy_machine_without_sockets_is_told(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: (_ for _ in ()).throw(OSError("too many open files")))
    with quickly(), pytest.raises(StacError, match="no items"):
        stac.search("http://nowhere.invalid", "c")
