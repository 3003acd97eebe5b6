"""What the server edge says when it does not let a request through to the application."""

from __future__ import annotations

import http
import uuid
from dataclasses import dataclass

from gateway.errors import error_body

METHODS = (b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"PATCH", b"DELETE")
"""Every method that reaches the application."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer of the edge itself: HTTP status, OpenAI error code and the sentence for a human."""

    status: int
    code: str
    message: str


class Refused(Exception):
    """Raised inside the parser callbacks to stop a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(status, code, message)


def refusal_bytes(refusal: Refusal, default_headers: bytes = b"") -> bytes:
    """Returns a whole HTTP/1.1 response that closes the connection; `default_headers` are encoded lines."""
    kind = "server_error" if refusal.status >= 500 and refusal.status != 505 else "invalid_request_error"
    body = error_body(refusal.message, type=kind, code=refusal.code)
    allow = b"allow: " + b", ".join(METHODS) + b"\r\n" if refusal.status == 405 else b""
    # OpenAI's SDKs repeat a 408 by themselves; nothing was dispatched, so that is harmless.
    should_retry = b"true" if refusal.status in (408, 503) else b"false"
    phrase = http.HTTPStatus(refusal.status).phrase.encode()
    return b"".join(
        (
            b"HTTP/1.1 %d %b\r\n" % (refusal.status, phrase),
            default_headers,
            b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body),
            b"x-request-id: req_%b\r\nx-should-retry: %b\r\n" % (uuid.uuid4().hex.encode(), should_retry),
            allow,
            b"connection: close\r\n\r\n",
            body,
        )
    )


def too_slow(part: str, seconds: float) -> Refusal:
    """Returns the refusal of a head or body that missed its deadline."""
    return Refusal(408, "request_timeout", f"The request's {part} came too slowly (limit {seconds:g} s).")
