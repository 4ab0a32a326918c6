"""Servers on 127.0.0.1 for what a STAC catalogue is made of: the API (rustac) and the files behind it, with faults.

They are processes of their own: GDAL may hold Python's lock while it waits for an answer. Run as a program, this file
is such a server: ``stac_server.py files FOLDER`` or ``stac_server.py proxy URL``.

Faults: ``"drop"`` closes the connection without an answer, ``"cut"`` in the middle of the body, ``"short"`` and
``"long"`` announce half and twice the body, ``"garble"`` inverts its first bytes, ``"stall"`` says nothing for a while,
``"trickle"`` sends a byte now and then; a number is the status that is sent instead, None is no fault.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

START = 30  # seconds that a server may take to start, or to answer
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
CONTROL = "/control"
TRICKLE = 0.2  # seconds between two bytes


class Request(NamedTuple):
    """What was asked, what went wrong, and how many bytes of a body were sent."""

    method: str
    path: str
    fault: str | int | None
    sent: int


@dataclass(frozen=True)
class Server:
    """A running server, as its clients and its tests see it."""

    url: str

    @property
    def log(self) -> list[Request]:
        """Every request since the start, or since it was told to forget."""
        return [Request(*entry) for entry in self._control({})]

    @property
    def sent(self) -> int:
        return sum(request.sent for request in self.log)

    @property
    def faults(self) -> int:
        return sum(request.fault is not None for request in self.log)

    def forget(self) -> None:
        self._control({"forget": True})

    def fail(
        self,
        *planned: str | int | None,
        path: str = "",
        share: float = 0.0,
        retry_after: int | None = None,
        kinds: Iterable[str | int] = ("drop", "cut"),
        stall: float = 30.0,
    ):
        """Let the next requests to paths that contain `path` fail as planned, after that a share of them by chance.

        Without an argument, nothing fails any more. `stall` is in seconds.
        """
        told = {"planned": planned, "path": path, "share": share, "retry_after": retry_after}
        self._control({"faults": told | {"kinds": list(kinds), "stall": stall}})

    def _control(self, order: dict[str, Any]) -> Any:
        data = json.dumps(order).encode()
        with urllib.request.urlopen(self.url + CONTROL, data, timeout=START) as reply:
            return json.load(reply)


@contextmanager
def serve_files(root: Path):
    """Serve a folder, whole files or ranges."""
    with _process([sys.executable, __file__, "files", str(root)], speaks=True) as (_, url):
        yield Server(url)


@contextmanager
def serve_api(items: Iterable[dict], folder: Path):
    """Serve items, as JSON has them, and collections for them, by rustac behind a proxy that can be told to fail."""
    program = shutil.which("rustac", path=str(Path(sys.executable).parent)) or shutil.which("rustac")
    assert program, "rustac is not installed: pip install rustac"
    folder.mkdir(parents=True, exist_ok=True)
    items = list(items)
    files = [_write(folder / f"{name}.json", collection(name)) for name in {item["collection"] for item in items}]
    files.append(_write(folder / "items.json", {"type": "FeatureCollection", "features": items}))
    behind = f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        _, url = stack.enter_context(_process([sys.executable, __file__, "proxy", behind], speaks=True))
        # It tells the proxy's address in its links, or a second page would not come by way of the proxy.
        command = [program, "serve", "-a", url, "-b", behind, *map(str, files)]
        process, _ = stack.enter_context(_process(command))
        wait(f"http://{behind}", process)
        yield Server(url)


@contextmanager
def _process(command: list[str], speaks: bool = False):
    """Run a program; one that `speaks` prints its address first."""
    output = subprocess.PIPE if speaks else subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=output, text=True)
    try:
        yield process, process.stdout.readline().strip() if speaks else ""
    finally:
        process.terminate()
        process.wait(START)
        if speaks:
            process.stdout.close()


def wait(url: str, process: subprocess.Popen) -> None:
    for _ in range(START * 20):
        assert process.poll() is None, f"the server behind {url} ended with {process.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=START):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"no answer from {url}")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _write(path: Path, content: dict) -> Path:
    path.write_text(json.dumps(content))
    return path


def collection(name: str) -> dict:
    return {
        "type": "Collection", "stac_version": "1.0.0", "id": name, "description": name, "license": "CC-BY-SA-3.0",
        "links": [], "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
    }  # fmt: skip


# The program ---------------------------------------------------------------------------------------------------------


@dataclass
class State:
    """What a server process remembers and is told."""

    planned: list[str | int | None] = field(default_factory=list)
    path: str = ""
    share: float = 0.0
    retry_after: int | None = None
    kinds: list[str | int] = field(default_factory=lambda: ["drop", "cut"])
    stall: float = 30.0
    log: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def fault(self, path: str) -> str | int | None:
        with self.lock:
            if self.path not in path:
                return None
            if self.planned:
                return self.planned.pop(0)
            return self.rng.choice(self.kinds) if self.rng.random() < self.share else None

    def obey(self, order: dict[str, Any]) -> list[Request]:
        with self.lock:
            for name, value in order.get("faults", {}).items():
                setattr(self, name, value)
            if order.get("forget"):
                self.log.clear()
            return list(self.log)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State
    source: str

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.respond()

    def do_GET(self):
        self.respond()

    def do_POST(self):
        self.respond()

    def respond(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        path = unquote(urlsplit(self.path).path)
        if path == CONTROL:
            self.send(200, {}, json.dumps(self.state.obey(json.loads(body))).encode())
            return
        fault = self.state.fault(path)
        if fault in ("drop", "stall"):
            self.note(fault, 0)
            time.sleep(self.state.stall if fault == "stall" else 0)
            self.close_connection = True
        elif isinstance(fault, int):
            wait = {} if self.state.retry_after is None else {"Retry-After": str(self.state.retry_after)}
            self.note(fault, 0)
            self.send(fault, wait, b"")
        else:
            status, headers, content = self.answer(path, body)
            self.close_connection |= fault is not None
            length = len(content) // 2 if fault == "cut" else len(content)
            self.note(fault, 0 if self.command == "HEAD" else length)
            told = {"short": len(content) // 2, "long": 2 * len(content)}.get(fault, len(content))
            if fault == "garble":
                content = bytes(byte ^ 0xFF for byte in content[:256]) + content[256:]
            pieces = [content[i : i + 1] for i in range(length)] if fault == "trickle" else [content[:length]]
            self.send(status, {"Content-Length": str(told)} | headers, *pieces)

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        raise NotImplementedError

    def note(self, fault: str | int | None, sent: int):
        with self.state.lock:
            self.state.log.append(Request(self.command, self.path, fault, sent))

    def send(self, status: int, headers: dict[str, str], *pieces: bytes):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(pieces[0]))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for i, piece in enumerate(pieces):
            if i:
                time.sleep(TRICKLE)
            self.wfile.write(piece)
            self.wfile.flush()

    def handle(self):
        with suppress(OSError):  # the client had enough
            super().handle()


class FileHandler(Handler):
    """Files of a folder, whole or a range of bytes."""

    def answer(self, path, body):
        root = Path(self.source).resolve()
        file = (root / path.lstrip("/")).resolve()
        if not file.is_relative_to(root) or not file.is_file():
            return 404, {}, b""
        content = file.read_bytes()
        asked = RANGE.fullmatch(self.headers["Range"] or "")
        headers = {"Accept-Ranges": "bytes"}
        if not asked:
            return 200, headers, content
        start, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        if start >= len(content):
            return 416, headers | {"Content-Range": f"bytes */{len(content)}"}, b""
        return 206, headers | {"Content-Range": f"bytes {start}-{end}/{len(content)}"}, content[start : end + 1]


class ProxyHandler(Handler):
    """Another server."""

    def answer(self, path, body):
        connection = HTTPConnection(self.source, timeout=START)
        kept = {name: self.headers[name] for name in ("Accept", "Content-Type") if self.headers[name]}
        connection.request(self.command, self.path, body or None, kept)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        return reply.status, {"Content-Type": reply.headers["Content-Type"] or ""}, content


def main(kind: str, source: str) -> None:
    handler = {"files": FileHandler, "proxy": ProxyHandler}[kind]
    handler.state, handler.source = State(), source
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
