"""Ids of files and batches, which nobody can guess, and the names that clients give files."""

from __future__ import annotations

import secrets
from typing import Final

_RANDOM_BYTES: Final = 16
_MAX_NAME: Final = 255


def new_file_id() -> str:
    """Returns the id of a new file."""
    return f"file-{secrets.token_hex(_RANDOM_BYTES)}"


def new_batch_id() -> str:
    """Returns the id of a new batch."""
    return f"batch_{secrets.token_hex(_RANDOM_BYTES)}"


def shown_name(given: str) -> str:
    """Returns the last part of a path that a client calls its file; it is shown, and names nothing here."""
    last = given.replace("\\", "/").rpartition("/")[2]
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in last)[:_MAX_NAME] or "upload"
