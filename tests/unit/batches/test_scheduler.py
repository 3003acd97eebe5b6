"""What becomes of lines while upstreams, clocks, keys and other replicas do as they like."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from gateway.batches.scheduler import HOLD_SECONDS
from gateway.domain import Outcome
from gateway.storage.base import DAY_MS, RecordsQuery
from gateway.storage.jobs import COMPLETED, Line
from tests.unit.batches.works import ANSWER, OWNER, Works, lines, works
from tests.upstreams.scripted import Answer, Recorded, json_response

REFUSAL = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}


async def recorded(house: Works) -> list[tuple[int, int]]:
    """Returns status and attempts of each request that the ledger has."""
    assert await house.runtime.books.drain(10)
    found = await (await house.storage()).records(RecordsQuery(limit=100))
    return [(each.status, len(each.attempts)) for each in found]


async def test_refusals_for_a_while_pause_a_batch_and_burn_no_tries(tmp_path: Path) -> None:
    refusals = [json_response(REFUSAL, 429, [("retry-after", "1")])] * 5
    async with works(tmp_path, [*refusals, json_response(ANSWER)]) as house:
        batch = await house.put(lines(["a", "b"]))
        async with house.scheduler():
            done = await house.seen(batch)
        assert (done.status, done.completed, done.failed, done.model) == ("completed", 2, 0, "r")
        assert done.tokens is not None
        assert (done.tokens.input, done.tokens.output) == (20, 40)
        # Each line once, and nothing of the times that it was refused: it was no request yet.
        assert await recorded(house) == [(200, 1)] * 2
        assert [(each.status, each.key) for each in house.told] == [(200, "tester")] * 2
        assert len(house.upstream.requests) > 2


async def test_a_line_whose_upstream_keeps_failing_is_recorded_once_as_a_failure(tmp_path: Path) -> None:
    async with works(tmp_path, [json_response({"error": {"message": "broken"}}, 500)]) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler() as scheduler:
            for tries in (1, 2):
                await house.seen(batch, lambda each: len(house.upstream.requests) == tries)  # noqa: B023
                house.ahead_ms += 60_000  # it waits before each further try
                scheduler.wake()
            done = await house.seen(batch)
        assert (done.status, done.failed) == ("completed", 1)
        assert len(house.upstream.requests) == 3
        assert len(await recorded(house)) == len(house.told) == 1
        (failed,) = await house.written(done.error_file_id)
        assert failed["response"]["status_code"] >= 500


async def test_what_is_not_done_after_a_day_expires(tmp_path: Path) -> None:
    def answer(request: Recorded) -> Answer:
        return json_response(ANSWER) if b"text of a" in request.body else json_response(REFUSAL, 429)

    async with works(tmp_path, answer) as house:
        batch = await house.put(lines(["a", "b", "c"]))
        async with house.scheduler() as scheduler:
            await house.seen(batch, lambda each: each.completed == 1)
            house.ahead_ms = DAY_MS
            scheduler.wake()
            done = await house.seen(batch)
        assert (done.status, done.completed, done.failed) == ("expired", 1, 2)
        assert [each["custom_id"] for each in await house.written(done.output_file_id)] == ["a"]
        late = await house.written(done.error_file_id)
        assert [(each["custom_id"], each["error"]["code"]) for each in late] == [
            ("b", "batch_expired"),
            ("c", "batch_expired"),
        ]


async def test_while_others_are_served_no_line_begins_and_later_those_of_a_dead_process_are_taken_over(
    tmp_path: Path,
) -> None:
    async with works(tmp_path, [json_response(ANSWER)]) as house:
        batch = await house.put(lines(["a", "b", "c", "d"]))
        jobs, metrics = (await house.storage()).jobs, house.runtime.metrics
        for _ in range(house.runtime.settings.batches.below_in_flight):
            metrics.request_started()
        async with house.scheduler() as scheduler:
            await house.seen(batch, lambda each: each.status == "in_progress")
            dead = await jobs.take(batch.id, "dead", 3, house.now_ms(), house.now_ms() + int(HOLD_SECONDS * 1000))
            await jobs.end_line(dead[0], "dead", COMPLETED, b'{"custom_id":"a","done":"before"}\n')
            await asyncio.sleep(0.3)
            assert house.upstream.requests == []
            metrics.request_ended(Outcome("x"))
            await house.seen(batch, lambda each: each.completed == 2)
            house.ahead_ms = int(HOLD_SECONDS * 1000) + 1
            scheduler.wake()
            done = await house.seen(batch)
        assert (done.status, done.completed) == ("completed", 4)
        written = await house.written(done.output_file_id)
        assert [each["custom_id"] for each in written] == ["a", "b", "c", "d"]
        assert written[0]["done"] == "before"
        assert len(house.upstream.requests) == 3


async def test_two_replicas_do_each_line_once(tmp_path: Path) -> None:
    async with works(tmp_path, [json_response(ANSWER)]) as house:
        names = [f"{number}" for number in range(60)]
        batch = await house.put(lines(names))
        async with house.scheduler(), house.scheduler():
            done = await house.seen(batch)
        assert [each["custom_id"] for each in await house.written(done.output_file_id)] == names
        asked = [json.loads(each.body)["messages"][0]["content"] for each in house.upstream.requests]
        assert sorted(asked) == sorted(f"text of {name}" for name in names)


async def test_a_key_made_elsewhere_a_moment_ago_lets_lines_wait_and_not_fail(tmp_path: Path) -> None:
    async with works(tmp_path, [json_response(ANSWER)]) as house:
        batch = await house.put(lines(["a"]), "virtual:not-heard-of-yet")
        async with house.scheduler():
            await house.seen(batch, lambda each: each.status == "in_progress")
            await asyncio.sleep(0.3)
            found = await house.seen(batch, lambda each: each.status == "in_progress")
        assert (found.completed, found.failed, house.upstream.requests) == (0, 0, [])


async def test_a_file_that_is_deleted_while_it_is_read_is_no_shorter_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with works(tmp_path, [json_response(ANSWER)]) as house:
        jobs = (await house.storage()).jobs
        batch = await house.put(lines(["a"]))
        part = jobs.part

        async def deleted(id: str, number: int) -> bytes | None:
            data = await part(id, number)
            await jobs.remove_file(OWNER, id)
            return None if number else data and data[: len(data) // 2] + b"\n"

        monkeypatch.setattr(type(jobs), "part", lambda self, id, number: deleted(id, number))
        async with house.scheduler():
            done = await house.seen(batch)
        assert (done.status, [each.code for each in done.errors]) == ("failed", ["file_not_found"])


async def test_a_batch_that_is_cancelled_while_it_is_checked_has_no_lines(tmp_path: Path) -> None:
    async with works(tmp_path, [json_response(ANSWER)]) as house:
        jobs = (await house.storage()).jobs
        batch = await house.put(lines(["a"]))
        assert await jobs.hold(batch.id, "other", house.now_ms(), house.now_ms() + 60_000)
        assert await jobs.add_lines(batch.id, "other", [Line(batch.id, 0, "a", b"{}")], is_first=True)
        await jobs.cancel(OWNER, batch.id, house.now_ms())
        async with house.scheduler():
            done = await house.seen(batch)
        assert (done.status, done.total, done.failed, done.error_file_id) == ("cancelled", 0, 0, None)


async def test_storage_that_nobody_has_used_is_not_opened(tmp_path: Path) -> None:
    async with works(tmp_path, [json_response(ANSWER)]) as house:
        async with house.scheduler() as scheduler:
            scheduler.wake()
            await asyncio.sleep(0.1)
        assert "anyport.db" not in os.listdir(tmp_path)
