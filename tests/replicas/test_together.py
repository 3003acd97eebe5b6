"""Three processes on one Redis and one PostgreSQL server, behind a balancer: together they count as one."""

from __future__ import annotations

import asyncio
import time
from itertools import count

import pytest

from tests.deploy.balancer import balancer
from tests.replicas.conftest import Make
from tests.replicas.gateways import Gateway, everywhere, hold, replicas, stored, until
from tests.replicas.load import Load, at_once, body_of, dollars, passed
from tests.replicas.truth import Truth, nano_usd, worst_nano_usd
from tests.state.server import RedisServer

REPLICAS = 3
AT_ONCE = 200
ROOM = 10
ALONE = REPLICAS * (ROOM // REPLICAS)
"""So many more may pass if Redis had no time to answer, and each replica goes by its own share."""
WAVES = 5
WAVE_SECONDS = 1.0
WORST_NANO_USD = worst_nano_usd(body_of(1))


@pytest.fixture
async def three(make: Make, redis_server: RedisServer, postgres_url: str) -> list[Gateway]:
    made = [make(storage={"url": postgres_url}, state={"url": redis_server.url}) for _ in range(REPLICAS)]
    await replicas(made, redis_server)
    return made


async def new_key(three: list[Gateway], numbers: count[int], **members: object) -> tuple[str, str]:
    """Returns the id and the secret of a key that all replicas know."""
    id, key = await three[0].new_key(f"key {next(numbers)}", **members)
    await everywhere(three, key, numbers, 404, "model_not_found")
    return id, key


async def exactly(
    three: list[Gateway], truth: Truth, port: int, numbers: count[int], *, is_held: bool, **members: object
) -> str:
    """Sends waves of requests, each with a key of its own, until exactly as many pass as may; returns that key.

    Where this machine has no time, Redis may not answer in time, and replicas go by their shares.
    """
    for _ in range(WAVES):
        _, key = await new_key(three, numbers, **members)
        began = time.monotonic()
        asking = at_once([port], key, [next(numbers) for _ in range(AT_ONCE)], WAVE_SECONDS)
        replies = passed(await (hold(truth, asking) if is_held else asking))
        leaked = 0 if is_held else int((time.monotonic() - began) * ROOM / 60)
        print(f"{members}: {len(replies)} of {AT_ONCE} passed")
        assert len(replies) <= ROOM + leaked + ALONE
        if ROOM <= len(replies) <= ROOM + leaked:
            return key
    raise AssertionError("no wave was exact")


async def test_limits_are_those_of_all_replicas_together_to_the_single_request(
    three: list[Gateway], truth: Truth
) -> None:
    numbers = count(1)
    async with balancer([each.port for each in three]) as port:
        await exactly(three, truth, port, numbers, is_held=False, limits={"requests_per_minute": ROOM})
        await exactly(three, truth, port, numbers, is_held=True, limits={"max_in_flight": ROOM})


async def test_budgets_are_spent_to_the_end_and_no_further_and_figures_and_revocations_are_everywhere(
    three: list[Gateway], truth: Truth, postgres_url: str
) -> None:
    numbers = count(1)
    budget = ROOM * WORST_NANO_USD
    async with balancer([each.port for each in three]) as port:
        budgets = [{"usd": dollars(budget), "window": "total"}]
        key = await exactly(three, truth, port, numbers, is_held=True, budgets=budgets)
        # What was held for the worst case is free again.
        load = Load(lambda: port, clients=6, keys=[key], numbers=numbers)
        load.start()
        await until(lambda: [reply.status for reply in load.replies[-20:]] == [429] * 20)
        await load.stop()
        passed(load.replies)
    keys = (await three[0].admin("GET", "/keys"))["data"]
    (id,) = [each["id"] for each in keys if key.startswith(each["hint"])]
    await three[0].admin("POST", f"/keys/{id}/disable")
    print(f"revoked everywhere after {await everywhere(three, key, numbers, 401, 'key_revoked'):.1f} s")
    told = await until_told(three[1], sum(truth.answered.values()))
    await asyncio.gather(*(each.stop() for each in three))
    _, sums = await stored(postgres_url)
    spent = sums[id].cost_nano_usd
    print(f"budget {budget}, spent {spent}, one request at worst {WORST_NANO_USD}")
    assert budget - WORST_NANO_USD < spent <= budget + REPLICAS * WORST_NANO_USD
    assert sum(row.cost_nano_usd for row in sums.values()) == sum(map(nano_usd, truth.answered.elements()))
    assert told == dollars(sum(map(nano_usd, truth.answered.elements()))).rstrip("0")


async def until_told(gateway: Gateway, requests: int) -> str:
    """Returns what the admin API says that so many requests have cost."""
    found: list[str] = []

    async def is_told() -> bool:
        (row,) = (await gateway.admin("GET", "/usage"))["data"]
        found[:] = [row["cost_usd"]]
        return row["requests"] - row["errors"] == requests

    await until(is_told)
    return found[0]
