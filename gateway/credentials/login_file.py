"""Files in which other programs keep their logins: read, and never written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from adapters.codec import JSON, as_object, decode
from gateway.credentials.errors import CredentialUnavailable

_MOST_BYTES: Final = 1024 * 1024


def at_home(text: str, environ: Mapping[str, str]) -> Path:
    """Returns a path whose `~` is `$HOME`."""
    home = environ.get("HOME", "/")
    return Path(home) / text[2:] if text.startswith("~/") else Path(home if text == "~" else text)


def read_object(path: Path, remedy: str) -> Mapping[str, JSON]:
    """Returns the members of a file that is one JSON object; raises `CredentialUnavailable` saying what to do.

    Clients hear of it, and where the file is on this machine is nothing for them.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise CredentialUnavailable(f"{path.name} cannot be read: {reason}; {remedy}") from None
    try:
        members = as_object(decode(data))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        members = {}
    if not members:
        raise CredentialUnavailable(f"{path.name} holds no login; {remedy}")
    return members
