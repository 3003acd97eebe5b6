"""`anyport reload`: asks the running gateway to read its configuration again."""

from __future__ import annotations

import sys
from typing import Any

import typer

from gateway.cli.configuration import load_configuration
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json


def reload(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Have the running gateway read its configuration again, and say what has changed."""
    from gateway.cli.admin_client import AdminRefusal, AdminUnavailable, ask_admin

    # A file that is broken now ends here, with all its faults: the gateway would say the same.
    admin = load_configuration(config).settings.admin
    try:
        answer = ask_admin(admin, "POST", "/admin/reload", b"{}")
    except (AdminUnavailable, AdminRefusal) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(Exit.FAILURE) from None
    if as_json:
        print_json(answer)
        return
    _print(answer)


def _print(answer: Any) -> None:
    from msgspec import convert

    from gateway.reload.reloader import Reloaded

    reloaded = convert(answer, Reloaded)
    changes = reloaded.changes.text() if reloaded.changes else ""
    where = f" by {reloaded.workers} workers" if reloaded.workers > 1 else ""
    print(f"reloaded{where} in {reloaded.seconds:.2f} s: {changes}")
    for warning in reloaded.warnings:
        print(f"warning: {warning}")
