"""A request as HTTP/1.1 bytes: where it goes, and its head written in one piece."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from adapters.types import Headers
from gateway.transport.base import Fault, TransportError

# RFC 9110 5.6.2; upper case is let through because methods use it and header names are equal in either case.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE: Final = re.compile(r"[!-~]+")
_PORTS: Final = {"http": 80, "https": 443}
_OWNED: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "expect",
    }
)
"""Headers that describe the connection or the framing, which only the transport knows; others are ignored."""
_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what one pool of connections leads to."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Place:
    """A parsed URL: its origin, and the part of the request head that follows the method."""

    origin: Origin
    head: str
    """` /path?query HTTP/1.1`, the host header, and a final line end."""


def parse_url(url: str) -> Place:
    """Returns the place an absolute http or https URL names; raises TransportError(PROTOCOL)."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise _refused("the URL cannot be read") from None
    default_port = _PORTS.get(parts.scheme)
    if default_port is None or not host:
        raise _refused("the URL is not an absolute http or https URL")
    if "@" in parts.netloc:
        raise _refused("the URL holds a user name; credentials belong into a header")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # urlsplit drops line ends silently, so the URL as it was given is looked at.
    if _VISIBLE.fullmatch(url) is None:
        raise _refused("the URL holds characters that must be percent-encoded")
    origin = Origin(parts.scheme, host, default_port if port is None else port)
    authority = f"[{host}]" if ":" in host else host
    if origin.port != default_port:
        authority = f"{authority}:{origin.port}"
    return Place(origin, f" {target} HTTP/1.1\r\nhost: {authority}\r\n")


def encode_request(method: str, head: bytes, body: bytes) -> bytes:
    """Returns the whole request; `head` is from `encode_head`."""
    if body or method in _METHODS_WITH_BODY:
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)
    return head + b"\r\n"


def encode_head(method: str, place: Place, headers: Headers) -> bytes:
    """Returns a head as far as no body is needed for it.

    Raises TransportError(PROTOCOL) if a header could break out of its line.
    """
    parts = [method, place.head]
    lines = 2
    is_well_named = _is_token(method)
    accepts = "accept-encoding: identity\r\n"
    for name, value in headers:
        if name in _OWNED:
            continue
        if name == "accept-encoding":
            accepts = ""
        elif not _is_token(name):
            is_well_named = False
        parts.append(f"{name}: {value}\r\n")
        lines += 1
    if accepts:
        parts.append(accepts)
        lines += 1
    text = "".join(parts)
    # Every line end that we did not write ourselves came in through a value.
    is_in_lines = text.count("\n") == text.count("\r") == lines and "\0" not in text
    if not (is_well_named and is_in_lines):
        raise _refused("a request header holds a line end, a NUL or a malformed name")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise _refused("a request header holds characters outside Latin-1") from None


@lru_cache(maxsize=1024)
def _is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def _refused(why: str) -> TransportError:
    return TransportError(Fault.PROTOCOL, f"request not sent: {why}")
