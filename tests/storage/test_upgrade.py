"""How the tables are made and kept up to date, beside whatever else is in the database."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

import gateway.storage
from gateway.errors import ConfigError
from gateway.storage.base import Storage, StorageUnavailable, UsageQuery
from gateway.storage.factory import DATABASE_FILE, open_storage
from gateway.storage.revision import REVISION, REVISION_TABLE
from gateway.storage.steps import take
from gateway.storage.store import SqlStorage
from gateway.storage.tables import PREFIX, metadata
from tests.storage.values import key, opened, record

_UPGRADE = """
import asyncio, sys
from pathlib import Path
from gateway.storage.factory import open_storage

async def main() -> None:
    storage = open_storage(sys.argv[1], Path("unused"))
    try:
        await storage.upgrade()
        print(*await storage.revision())
    finally:
        await storage.aclose()

asyncio.run(main())
"""


async def execute(storage: Storage, *statements: str) -> None:
    """Changes the database behind the storage's back."""
    assert isinstance(storage, SqlStorage)

    async def run(connection: AsyncConnection) -> None:
        for statement in statements:
            await connection.execute(text(statement))

    await storage._database.write(run)


async def tables(storage: Storage) -> set[str]:
    assert isinstance(storage, SqlStorage)

    async def run(connection: AsyncConnection) -> list[str]:
        return await connection.run_sync(lambda each: inspect(each).get_table_names())

    return set(await storage._database.read(run))


async def take_steps(storage: Storage) -> None:
    """Makes the tables anew, by the steps from one revision to the next."""
    assert isinstance(storage, SqlStorage)
    await execute(storage, "DROP TABLE anyport_revision", *(f"DROP TABLE {name}" for name in metadata.tables))
    await storage._database.write(lambda connection: connection.run_sync(take, "the database"))


async def described(storage: Storage) -> dict[str, object]:
    """Returns all that is known of each table: columns, keys, indexes; and what is in that of numbers."""
    assert isinstance(storage, SqlStorage)

    def describe(connection: Connection) -> dict[str, object]:
        look = inspect(connection)
        found: dict[str, object] = {
            name: (
                [(column["name"], str(column["type"]), column["nullable"], column["default"]) for column in columns],
                look.get_pk_constraint(name),
                sorted(map(str, look.get_unique_constraints(name))),
                sorted(map(str, look.get_indexes(name))),
            )
            for name in look.get_table_names()
            for columns in [look.get_columns(name)]
        }
        return found | {"numbers": sorted(map(tuple, connection.execute(text("SELECT * FROM anyport_meta"))))}

    return await storage._database.read(lambda connection: connection.run_sync(describe))


async def test_the_steps_make_what_an_empty_database_gets_at_once(storage: Storage) -> None:
    at_once = await described(storage)
    await take_steps(storage)
    assert await described(storage) == at_once
    assert len(at_once) > len(metadata.tables)


async def test_the_steps_make_the_tables_that_the_code_knows(storage: Storage) -> None:
    assert isinstance(storage, SqlStorage)
    await take_steps(storage)

    def compare(connection: Connection) -> object:
        options = {"version_table": REVISION_TABLE, "compare_type": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert await storage._database.read(lambda connection: connection.run_sync(compare)) == []
    assert {name for name in await tables(storage) if not name.startswith(PREFIX)} == set()


async def test_an_upgrade_of_what_is_current_changes_nothing(url: str, storage: Storage) -> None:
    await storage.append([record()])
    await storage.put_key(key())
    for _ in range(3):
        await storage.upgrade()
    async with opened(url) as other:
        assert [row.requests for row in await other.usage(UsageQuery())] == [1]
        assert await other.key("k1") == key()


async def test_tables_of_others_are_left_alone(storage: Storage) -> None:
    await execute(storage, "DROP TABLE anyport_revision", *(f"DROP TABLE {name}" for name in metadata.tables))
    await execute(
        storage,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
        "INSERT INTO alembic_version VALUES ('theirs')",
        "CREATE TABLE keys (id INTEGER)",
        "INSERT INTO keys VALUES (5)",
    )
    assert await storage.revision() == ("", "0003")
    await storage.upgrade()
    assert await storage.is_current()
    assert {"alembic_version", "keys", "anyport_keys"} <= await tables(storage)
    await execute(storage, "DELETE FROM keys WHERE id = 5", "DELETE FROM alembic_version WHERE version_num = 'theirs'")


async def test_a_database_of_a_newer_version_is_refused_and_not_touched(url: str, storage: Storage) -> None:
    await storage.append([record()])
    await execute(storage, "UPDATE anyport_revision SET version_num = '9999'")
    other = open_storage(url, Path("unused"))
    try:
        with pytest.raises(ConfigError) as refusal:
            await other.upgrade()
        said = str(refusal.value)
        assert "was written by a newer version of Anyport (tables 9999, this one knows up to 0003)" in said
        assert "run that version, or restore a backup" in said
        assert await other.revision() == ("9999", "0003")
        assert not await other.is_current()
    finally:
        await other.aclose()
    assert [row.requests for row in await storage.usage(UsageQuery())] == [1]


async def test_an_upgrade_that_fails_leaves_nothing_behind(storage: Storage) -> None:
    await execute(storage, "DROP TABLE anyport_revision", *(f"DROP TABLE {name}" for name in metadata.tables))
    # The last table but one of the first step is in the way.
    await execute(storage, "CREATE TABLE anyport_audit (theirs INTEGER)")
    with pytest.raises(StorageUnavailable, match="already exists"):
        await storage.upgrade()
    assert {name for name in await tables(storage) if name.startswith(PREFIX)} == {"anyport_audit"}
    await execute(storage, "DROP TABLE anyport_audit")
    await storage.upgrade()
    assert await storage.is_current()


async def test_processes_that_start_at_once_upgrade_once(url: str) -> None:
    command = [sys.executable, "-c", _UPGRADE, url]
    started = [
        await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)
    ]
    ended = await asyncio.gather(*(process.communicate() for process in started))
    assert [(said.decode(), trouble.decode()) for said, trouble in ended] == [("0003 0003\n", "")] * 4


def test_the_revision_that_the_code_names_is_that_of_the_newest_step() -> None:
    script = ScriptDirectory(str(Path(gateway.storage.__file__).parent / "migrations"))
    assert script.get_current_head() == REVISION


def test_a_gateway_loads_what_changes_tables_only_where_they_are_old(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from gateway.storage.factory import open_storage

async def upgrade():
    storage = open_storage(None, Path(sys.argv[1]))
    await storage.upgrade()
    await storage.aclose()

asyncio.run(upgrade())
print("alembic" in sys.modules)
"""

    def loads() -> str:
        return subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()

    assert [loads(), loads()] == ["False", "False"]
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as connection, connection:
        connection.execute("UPDATE anyport_revision SET version_num = '0002'")
        for name in ("files", "file_parts", "batches", "batch_lines"):
            connection.execute(f"DROP TABLE anyport_{name}")
    assert [loads(), loads()] == ["True", "False"]
