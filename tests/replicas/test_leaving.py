"""Clients that leave at any moment, also while Redis is asked: no answer goes astray, and nothing stays taken.

`ANYPORT_LEAVERS=10000` lets so many leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from itertools import count
from pathlib import Path

import pytest

from gateway.state.scripts import PREFIX
from tests.replicas.conftest import Make
from tests.replicas.gateways import Gateway, Ledger, replicas, stored, until
from tests.replicas.load import Client, Load, Reply
from tests.replicas.truth import Truth
from tests.state.server import RedisServer

LEAVERS = int(os.environ.get("ANYPORT_LEAVERS", "600"))
SEED = int(os.environ.get("ANYPORT_SEED", "13"))
AT_ONCE = 20
LONGEST_SECONDS = 0.1
"""Before anybody leaves: longer than an answer takes, so that some get theirs."""
MANY = 10**9
pytestmark = pytest.mark.timeout(60 + LEAVERS // 20)


async def leave(port: int, key: str, number: int, after_seconds: float, *, stream: bool) -> Reply | None:
    """Asks, and leaves if the answer takes longer; returns it if it does not."""
    with contextlib.closing(Client(port, key)) as client, contextlib.suppress(TimeoutError):
        async with asyncio.timeout(after_seconds):
            return await client.ask(number, stream=stream)
    return None


@pytest.mark.parametrize("is_paused", [False, True], ids=["redis is there", "redis stops and goes on"])
async def test_clients_that_leave_take_nothing_with_them_and_get_nobody_elses_answer(
    make: Make, truth: Truth, redis_server: RedisServer, tmp_path: Path, is_paused: bool
) -> None:
    chance, numbers = random.Random(SEED), count(1)
    url = f"sqlite:///{tmp_path}/anyport.db"
    gateway = make(storage={"url": url}, state={"url": redis_server.url})
    await replicas([gateway], redis_server)
    limits = {"requests_per_minute": MANY, "tokens_per_minute": MANY, "max_in_flight": MANY}
    id, key = await gateway.new_key("many", limits=limits, budgets=[{"usd": "1000", "window": "total"}])
    load = Load(lambda: gateway.port, clients=2, keys=[key], numbers=numbers)
    truth.latency_seconds = 0.003
    load.start()
    kept: list[Reply] = []

    async def some() -> None:
        for _ in range(LEAVERS // AT_ONCE):
            number = next(numbers)
            seconds = chance.random() * LONGEST_SECONDS
            reply = await leave(gateway.port, key, number, seconds, stream=bool(number % 2))
            kept.extend([reply] if reply else [])

    async def trouble() -> None:
        while is_paused:
            await asyncio.sleep(0.5)
            redis_server.suspend()
            await asyncio.sleep(0.3)
            redis_server.resume()

    troubling = asyncio.create_task(trouble())
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    troubling.cancel()
    redis_server.resume()
    await load.stop()
    assert {reply.status for reply in load.replies} == {200}
    for reply in [*load.replies, *kept]:
        assert not reply.is_answered or reply.is_own, reply
    with redis_server.admin() as admin:
        place, purse = f"{PREFIX}in_flight:key:{id}", f"{PREFIX}budget:key:{id}:total"
        took = await until(lambda: admin.zcard(place) == 0 and admin.hget(purse, "held") == b"0")
        spent = int(admin.hget(purse, "spent") or 0)
    await until(lambda: is_idle(gateway))
    await gateway.stop()
    ledger = Ledger(*await stored(url))
    missing = [reply.number for reply in load.replies if reply.number not in ledger.records]
    doubled = [number for number, records in ledger.records.items() if len(records) > 1]
    assert (missing, doubled) == ([], [])
    assert all(record.cost_nano_usd is not None for (record,) in ledger.records.values())
    cost = ledger.sums[id].cost_nano_usd
    print(f"left {LEAVERS - len(kept)} of {LEAVERS}, in the ledger {len(ledger.records)}")
    print(f"nothing taken after {took:.2f} s, Redis knows {spent} of {cost} nano-dollars")
    print([line for line in gateway.errors.splitlines() if "redis at" in line])
    assert spent <= cost


async def is_idle(gateway: Gateway) -> bool:
    return await gateway.metric("anyport_requests_in_flight") == 0
