"""Brings the tables of a database to what this version needs, whoever else tries at the same time.

An empty database gets all tables at once. What takes the steps is imported only where one is missing: for a gateway
that just runs it is 9 MB of nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.engine import Database
from gateway.storage.revision import REVISION, found_in, make_all


async def upgrade(database: Database) -> None:
    """Takes the steps that are missing, all or none; raises ConfigError for a database of a newer version."""
    await database.prepare()
    found, needed = await revision(database)
    if found == needed or (not found and await _make_all(database)):
        return
    take = await asyncio.to_thread(_load)

    async def run(connection: AsyncConnection) -> None:
        await database.lock(connection)
        await connection.run_sync(take, database.place)

    await database.write(run)


async def revision(database: Database) -> tuple[str, str]:
    """Returns which tables there are, empty for none, and which this version needs."""
    return await database.read(lambda connection: connection.run_sync(found_in)), REVISION


async def _make_all(database: Database) -> bool:
    async def run(connection: AsyncConnection) -> bool:
        await database.lock(connection)
        return await connection.run_sync(make_all)

    return await database.write(run)


def _load() -> Callable[[Connection, str], None]:
    from gateway.storage.steps import take

    return take
