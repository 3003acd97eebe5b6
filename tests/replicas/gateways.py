"""Gateways as processes of their own, on one upstream, and what their storage says in the end."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from gateway.records import UsageRecord
from gateway.state.scripts import REPLICAS
from gateway.storage.base import RecordsQuery, UsageQuery, UsageRow
from gateway.storage.factory import open_storage
from tests.e2e.process import GatewayProcess, start_gateway
from tests.replicas.load import Client, Load, Reply
from tests.replicas.truth import PRICE, Truth, nano_usd, tokens
from tests.state.server import RedisServer

ADMIN_KEY = "admin-canary-0123456789"
FILE_KEY = "file-canary-0123456789"
"""Without a key of the file, a gateway is open until it knows of the first virtual one."""
SLACK_SECONDS = 20.0
_ADMIN = re.compile(r"admin API is at (http://\S+)/admin")
_ADMIN_HEADERS = {"authorization": f"Bearer {ADMIN_KEY}"}


def settings(truth: Truth, **more: Any) -> dict[str, Any]:
    """Returns a configuration with the routes `main`, and `failing`, whose first deployment fails every other time."""
    plain = {"protocol": "openai", "requires_credential": False}
    good, flaky = {"model": "good/m", "price": PRICE}, {"model": "flaky/m", "price": PRICE}
    return {
        "server": {"access_log": "off", "grace_seconds": 10, "api_keys": [FILE_KEY]},
        "discovery": {"enabled": False},
        "admin": {"port": 0, "key": ADMIN_KEY},
        "access": {"pepper": "pepper-canary-0123456789"},
        "providers": {name: {**plain, "base_url": f"{truth.url}/{name}/v1"} for name in ("good", "flaky")},
        "routes": {
            "main": {"deployments": [good]},
            "failing": {"deployments": [flaky, good], "retry": {"budget": 1, "budget_floor_per_second": 1000}},
        },
        # Nobody is left out for failing: that would be the end of failing over.
        "health": {"consecutive_failures": 10**6, "min_attempts": 10**6},
        **more,
    }


class Gateway:
    """One process after the other, in one directory."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.config = config
        self.port = 0
        self.admin_url = ""
        self.start_seconds = 0.0
        """How long the last start took, until it served."""
        self.said = ""
        """What processes that are over wrote to stderr."""
        self._process: GatewayProcess | None = None

    @property
    def errors(self) -> str:
        """All that it wrote to stderr so far."""
        return self.said + (self._process.errors if self._process else "")

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process._popen.pid  # the helper has no use for it itself

    async def start(self) -> None:
        """Returns once it serves."""
        began = time.monotonic()
        # In a thread: the upstream is on this event loop.
        await asyncio.to_thread(self._begin)
        self.start_seconds = time.monotonic() - began

    async def kill(self) -> None:
        """Ends it at once, by SIGKILL."""
        assert self._process is not None
        await asyncio.to_thread(self._process.kill)
        self._over()

    async def end(self) -> None:
        """Ends it if it still runs."""
        if self._process is not None:
            await self.kill()

    async def stop(self) -> None:
        """Ends it as its operator would."""
        if self._process is not None:
            code = await asyncio.to_thread(self._process.stop)
            said = self._process.errors
            self._over()
            assert (code, "Traceback" in said) == (0, False), said

    async def admin(self, method: str, path: str, **members: Any) -> Any:
        """Returns what the admin API answers."""
        async with httpx2.AsyncClient(
            base_url=self.admin_url, headers=_ADMIN_HEADERS, timeout=30, verify=False
        ) as client:
            answer = await client.request(method, f"/admin{path}", json=members or None)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def new_key(self, name: str, **members: Any) -> tuple[str, str]:
        """Returns the id and the secret of a new virtual key."""
        made = await self.admin("POST", "/keys", name=name, **members)
        return made["id"], made["key"]

    async def metric(self, name: str) -> float:
        """Returns the sum of a metric over all of its label sets."""
        # Reading what certificates are trusted would take longer than all the rest.
        async with httpx2.AsyncClient(timeout=30, verify=False) as client:
            headers = {"authorization": f"Bearer {FILE_KEY}"}
            answer = await client.get(f"http://127.0.0.1:{self.port}/metrics", headers=headers)
        lines = [line for line in answer.text.splitlines() if re.match(rf"{name}[ {{]", line)]
        assert lines, answer.text
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def _begin(self) -> None:
        self._process = start_gateway(self.directory, config=self.config)
        url = self._process.wait_until_ready()
        self.port = int(url.rpartition(":")[2])
        if "admin" in self.config:
            found = _ADMIN.search(self._process.wait_for("admin API is at"))
            assert found is not None
            self.admin_url = found[1]

    def _over(self) -> None:
        assert self._process is not None
        self.said += self._process.errors
        self._process = None


async def replicas(made: Sequence[Gateway], redis: RedisServer) -> None:
    """Starts gateways on one Redis server, and returns once each knows how many there are."""
    await asyncio.gather(*(each.start() for each in made))
    with redis.admin() as admin:
        await until(lambda: admin.zcard(REPLICAS) == len(made))
    await asyncio.sleep(1.5)  # each hears it with its next sign of life


