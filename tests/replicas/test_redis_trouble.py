"""Redis that stops, hangs or comes back empty while requests come: none fails, none waits for it, limits still hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from statistics import median

import pytest

from tests.replicas.conftest import Make
from tests.replicas.gateways import Gateway, everywhere, held_ledger, hold, replicas, stored, until
from tests.replicas.load import Load, Reply, at_once, body_of, dollars, passed
from tests.replicas.truth import Truth, worst_nano_usd
from tests.state.server import RedisServer

MANY = 10**9
GENEROUS_SECONDS = 10.0
SECONDS = 1.5
REPLICAS = 2
AT_ONCE = 30
ROOM = 10
WORST_NANO_USD = worst_nano_usd(body_of(1))
LEDGER_SECONDS = 3.0
"""After which every replica knows what the ledger said before."""


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


async def test_a_redis_that_is_emptied_lets_no_more_through_than_there_is_room_for(
    make: Make, truth: Truth, redis_server: RedisServer, postgres_url: str
) -> None:
    two = [make(storage={"url": postgres_url}, state={"url": redis_server.url}) for _ in range(REPLICAS)]
    await replicas(two, redis_server)
    numbers, first, second = count(1), two[0].port, two[1].port
    limits = {"max_in_flight": ROOM}, {"budgets": [{"usd": dollars(ROOM * WORST_NANO_USD), "window": "total"}]}
    keys = [
        (await two[0].new_key("places", limits=limits[0]))[1],
        (await two[0].new_key("budget", **limits[1]))[1],
    ]
    for key in keys:
        await everywhere(two, key, numbers, 404, "model_not_found")
    await asyncio.sleep(LEDGER_SECONDS)  # what new keys have spent is known then

    truth.held = held = asyncio.Event()
    asking: list[tuple[str, asyncio.Task[list[Reply]]]] = []

    def ask(ports: list[int], times: int, over_seconds: float = 0) -> None:
        for key in keys:
            work = at_once(ports, key, [next(numbers) for _ in range(times)], over_seconds)
            asking.append((key, asyncio.create_task(work)))

    for port, times in ((first, ROOM - 2), (second, 2)):
        expected = truth.asked.total() + len(keys) * times
        ask([port], times)
        await until(lambda expected=expected: truth.asked.total() == expected)
    await asyncio.to_thread(redis_server.kill)
    await asyncio.to_thread(redis_server.start)
    ask([first, second], 4 * ROOM, 2)
    await asyncio.sleep(3)
    held.set()
    served = Counter[str]()
    for key, replies in asking:
        served[key] += len(passed(await replies))
    print(f"passed where there was room for {ROOM}: {list(served.values())}")
    assert all(ROOM <= each <= ROOM + REPLICAS for each in served.values())


class Relay:
    """A way to a server that can be cut."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Ends all connections, and each new one at once."""
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Lets connections through again."""
        self._is_cut = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Relay]:
        """Listens until the end of the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if not self._is_cut:
                other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._target)
                self._writers.add(other_writer)
                await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))
                self._writers.discard(other_writer)
        finally:
            writer.close()
            self._writers.discard(writer)
            self._tasks.discard(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def is_alone(gateway: Gateway) -> bool:
    await asyncio.sleep(0.1)
    return await gateway.metric("anyport_limits_trouble") == 1


async def is_together(gateway: Gateway) -> bool:
    return not await is_alone(gateway)


@asynccontextmanager
async def cut(gateways: Sequence[Gateway], relays: Sequence[Relay]) -> AsyncIterator[None]:
    """Takes Redis away from these, and gives it back."""
    for relay in relays:
        relay.cut()
    await asyncio.gather(*(until(lambda each=each: is_alone(each)) for each in gateways))
    yield
    for relay in relays:
        relay.mend()
    await asyncio.gather(*(until(lambda each=each: is_together(each)) for each in gateways))


async def spend_all(two: Sequence[Gateway], key: str, numbers: count[int]) -> list[Reply]:
    """Asks all replicas until each refuses, also when it knows what the others have spent."""
    loads = [Load(lambda each=each: each.port, clients=2, keys=[key], numbers=numbers) for each in two]
    for load in loads:
        load.start()
    try:
        for load in loads:
            await until(lambda load=load: [reply.status for reply in load.replies[-40:]] == [429] * 40, 40)
        await asyncio.sleep(LEDGER_SECONDS)
        for load in loads:
            await until(lambda load=load: [reply.status for reply in load.replies[-40:]] == [429] * 40, 40)
    finally:
        for load in loads:
            await load.stop()
    return [reply for load in loads for reply in passed(load.replies)]


async def test_without_redis_replicas_go_by_shares_and_by_the_ledger_and_an_empty_redis_takes_its_figures(
    make: Make, truth: Truth, redis_server: RedisServer, postgres_url: str
) -> None:
    numbers, budget = count(1), 60 * WORST_NANO_USD
    async with AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(Relay(redis_server.port).open()) for _ in range(REPLICAS)]
        urls = [f"redis://127.0.0.1:{relay.port}/0" for relay in relays]
        two = [make(storage={"url": postgres_url}, state={"url": url}) for url in urls]
        await replicas(two, redis_server)
        ports = [each.port for each in two]
        limits = [{"requests_per_minute": 20}, {"max_in_flight": 10}]
        (_, rate), (_, places) = [await two[0].new_key(f"limit {each}", limits=each) for each in limits]
        budgets = [{"usd": dollars(budget), "window": "total"}]
        keys = [await two[0].new_key(f"budget {each}", budgets=budgets) for each in range(2)]
        for key in (rate, places, *(key for _, key in keys)):
            await everywhere(two, key, numbers, 404, "model_not_found")
        await asyncio.sleep(LEDGER_SECONDS)  # what new keys have spent is known then

        async with cut(two, relays):
            replies = passed(await at_once(ports, rate, [next(numbers) for _ in range(2 * AT_ONCE)]))
            assert len(replies) in (20, 21, 22), "shares of 10, and what comes back in the meantime"
            asking = at_once(ports, places, [next(numbers) for _ in range(2 * AT_ONCE)])
            assert len(passed(await hold(truth, asking))) == 10
            alone = await spend_all(two, keys[0][1], numbers)
        async with cut(two, relays):
            with redis_server.admin() as admin:
                admin.flushall()
                admin.script_flush()
        # What is left of each share, less than a request may cost, is one sum again.
        rest = passed(await at_once(ports, keys[0][1], [next(numbers) for _ in range(2 * AT_ONCE)]))
        assert len(rest) <= REPLICAS  # each costs less than it may cost, which is what has to be left
        alone += rest
        async with cut(two[1:], relays[1:]):
            split = await spend_all(two, keys[1][1], numbers)
        await asyncio.gather(*(each.stop() for each in two))
    _, sums = await stored(postgres_url)
    for name, (id, _), served in zip(("alone", "split"), keys, (alone, split), strict=True):
        over = sums[id].cost_nano_usd - budget
        print(f"{name}: {len(served)} served, {over / WORST_NANO_USD:+.1f} requests at worst beyond the budget")
        assert sums[id].requests - sums[id].errors == len(served)
        # Whoever alone is cut off spends its share, whatever the others do.
        assert over <= REPLICAS * WORST_NANO_USD + (budget // REPLICAS if name == "split" else 0)
    assert Counter(truth.answered.values()) == {1: truth.answered.total()}
