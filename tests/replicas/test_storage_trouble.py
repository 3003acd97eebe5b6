"""Storage that is away, stops, is locked or full while requests come: known keys go on, nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.replicas.conftest import Make
from tests.replicas.gateways import Gateway, count_stored, held_ledger, until
from tests.replicas.load import Client, Load
from tests.replicas.truth import Truth
from tests.storage.server import PostgresServer

UNKNOWN = "sk-anyport-" + "x" * 43
Break = Callable[[], contextlib.AbstractContextManager[None]]


async def status_of(gateway: Gateway, load: Load, key: str) -> int:
    """Returns what one more request hears."""
    with contextlib.closing(Client(gateway.port, key)) as client:
        reply = await client.ask(load.draw())
    load.replies.append(reply)
    return reply.status


@asynccontextmanager
async def under_load(make: Make, url: str, **storage: str) -> AsyncIterator[tuple[Gateway, Load, dict[str, str]]]:
    """Gives a gateway that is asked all the time, with two keys."""
    gateway = make(storage={"url": url, **storage})
    await gateway.start()
    made = [await gateway.new_key(f"key {number}") for number in range(2)]
    keys = {secret: id for id, secret in made}
    load = Load(lambda: gateway.port, clients=4, keys=list(keys))
    load.start()
    await until(lambda: load.answered)
    try:
        yield gateway, load, keys
    finally:
        await load.stop()


async def end_and_hold(gateway: Gateway, load: Load, truth: Truth, url: str, keys: dict[str, str]) -> None:
    """Ends the gateway and asserts that its ledger is true."""
    await load.stop()
    await until(lambda: is_stored(url, len(load.answered)))
    await gateway.stop()
    assert re.search(r"lost[^:]*: [1-9]", gateway.errors) is None, gateway.errors
    ledger = await held_ledger(url, truth, load, keys)
    print(f"answered {len(load.answered)}, in the ledger {len(ledger.records)}")


async def is_stored(url: str, count: int) -> bool:
    return await count_stored(url) >= count


@contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def suspended(server: PostgresServer) -> Iterator[None]:
    server.suspend()
    try:
        yield
    finally:
        server.resume()


@pytest.mark.parametrize("broken", [stopped, suspended])
async def test_known_keys_go_on_and_unknown_ones_hear_503_while_the_database_is_away(
    make: Make,
    truth: Truth,
    postgres: PostgresServer,
    postgres_url: str,
    broken: Callable[[PostgresServer], contextlib.AbstractContextManager[None]],
) -> None:
    truth.latency_seconds = 0.005
    async with under_load(make, postgres_url) as (gateway, load, keys):
        assert await status_of(gateway, load, UNKNOWN) == 401
        trouble = broken(postgres)
        await asyncio.to_thread(trouble.__enter__)
        try:
            noticed = await until(lambda: is_status(gateway, load, UNKNOWN, 503))
            away = await load.last(1)
        finally:
            await asyncio.to_thread(trouble.__exit__, None, None, None)
        back = await until(lambda: is_status(gateway, load, UNKNOWN, 401))
        print(f"noticed after {noticed:.1f} s, there again after {back:.1f} s")
        assert len(away) > 10
        known = [reply for reply in load.replies if reply.key in keys]
        assert {reply.status for reply in known} == {200}
        assert [reply.trouble for reply in known if reply.trouble] == []
        await end_and_hold(gateway, load, truth, postgres_url, keys)


async def is_status(gateway: Gateway, load: Load, key: str, status: int) -> bool:
    return await status_of(gateway, load, key) == status


async def test_requests_do_not_wait_for_a_database_that_somebody_else_has_locked(
    make: Make, truth: Truth, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/anyport.db"
    async with under_load(make, url) as (gateway, load, keys):
        with contextlib.closing(sqlite3.connect(tmp_path / "anyport.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            locked = await load.last(2)
            other.execute("ROLLBACK")
        await load.last(0.2)
        assert len(locked) > 10
        assert {reply.status for reply in load.replies} == {200}
        await end_and_hold(gateway, load, truth, url, keys)


@contextmanager
def full_disk(gateway: Gateway) -> Iterator[None]:
    """Lets the process write into no file."""
    soft, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_refuses_requests_until_there_is_room_and_no_record_is_lost(
    make: Make, truth: Truth, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/anyport.db"
    async with under_load(make, url, on_ledger_failure="refuse") as (gateway, load, keys):
        (key, *_) = keys
        with full_disk(gateway):
            noticed = await until(lambda: is_status(gateway, load, key, 503))
            full = await load.last(1)
            asked = truth.asked.total()
            refused = await load.last(0.5)
            assert truth.asked.total() == asked, "a provider was asked although nothing could be recorded"
        healed = await until(lambda: is_status(gateway, load, key, 200))
        print(f"refused after {noticed:.3f} s, served again {healed:.3f} s after there was room")
        await load.last(0.3)
        assert {reply.status for reply in load.replies} == {200, 503}
        assert {reply.code for reply in [*full, *refused] if reply.status == 503} == {"ledger_unavailable"}
        await end_and_hold(gateway, load, truth, url, keys)


async def test_a_full_disk_may_be_served_with_and_said_and_what_fits_into_memory_is_recorded_later(
    make: Make, truth: Truth, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/anyport.db"
    async with under_load(make, url, on_ledger_failure="serve") as (gateway, load, keys):
        with full_disk(gateway):
            full = await load.last(1)
        await load.last(0.5)
        assert len(full) > 10
        assert {reply.status for reply in load.replies} == {200}
        assert "requests are served all the same" in gateway.errors
        await until(lambda: "the journal can be written again; records lost so far: 0" in gateway.errors)
        await end_and_hold(gateway, load, truth, url, keys)