async def until(holds: Any, seconds: float = SLACK_SECONDS) -> float:
    """Waits until a condition holds, which may have to be awaited; returns how long that took."""
    began = time.monotonic()
    while True:
        answer = holds()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return time.monotonic() - began
        assert time.monotonic() - began < seconds, "it did not happen in time"
        await asyncio.sleep(0.02)


async def hears(gateway: Gateway, key: str, number: int, status: int, code: str) -> bool:
    """Says whether a request hears that; it is for a model that there is not, and so counts in no limit."""
    with contextlib.closing(Client(gateway.port, key)) as client:
        reply = await client.ask(number, model="none")
    return (reply.status, reply.code) == (status, code)


async def everywhere(gateways: Sequence[Gateway], key: str, numbers: count[int], status: int, code: str) -> float:
    """Waits until all replicas say that of a key, whoever changed it; returns how long the last one took."""
    waits = (until(lambda each=each: hears(each, key, next(numbers), status, code)) for each in gateways)
    return max(await asyncio.gather(*waits))


async def hold(truth: Truth, asking: Coroutine[Any, Any, list[Reply]]) -> list[Reply]:
    """Returns what becomes of requests, of which no answer ends before nothing more has come for a while."""
    truth.held = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asking)
        try:
            before = -1
            while before != truth.asked.total():
                before = truth.asked.total()
                await asyncio.sleep(1)
        finally:
            truth.held.set()
            truth.held = None
    return task.result()


async def count_stored(url: str) -> int:
    """Returns how many requests a database knows of."""
    storage = open_storage(url, Path("unused"))
    try:
        return sum(row.requests for row in await storage.usage(UsageQuery()))
    finally:
        await storage.aclose()


async def stored(url: str) -> tuple[list[UsageRecord], dict[str, UsageRow]]:
    """Returns all single records of a database, and its sums by key."""
    storage = open_storage(url, Path("unused"))
    try:
        records: list[UsageRecord] = []
        page: list[UsageRecord] = await storage.records(RecordsQuery(limit=1000))
        while page:
            records += page
            last = page[-1]
            page = await storage.records(RecordsQuery(older_than=(last.at_ms, last.id), limit=1000))
        rows = await storage.usage(UsageQuery(by=("key",)))
        return records, {str(row.group["key"]): row for row in rows}
    finally:
        await storage.aclose()


class Ledger:
    """What is stored, by the numbers of requests."""

    def __init__(self, records: Iterable[UsageRecord], sums: Mapping[str, UsageRow]) -> None:
        self.records: dict[int, list[UsageRecord]] = defaultdict(list)
        for record in records:
            self.records[int(record.id[1:].partition("/")[0])].append(record)
        self.sums = sums

    def holds_to(self, truth: Truth, replies: Iterable[Reply], keys: Mapping[str, str]) -> None:
        """Asserts that all that was answered is there once and as it was; `keys` are the ids of secrets."""
        told = list(replies)
        asked = {reply.number: reply for reply in told}
        missing = [reply.number for reply in told if reply.is_done and reply.number not in self.records]
        assert missing == [], f"answered, and not in the ledger: {missing}"
        doubled = [number for number, records in self.records.items() if len(records) > 1]
        assert doubled == [], f"more than once in the ledger: {doubled}"
        for reply in told:
            if reply.is_answered:
                assert reply.is_own, (reply.number, reply.body)
                times = truth.answered[reply.number], truth.asked[reply.number]
                assert times[0] == 1, (reply, times, self.records[reply.number])
        for number, (record,) in self.records.items():
            assert record.key_id == keys.get(asked[number].key, "")
            _check(record, number, truth)
        self._check_sums()

    def _check_sums(self) -> None:
        by_key: dict[str, list[UsageRecord]] = defaultdict(list)
        for (record,) in self.records.values():
            by_key[record.key_id].append(record)
        assert set(by_key) == set(self.sums)
        for key, records in by_key.items():
            row = self.sums[key]
            assert row.requests == len(records)
            assert row.cost_nano_usd == sum(record.cost_nano_usd or 0 for record in records)
            assert row.input_tokens == sum(record.input_tokens for record in records)
            assert row.output_tokens == sum(record.output_tokens for record in records)


def _check(record: UsageRecord, number: int, truth: Truth) -> None:
    """Asserts that a record says what the upstream knows of its request."""
    if record.usage_source == "reported":
        assert (record.status, truth.asked[number] >= 1) == (200, True)
        assert (record.input_tokens, record.output_tokens) == tokens(number)
        assert record.cost_nano_usd == nano_usd(number)
    else:
        assert record.is_cancelled or record.status != 200, record


async def held_ledger(url: str, truth: Truth, load: Load, keys: Mapping[str, str]) -> Ledger:
    """Returns the ledger once it was held to the truth."""
    ledger = Ledger(*await stored(url))
    ledger.holds_to(truth, load.replies, keys)
    return ledger
