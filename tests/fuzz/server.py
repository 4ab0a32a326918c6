"""A STAC API on this machine that answers what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONFORMS = [f"https://api.stacspec.org/v1.0.0/{part}" for part in ("core", "item-search")]


class Server:
    """Runs until its process ends."""

    def __init__(self) -> None:
        self.root: Any = None
        self.found: Any = None
        self.mutate: Callable[[bytes], bytes] | None = None
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(owner.root if self.path in ("", "/") else owner.found)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._answer(owner.found)

            def _answer(self, content: Any) -> None:
                body = json.dumps(content).encode("utf-8", "surrogatepass")
                body = body if owner.mutate is None else owner.mutate(body)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Print nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def plain_root(self) -> dict[str, Any]:
        """Return the root of an API without fault."""
        links = [
            {"rel": "self", "href": self.url},
            {"rel": "root", "href": self.url},
            {"rel": "search", "href": f"{self.url}/search", "method": "POST", "type": "application/geo+json"},
        ]
        return {
            "type": "Catalog", "id": "api", "description": "a catalogue", "stac_version": "1.0.0", "links": links,
            "conformsTo": CONFORMS,
        }  # fmt: skip
