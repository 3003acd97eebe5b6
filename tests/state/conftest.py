"""A Redis server for each test that wants one; every test runs on asyncio's own event loop and on uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.state.server import RedisServer, executable


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def absent(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that was not started yet."""
    if executable() is None:
        pytest.skip("no redis-server: put one on PATH")
    made = RedisServer(tmp_path)
    yield made
    made.kill()


@pytest.fixture
def server(absent: RedisServer) -> RedisServer:
    absent.start()
    return absent
