"""What the tests of deployments share: real servers, and the file that replicas are deployed with, for this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.replicas import Replicas
from tests.e2e.stage import Stage
from tests.state.server import RedisServer, executable
from tests.storage.server import PostgresServer, is_there, running_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer | None]:
    """PostgreSQL, or None where the package that has it is missing: replicas then share a file."""
    if not is_there():
        yield None
        return
    with running_server() as server:
        yield server


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer | None]:
    """Redis with a password, or None where there is none: replicas then know nothing of each other."""
    if executable() is None:
        yield None
        return
    server = RedisServer(tmp_path, password="a-password-of-redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with Stage() as upstream:
        yield upstream


@pytest.fixture
def replicas(
    tmp_path: Path, stage: Stage, redis_server: RedisServer | None, postgres: PostgresServer | None
) -> Iterator[Replicas]:
    made = Replicas(tmp_path, stage, redis_server, postgres)
    yield made
    made.end()
