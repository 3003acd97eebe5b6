"""What goes wrong with a server: away, cut connections, waiting for locks, wrong URLs."""

from __future__ import annotations

import asyncio
import socket
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest

import gateway.storage.postgres as module
from gateway.errors import ConfigError
from gateway.storage.base import Storage, StorageUnavailable, UsageQuery
from gateway.storage.factory import open_storage
from tests.storage.server import PostgresServer
from tests.storage.test_upgrade import execute
from tests.storage.values import opened, record


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return asyncio.run(postgres.database())


async def requests(storage: Storage) -> int:
    return sum(row.requests for row in await storage.usage(UsageQuery()))


async def test_connections_that_were_cut_are_made_again(url: str, storage: Storage) -> None:
    for number in range(5):
        connection = await asyncpg.connect(url)
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()")
        await connection.close()
        await storage.append([record(f"r{number}")])
    assert await requests(storage) == 5


async def test_a_cut_in_the_middle_of_an_append_stores_all_or_nothing(url: str, storage: Storage) -> None:
    batch = [record(f"r{number}") for number in range(300)]
    connection = await asyncpg.connect(url)
    try:
        for _ in range(10):
            task = asyncio.create_task(storage.append(batch))
            await asyncio.sleep(0.01)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid != pg_backend_pid() AND datname = current_database()"
            )
            try:
                await task
            except StorageUnavailable as error:
                assert "123456789" not in str(error)
            assert await requests(storage) in (0, 300)
    finally:
        await connection.close()
    await storage.append(batch)
    assert await requests(storage) == 300


async def test_tidying_is_left_to_whoever_is_at_it(url: str, storage: Storage) -> None:
    await storage.append([record()])
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", module._LOCK)
        assert await storage.tidy(10**13) == 0
        assert await requests(storage) == 1
        await connection.execute("SELECT pg_advisory_unlock($1)", module._LOCK)
        assert len(await asyncio.gather(*(storage.tidy(10**13) for _ in range(5)))) == 5
        assert await requests(storage) == 1
    finally:
        await connection.close()


async def test_numbers_and_tables_that_are_gone_are_told_in_one_line(storage: Storage) -> None:
    await execute(storage, "DROP TABLE anyport_records")
    with pytest.raises(StorageUnavailable) as trouble:
        await storage.append([record()])
    assert str(trouble.value).endswith('relation "anyport_records" does not exist')


async def test_a_server_that_is_away_is_told_without_the_password() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    storage = open_storage(f"postgresql://user:hunter2@127.0.0.1:{port}/base", Path("unused"))
    assert storage.place == f"postgresql at 127.0.0.1:{port}/base"
    try:
        for ask in (storage.upgrade, storage.ping, storage.revision):
            with pytest.raises(StorageUnavailable) as trouble:
                await ask()
            assert str(trouble.value).startswith(f"{storage.place}: ")
            assert "hunter2" not in repr(trouble.value)
            assert trouble.value.__cause__ is None
    finally:
        await storage.aclose()


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        storage = open_storage(f"postgresql://user:hunter2@127.0.0.1:{port}/base", Path("unused"))
        try:
            with pytest.raises(StorageUnavailable, match="no answer in time"):
                await storage.ping()
        finally:
            await storage.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2@host:99999/base",
        "postgresql://user:hunt/er2@host/base",
        "postgresql://user:hunter2#@host/base",
        "postgresql://user:hunter2?@host/base",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        open_storage(url, Path("unused"))
    assert "special characters of the password as %XX" in str(refusal.value)
    assert "hunt" not in str(refusal.value)


async def test_options_that_the_driver_refuses_are_told_without_the_url() -> None:
    storage = open_storage("postgresql://user:hunter2@127.0.0.1:1/base?sslmode=perhaps", Path("unused"))
    try:
        with pytest.raises(ConfigError, match=r"storage\.url  cannot be read") as trouble:
            await storage.ping()
        assert "hunter2" not in str(trouble.value)
    finally:
        await storage.aclose()


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "asyncpg" else find_spec(name))
    with pytest.raises(ConfigError, match=r"needs the package asyncpg: run `pip install -e '\.\[postgres\]'`"):
        open_storage("postgresql://host/base", Path("unused"))


async def test_two_that_open_one_database_see_the_same(url: str, storage: Storage) -> None:
    async with opened(url) as other:
        await storage.append([record()])
        assert await requests(other) == 1
