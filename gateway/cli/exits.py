"""What the exit codes of the command line mean."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Documented in docs/cli.md; scripts rely on them."""

    OK = 0
    FAILURE = 1
    """What was asked for is not there or does not work."""
    USAGE = 2
    """The command line or the configuration is wrong."""
    INTERRUPTED = 130
    """Ctrl-C."""
