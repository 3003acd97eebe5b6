"""A token endpoint on loopback that gives out t1, t2, ... or refuses, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from ssl import SSLContext
from threading import Thread
from typing import Any
from urllib.parse import parse_qs


@dataclass
class TokenEndpoint:
    """What the server answers, and what it was asked."""

    url: str = ""
    seconds: int = 3600
    refusal: dict[str, str] | None = None
    status: int = 0
    """Instead of 200 or 400."""
    location: str = ""
    asked: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """The form of each request that asked for a token."""
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    tokens: int = 0
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    """Further members of each answer; `{}` in a text is the number of the token."""

    def answer(self) -> dict[str, Any]:
        if self.refusal is not None:
            return self.refusal
        self.tokens += 1
        made = {"access_token": f"ya29.t{self.tokens}", "expires_in": self.seconds, "token_type": "Bearer"}
        return made | {name: value.replace("{}", str(self.tokens)) for name, value in self.extra.items()}


@contextmanager
def serving(endpoint: TokenEndpoint, tls: SSLContext | None = None) -> Iterator[TokenEndpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            form = parse_qs(self.rfile.read(length).decode())
            endpoint.asked.append({name: values[0] for name, values in form.items()})
            self.reply(endpoint.answer())

        def do_GET(self) -> None:
            base = endpoint.url
            if self.path.endswith("/.well-known/openid-configuration"):
                self.reply({"authorization_endpoint": base, "token_endpoint": base + "/token", "issuer": base})
            else:
                self.reply({**endpoint.answer(), "email": "robot@project.iam.example", "scopes": []})

        def reply(self, members: dict[str, Any]) -> None:
            endpoint.headers.append({name.lower(): value for name, value in self.headers.items()})
            body = json.dumps(members).encode()
            self.send_response(endpoint.status or (400 if members is endpoint.refusal else 200))
            if endpoint.location:
                self.send_header("location", endpoint.location)
            self.send_header("content-type", "application/json")
            self.send_header("metadata-flavor", "Google")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        endpoint.url = f"{'https' if tls else 'http'}://localhost:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()
