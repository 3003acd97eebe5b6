"""Passwords inside URLs, so that they can be taken out of texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from gateway.secret import Secret

_SECRET_OPTIONS: Final = ("password", "sslpassword", "passfile")


def passwords_in(url: str) -> Iterator[Secret]:
    """Yields what a URL says to authenticate with, as it is written there and as it is meant."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        yield Secret(url)  # nobody knows what of it is one
        return
    found = [password, unquote(password)] if password else []
    found += [value for name, value in parse_qsl(parts.query) if name in _SECRET_OPTIONS]
    yield from (Secret(each) for each in dict.fromkeys(found) if each)
