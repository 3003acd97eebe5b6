"""Brings the tables of a database to what this version needs, whoever else tries at the same time."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.engine import Database, unusable
from gateway.storage.tables import REVISION_TABLE

_STEPS = Path(__file__).with_name("migrations")


async def upgrade(database: Database) -> None:
    """Runs the steps that are missing, all or none; raises ConfigError for a database of a newer version."""
    await database.prepare()

    async def run(connection: AsyncConnection) -> None:
        await database.lock(connection)
        await connection.run_sync(_upgrade, database.place)

    await database.write(run)


async def revision(database: Database) -> tuple[str, str]:
    """Returns which tables there are, empty for none, and which this version needs."""
    found = await database.read(lambda connection: connection.run_sync(_found))
    return found, _newest(_directory(_config()))


def _upgrade(connection: Connection, place: str) -> None:
    config = _config()
    directory = _directory(config)
    newest, found = _newest(directory), _found(connection)
    if found == newest:
        return
    if found and found not in {step.revision for step in directory.walk_revisions()}:
        raise unusable(
            f"{place} was written by a newer version of Anyport (tables {found}, this one knows up to {newest}); "
            "run that version, or restore a backup"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _found(connection: Connection) -> str:
    context = MigrationContext.configure(connection, opts={"version_table": REVISION_TABLE})
    return ", ".join(context.get_current_heads())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_STEPS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _directory(config: Config) -> ScriptDirectory:
    return ScriptDirectory.from_config(config)


def _newest(directory: ScriptDirectory) -> str:
    return directory.get_current_head() or ""
