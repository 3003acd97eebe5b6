"""`/metrics` on a loopback port of its own (`server.metrics_port`): scrapers need no key, clients see nothing."""

from __future__ import annotations

import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Protocol

HOST = "127.0.0.1"
_PORT = re.compile(r":[0-9]*\Z")
_NAMES = frozenset({"localhost", HOST, "[::1]"})
"""Or a web page whose name was re-pointed at this machine could read along."""


class Rendering(Protocol):
    """Metrics as text, for any thread."""

    def render(self, accept: str = "") -> bytes:
        """Returns the exposition in the format that `accept` prefers; raises TimeoutError if nobody told in time."""
        ...

    def content_type(self, accept: str = "") -> str:
        """Returns the Content-Type of `render(accept)`."""
        ...


class _Handler(BaseHTTPRequestHandler):
    metrics: ClassVar[Rendering]
    timeout = 10  # seconds; a scraper that stalls holds a thread no longer
    server_version = "anyport"
    sys_version = ""

    def do_GET(self) -> None:
        if _PORT.sub("", self.headers.get("host", "")).lower() not in _NAMES:
            self.send_error(400, "the Host header must be localhost or a loopback address")
            return
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        accept = self.headers.get("accept", "")
        try:
            body = self.metrics.render(accept)
        except TimeoutError:
            # An empty exposition would be read as counters that are gone.
            self.send_error(503, "no worker has said yet what it has counted; ask again")
            return
        self.send_response(200)
        self.send_header("content-type", self.metrics.content_type(accept))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: a scrape is not news."""


def serve_metrics(metrics: Rendering, port: int) -> ThreadingHTTPServer:
    """Serves `metrics` from a daemon thread until `shutdown()` of what it returns; an OSError names the setting."""
    handler = type("_BoundHandler", (_Handler,), {"metrics": metrics})
    try:
        server = ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise OSError(f"cannot serve metrics on {HOST}:{port} (server.metrics_port): {reason}") from None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="metrics-port", daemon=True).start()
    return server
