"""`anyport db`: the tables of what must not be lost."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import typer

from gateway.cli.configuration import Configuration, load_configuration, located
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json

if TYPE_CHECKING:
    from gateway.storage.base import Storage

Answer = TypeVar("Answer")


def db_group() -> typer.Typer:
    """Returns the command group."""
    group = typer.Typer(no_args_is_help=True, help="Look after the database of keys and records.")
    group.command("upgrade")(upgrade)
    group.command("current")(current)
    return group


def upgrade(config: ConfigOption = None) -> None:
    """Make the tables, or bring them up to date; `anyport serve` does so, too."""

    async def run(storage: Storage) -> str:
        await storage.upgrade()
        found, _ = await storage.revision()
        return f"{storage.place}: tables {found}, up to date"

    typer.echo(_with_storage(load_configuration(config), run))


def current(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show which tables the database has; exit with 1 unless they are those that this version needs."""

    async def run(storage: Storage) -> tuple[str, str, str]:
        return storage.place, *await storage.revision()

    place, found, needed = _with_storage(load_configuration(config), run)
    if as_json:
        print_json({"place": place, "found": found or None, "needed": needed})
    elif found == needed:
        typer.echo(f"{place}: tables {found}, up to date")
    else:
        had = f"tables {found}" if found else "no tables"
        typer.echo(f"{place}: {had}, this version needs {needed}; run `anyport db upgrade`")
    if found != needed:
        raise typer.Exit(Exit.FAILURE)


def _with_storage(configuration: Configuration, run: Callable[[Storage], Awaitable[Answer]]) -> Answer:
    """Returns what `run` makes of the configured storage; ends the command if that cannot be reached."""
    import asyncio

    from gateway.storage.base import StorageError
    from gateway.storage.factory import data_directory, open_storage

    settings = configuration.settings.storage
    url = settings.url.reveal() if settings.url else None

    async def use() -> Answer:
        storage = open_storage(url, data_directory(settings.directory, configuration.environ))
        try:
            return await run(storage)
        finally:
            await storage.aclose()

    try:
        with located(configuration.path):
            return asyncio.run(use())
    except StorageError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(Exit.FAILURE) from None
