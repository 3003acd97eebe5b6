"""The steps from one revision of the tables to the next, which Alembic takes; imported by whoever needs one."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from gateway.storage.engine import unusable
from gateway.storage.revision import REVISION, found_in

_STEPS = Path(__file__).with_name("migrations")


def take(connection: Connection, place: str) -> None:
    """Takes those that are missing; raises ConfigError for a database of a newer version."""
    config = _config()
    directory = ScriptDirectory.from_config(config)
    found = found_in(connection)
    if found == REVISION:
        return
    if found and found not in {step.revision for step in directory.walk_revisions()}:
        raise unusable(
            f"{place} was written by a newer version of Anyport (tables {found}, this one knows up to {REVISION}); "
            "run that version, or restore a backup"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_STEPS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
