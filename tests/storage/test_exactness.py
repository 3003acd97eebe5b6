"""Sums are exact, whatever was stored how often, in which order, by whom, and whatever was taken away since."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.records import UsageRecord
from gateway.storage.base import DAY_MS, HOUR_MS, LONG_AGO_MS, Dimension, RecordsQuery, Storage, UsageQuery, UsageRow
from gateway.storage.factory import open_storage
from tests.storage.server import PostgresServer
from tests.storage.values import AGGREGATES_DAYS, START_MS, Clock, opened, record

DAYS = 120
_LABELS = ("key", "team", "project", "route", "model", "provider", "deployment")
_LOST_LONG_AGO = ("route", "model", "provider", "deployment")
_few = st.sampled_from(["", "a", "b"])
_records = st.builds(
    record,
    id=st.integers(0, 40).map(str),
    at_ms=st.integers(0, DAYS * 24 * 4).map(lambda quarter: START_MS + quarter * HOUR_MS // 4),
    key_id=_few,
    team_id=_few,
    project_id=_few,
    route=_few,
    model=_few,
    provider=_few,
    deployment=_few,
    status=st.sampled_from([200, 429]),
    cost_nano_usd=st.none() | st.integers(0, 10**15),
    input_tokens=st.integers(0, 10**9),
)
_step = st.tuples(st.just("append"), st.lists(_records, min_size=1, max_size=12)) | st.tuples(
    st.just("tidy"), st.integers(0, DAYS)
)
_query = st.builds(
    UsageQuery,
    by=st.lists(st.sampled_from([*_LABELS, "day", "hour"]), unique=True, max_size=4).map(tuple),
    where=st.dictionaries(st.sampled_from(_LABELS), st.lists(_few, max_size=2, unique=True).map(tuple), max_size=2),
    since_ms=st.none() | st.integers(0, DAYS * 24).map(lambda hour: START_MS + hour * HOUR_MS),
    until_ms=st.none() | st.integers(0, DAYS * 24).map(lambda hour: START_MS + hour * HOUR_MS),
)
Labels = dict[Dimension, str | int]


class Model:
    """The same in a few lines of Python: a record that counted once counts for ever."""

    def __init__(self) -> None:
        self.counted: dict[str, tuple[UsageRecord, Labels]] = {}

    def append(self, records: Sequence[UsageRecord]) -> None:
        for each in records:
            labels: Labels = {
                "key": each.key_id,
                "team": each.team_id,
                "project": each.project_id,
                "route": each.route,
                "model": each.model,
                "provider": each.provider,
                "deployment": each.deployment,
                "day": each.at_ms // DAY_MS * DAY_MS,
                "hour": each.at_ms // HOUR_MS * HOUR_MS,
            }
            self.counted.setdefault(each.id, (each, labels))

    def tidy(self, now_ms: int) -> None:
        for _, labels in self.counted.values():
            if labels["hour"] < (now_ms - AGGREGATES_DAYS * DAY_MS) // HOUR_MS * HOUR_MS:  # type: ignore[operator]
                labels.update(dict.fromkeys(_LOST_LONG_AGO, ""), day=LONG_AGO_MS, hour=LONG_AGO_MS)  # type: ignore[call-overload]

    def usage(self, query: UsageQuery) -> list[tuple[tuple[str | int, ...], int, int, int, int, int]]:
        sums: dict[tuple[str | int, ...], Counter[str]] = {}
        for each, labels in self.counted.values():
            hour = labels["hour"]
            assert isinstance(hour, int)
            if any(labels[name] not in values for name, values in query.where.items()):
                continue
            if hour < (query.since_ms or 0) or (query.until_ms is not None and hour >= query.until_ms):
                continue
            found = sums.setdefault(tuple(labels[name] for name in query.by), Counter())
            found["requests"] += 1
            found["errors"] += each.status >= 400
            found["unpriced"] += each.cost_nano_usd is None
            found["tokens"] += each.input_tokens
            found["cost"] += each.cost_nano_usd or 0
        names = ("requests", "errors", "unpriced", "tokens", "cost")
        return [(group, *(sums[group][name] for name in names)) for group in sorted(sums)]  # type: ignore[misc]


def seen(row: UsageRow) -> tuple[tuple[str | int, ...], int, int, int, int, int]:
    group = tuple(row.group.values())
    return group, row.requests, row.errors, row.unpriced, row.input_tokens, row.cost_nano_usd


async def play(url: str, steps: Sequence[tuple[str, object]], queries: Sequence[UsageQuery]) -> None:
    model, clock = Model(), Clock()
    storage = open_storage(url, Path("unused"), retention_days=10_000, aggregates_days=AGGREGATES_DAYS, now_ms=clock)
    try:
        await storage.upgrade()
        await empty(storage)
        for name, argument in steps:
            if name == "append":
                assert isinstance(argument, list)
                await storage.append(argument)
                model.append(argument)
            else:
                assert isinstance(argument, int)
                now_ms = START_MS + argument * DAY_MS
                while await storage.tidy(now_ms):
                    pass
                model.tidy(now_ms)
            for query in queries:
                found = [
                    (
                        tuple(row.group.values()),
                        row.requests,
                        row.errors,
                        row.unpriced,
                        row.input_tokens,
                        row.cost_nano_usd,
                    )
                    for row in await storage.usage(query)
                ]
                assert found == model.usage(query)
        for owner in ("key:a", "team:b", "project:a"):
            kind, _, id = owner.partition(":")
            wanted = sum(each.cost_nano_usd or 0 for each, labels in model.counted.values() if labels[kind] == id)  # type: ignore[index]
            assert await storage.spent([owner], 0) == {owner: wanted}
    finally:
        await storage.aclose()


async def empty(storage: Storage) -> None:
    from tests.storage.test_upgrade import execute

    await execute(storage, "DELETE FROM anyport_records", "DELETE FROM anyport_usage_hours")


@given(steps=st.lists(_step, max_size=8), queries=st.lists(_query, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_in_sqlite_are_those_of_the_records(
    tmp_path: Path, steps: list[tuple[str, object]], queries: list[UsageQuery]
) -> None:
    asyncio.run(play(f"sqlite:///{tmp_path}/anyport.db", steps, queries))


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    return asyncio.run(postgres.database())


@given(steps=st.lists(_step, max_size=8), queries=st.lists(_query, min_size=1, max_size=3))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_sums_in_postgres_are_those_of_the_records(
    database: str, steps: list[tuple[str, object]], queries: list[UsageQuery]
) -> None:
    asyncio.run(play(database, steps, queries))


_APPEND = """
import asyncio, random, sys
from gateway.storage.base import StorageUnavailable
from tests.storage.values import opened, record

async def main(url: str, seed: int) -> None:
    chance = random.Random(seed)
    records = [record(f"r{number}", model=f"m{number % 7}") for number in range(600)]
    async with opened(url) as storage:
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(40):
            await storage.append(chance.sample(records, 60))
        for start in range(0, 600, 50):
            await storage.append(records[start : start + 50])

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_processes_that_store_the_same_records_count_them_once(url: str) -> None:
    root = Path(__file__).parents[2]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _APPEND, url, str(seed)],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    ended = [process.communicate("go\n", timeout=100) for process in processes]
    assert [(process.returncode, trouble) for process, (_, trouble) in zip(processes, ended, strict=True)] == [
        (0, "")
    ] * 3
    asyncio.run(see(url))


async def see(url: str) -> None:
    async with opened(url) as storage:
        rows = await storage.usage(UsageQuery(by=("model",)))
        assert sum(row.requests for row in rows) == 600
        assert sum(row.cost_nano_usd for row in rows) == 600 * 123_456_789
        assert len(await storage.records(RecordsQuery(limit=1000))) == 600
