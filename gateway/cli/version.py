"""`anyport version`."""

from __future__ import annotations

from gateway.cli.options import JsonOption
from gateway.cli.output import print_json


def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    import platform
    from importlib.metadata import version as installed

    number = installed("anyport")
    if as_json:
        print_json({"version": number, "python": platform.python_version(), "platform": platform.platform()})
    else:
        print(f"anyport {number}")
