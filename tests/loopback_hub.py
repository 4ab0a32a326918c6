"""A Hugging Face hub on 127.0.0.1, with as much of its HTTP interface as the real client needs, and faults on demand.

Large files are redirected to another host name (``localhost``), as the hub redirects to its delivery network.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

REPOSITORY = "aliFrancis/SEnSeIv2"
COMMITS = {"main": "a" * 40, "v2": "b" * 40}
WAIT = 60


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked.

    `content` maps a path in the repository to bytes, per revision. `status` maps ``"info"``, ``"head"`` and ``"get"``
    to status codes to fail with, one per request. `cuts` are numbers of bytes after which the connection is closed, one
    per download of a large file. `tamper` flips a byte on the way. `gate` and `midway`, while they are not set, hold
    back every answer and every second half of a large file.
    """

    content: dict[str, dict[str, bytes]]
    status: dict[str, list[int]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    tamper: bool = False
    portal: bool = False
    url: str = ""
    log: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    midway: threading.Event = field(default_factory=threading.Event)
    halfway: threading.Event = field(default_factory=threading.Event)

    def count(self, method: str, path: str) -> int:
        return Counter((entry[0], entry[1].startswith(path)) for entry in self.log)[method, True]

    def ranges(self) -> list[str | None]:
        return [entry[2] for entry in self.log if entry[1].startswith("/cdn/")]


@contextmanager
def serve(content: dict[str, dict[str, bytes]]):
    hub = Hub(content)
    hub.gate.set()
    hub.midway.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        hub.gate.set()
        hub.midway.set()
        server.shutdown()
        server.server_close()
        thread.join()


def is_large(path: str) -> bool:
    return path.endswith(".pt")


def git_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.log.append((self.command, path, self.headers["Range"], self.headers["Authorization"]))
        assert self.hub.gate.wait(WAIT)
        if self.hub.portal:
            self.send({}, b"<html>Please log in to this network</html>")
        elif match := re.fullmatch(rf"/api/models/{REPOSITORY}/revision/(.+)", path):
            self.info(match[1])
        elif match := re.fullmatch(rf"/{REPOSITORY}/resolve/([^/]+)/(.+)", path):
            self.resolve(*match.groups())
        elif match := re.fullmatch(r"/cdn/([0-9a-f]{64})", path):
            self.deliver(match[1])
        else:
            self.fail(404, "RepoNotFound")

    def info(self, revision: str):
        if self.refused("info"):
            return
        if self.at(revision) is None:
            self.fail(404, "RevisionNotFound")
            return
        siblings = [self.describe(path, content) for path, content in self.at(revision).items()]
        body = {"id": REPOSITORY, "sha": self.commit(revision), "private": False, "tags": [], "siblings": siblings}
        self.send({"Content-Type": "application/json"}, json.dumps(body).encode())

    def describe(self, path: str, content: bytes) -> dict:
        sha256 = hashlib.sha256(content).hexdigest()
        lfs = {"lfs": {"sha256": sha256, "size": len(content), "pointerSize": 134}} if is_large(path) else {}
        return {"rfilename": path, "size": len(content), "blobId": git_name(content), **lfs}

    def resolve(self, revision: str, path: str):
        if self.refused(self.command.lower()):
            return
        content = (self.at(revision) or {}).get(path)
        if content is None:
            self.fail(404, "EntryNotFound")
            return
        headers = {"X-Repo-Commit": self.commit(revision)}
        if not is_large(path):
            self.send(headers | {"ETag": f'"{git_name(content)}"'}, content)
            return
        sha256 = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content))}
        port = self.server.server_port
        self.send(headers | {"Location": f"http://localhost:{port}/cdn/{sha256}"}, b"", status=302)

    def deliver(self, sha256: str):
        files = [content for files in self.hub.content.values() for content in files.values()]
        content = next(content for content in files if hashlib.sha256(content).hexdigest() == sha256)
        if self.hub.tamper:
            content = bytes([content[0] ^ 1]) + content[1:]
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        status = 206 if start else 200
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self.send({"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"} | span, content[start:], status=status)

    def send(self, headers: dict[str, str], body: bytes, status: int = 200):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        large = self.path.startswith("/cdn/")
        if large and self.hub.cuts:
            self.wfile.write(body[: self.hub.cuts.pop(0)])
            return  # and close the connection, for this is HTTP/1.0
        half = len(body) // 2 if large else 0
        self.wfile.write(body[:half])
        if large:
            self.wfile.flush()
            self.hub.halfway.set()
            self.hub.midway.wait(WAIT)
        self.wfile.write(body[half:])

    def refused(self, what: str) -> bool:
        """Fail with the next status code that is planned for such a request."""
        codes = self.hub.status.get(what)
        if not codes:
            return False
        self.fail(codes.pop(0))
        return True

    def fail(self, status: int, code: str | None = None):
        self.send_response(status)
        if code is not None:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def at(self, revision: str) -> dict[str, bytes] | None:
        names = {commit: name for name, commit in COMMITS.items()}
        return self.hub.content.get(names.get(revision, revision))

    def commit(self, revision: str) -> str:
        return COMMITS.get(revision, revision)
