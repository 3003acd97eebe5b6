"""Keeps what the process has in memory away from files and from other processes of its user."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
"""linux/prctl.h."""


def keep_memory_private() -> None:
    """Leaves no core dump when the process dies, and on Linux lets nobody but root look into its memory.

    Where the system does not do so, nothing happens.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
