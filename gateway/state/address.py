"""Where a Redis server is, read from a URL that may hold a password: what is shown of it is host and port."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

FORM: Final = "redis://USER:PASSWORD@HOST:PORT/DATABASE"
_PORT: Final = 6379


@dataclass(frozen=True, slots=True)
class Address:
    """One database of one server."""

    url: str = field(repr=False)
    place: str
    """Host and port."""
    database: int


def read_address(url: str) -> Address:
    """Returns where the server is; raises ValueError that quotes nothing of a URL that may hold a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        raise ValueError(_wrong("its host or port cannot be read")) from None
    # An unquoted `/`, `?` or `#` in a password ends what is taken for the host: nothing of the URL is then to be shown.
    if parts.scheme not in ("redis", "rediss") or not host or "@" in parts.path + parts.query + parts.fragment:
        raise ValueError(_wrong("its host cannot be told"))
    database = parts.path.strip("/") or "0"
    if not (database.isascii() and database.isdigit() and len(database) < 6) or parts.fragment:
        raise ValueError(_wrong("its database is not a number"))
    if any(not name.startswith("ssl_") for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError(_wrong("options other than `ssl_...` cannot be set"))
    return Address(url, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", int(database))


def _wrong(what: str) -> str:
    return f"write {FORM} (rediss:// with TLS), special characters of the password as %XX: {what}"
