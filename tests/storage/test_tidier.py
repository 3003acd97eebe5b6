"""The task that takes away what is too old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.storage.base import DAY_MS, RecordsQuery, Storage, StorageUnavailable, UsageQuery
from gateway.storage.tidier import Tidier
from tests.storage.values import START_MS, Clock, record


class Script:
    """Storage of which each step ends as it is written."""

    def __init__(self, *steps: int | StorageUnavailable) -> None:
        self.steps = list(steps)
        self.asked: list[int] = []

    async def tidy(self, now_ms: int) -> int:
        self.asked.append(now_ms)
        step = self.steps.pop(0) if self.steps else 0
        if isinstance(step, StorageUnavailable):
            raise step
        return step


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.001)


async def test_it_goes_on_until_nothing_is_left_and_then_rests() -> None:
    script = Script(2000, 1000, 0)
    tidier = Tidier(script, now_ms=Clock(), between_steps_seconds=0, rest_seconds=3600)
    tidier.start()
    await eventually(lambda: len(script.asked) == 3)
    await asyncio.sleep(0.05)
    assert (script.asked, tidier.left_rows) == ([START_MS] * 3, 0)
    await tidier.aclose()


async def test_trouble_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    away = StorageUnavailable("sqlite at x: database is locked")
    script = Script(5, away, away, 5, 0, away)
    tidier = Tidier(script, now_ms=Clock(), between_steps_seconds=0, rest_seconds=0.001)
    tidier.start()
    await eventually(lambda: len(script.asked) > 8)
    await tidier.aclose()
    assert [each.getMessage() for each in caplog.records] == [f"old rows stay in storage for now: {away}"] * 2


async def test_one_that_was_never_started_can_be_closed() -> None:
    await Tidier(Script(), now_ms=Clock()).aclose()


async def test_several_at_one_storage_take_all_that_is_old_and_no_sum(storage: Storage, clock: Clock) -> None:
    for start in range(0, 2000, 500):
        await storage.append([record(f"r{number}") for number in range(start, start + 500)])
    clock.now_ms += 1000 * DAY_MS
    tidiers = [Tidier(storage, now_ms=clock, between_steps_seconds=0, rest_seconds=0.01) for _ in range(3)]
    for tidier in tidiers:
        tidier.start()
    async with asyncio.timeout(30):
        while await storage.records(RecordsQuery(limit=1)):  # noqa: ASYNC110 - ditto
            await asyncio.sleep(0.01)
    for tidier in tidiers:
        await tidier.aclose()
    assert sum(row.requests for row in await storage.usage(UsageQuery())) == 2000
