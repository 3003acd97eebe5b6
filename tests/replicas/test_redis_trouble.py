"""Redis that stops, hangs or comes back empty while requests come: none fails, none waits for it, limits still hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import pytest

from tests.replicas.conftest import Make
from tests.replicas.gateways import held_ledger, replicas
from tests.replicas.load import Load, Reply
from tests.replicas.truth import Truth
from tests.state.server import RedisServer

MANY = 10**9
GENEROUS_SECONDS = 10.0
SECONDS = 1.5


def shown(replies: Sequence[Reply]) -> str:
    took = sorted(reply.seconds * 1000 for reply in replies)
    return f"{len(took)} requests, median {median(took):.1f} ms, 99th {took[len(took) * 99 // 100]:.1f}, {took[-1]:.1f}"


def pause(redis: RedisServer) -> None:
    redis.suspend()


def stop(redis: RedisServer) -> None:
    redis.kill()


@pytest.mark.parametrize("broken", [stop, pause])
async def test_no_request_fails_or_waits_while_redis_is_away_and_comes_back_empty(
    make: Make, truth: Truth, redis_server: RedisServer, tmp_path: Path, broken: Callable[[RedisServer], None]
) -> None:
    url = f"sqlite:///{tmp_path}/anyport.db"
    gateway = make(storage={"url": url}, state={"url": redis_server.url})
    await replicas([gateway], redis_server)
    limits = {"requests_per_minute": MANY, "tokens_per_minute": MANY, "max_in_flight": MANY}
    id, key = await gateway.new_key("many", limits=limits, budgets=[{"usd": "1000", "window": "month"}])
    load = Load(lambda: gateway.port, clients=4, keys=[key])
    load.start()
    await load.last(0.5)
    before = await load.last(SECONDS)
    broken(redis_server)
    away = await load.last(SECONDS)
    redis_server.resume() if broken is pause else redis_server.start()
    back = await load.last(SECONDS)
    await load.stop()
    print(f"before: {shown(before)}\naway: {shown(away)}\nback: {shown(back)}")
    assert {reply.status for reply in load.replies} == {200}
    assert max(reply.seconds for reply in [*away, *back]) < GENEROUS_SECONDS
    await gateway.stop()
    await held_ledger(url, truth, load, {key: id})
