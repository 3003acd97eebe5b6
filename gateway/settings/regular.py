"""Files that are files: what stands in the place of one must not hold up who reads it."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_regular(path: str | Path, most_bytes: int) -> tuple[bytes, int] | None:
    """Returns what a file says, up to so many bytes, and its mode; None if it is no regular one.

    Raises OSError, and ValueError for what can be no path.
    """
    # A pipe would be waited for; and between a look at a file and its reading it may be another one.
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        mode = os.fstat(file.fileno()).st_mode
        return (file.read(most_bytes), mode) if stat.S_ISREG(mode) else None
