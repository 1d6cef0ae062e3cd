"""A stand-in for the W&B server on loopback, and the ways in which a server fails."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VIEWER = {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
BUCKET = {
    "id": "b",
    "name": "run",
    "displayName": "run",
    "description": "",
    "config": "{}",
    "sweepName": None,
    "historyLineCount": 0,
    "project": {"id": "p", "name": "perpixel", "entity": {"id": "e", "name": "me"}},
}
DATA: dict[str, Any] = {
    "viewer": VIEWER,
    "serverInfo": {"cliVersionInfo": {}, "latestLocalVersionInfo": None, "features": []},
    "model": None,
    "createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []},
}


class Server:
    """Answers every GraphQL query with what starting a run needs; ``silent`` makes it keep connections and say nothing.

    Attributes:
        streamed: what the uploads of logs brought that it took.
    """

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.silent = threading.Event()
        self.streamed: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                brought = self.rfile.read(int(self.headers.get("content-length") or 0))
                while outer.silent.is_set():
                    time.sleep(0.1)
                time.sleep(outer.delay_s)
                if self.path.endswith("file_stream"):
                    outer.streamed.append(unpacked(brought, self.headers.get("content-encoding")))
                content = json.dumps(answered(brought) if self.path.endswith("graphql") else {}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_: Any) -> None:
                """No lines on the test's screen."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Server:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def answered(query: bytes) -> dict[str, Any]:
    """What every query wants; a run keeps the name that it asked for, as on W&B's own server."""
    name = (json.loads(query).get("variables") or {}).get("name") or BUCKET["name"]
    return {"data": DATA | {"upsertBucket": {"bucket": BUCKET | {"name": name}, "inserted": True}}}


def unpacked(content: bytes, encoding: str | None) -> bytes:
    """As it was before it was made small for the way."""
    return gzip.decompress(content) if encoding == "gzip" else content


@contextmanager
def black_hole() -> Iterator[str]:
    """A port that accepts connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)  # the kernel completes the handshakes; nobody takes them
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def closed_port() -> str:
    """An address where nobody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"
