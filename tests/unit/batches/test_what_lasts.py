"""What lines at a provider hold, cost and answer outlives the process that sent them, its hold, and the settings."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from adapters.types import Operation
from gateway.batches import provider, scheduler
from gateway.errors import BudgetExceeded
from gateway.http.api.inbound import read_call
from gateway.records import Budget, VirtualKey, Window
from gateway.routing.asking import Asking
from gateway.storage.base import DAY_MS, HOUR_MS
from gateway.storage.jobs import Batch
from tests.unit.batches.sent import FULL_NANO_USD, api_of, costs, house_of, pass_time, there
from tests.unit.batches.works import ANSWER, Works, line, lines
from tests.upstreams.batch_apis import BatchApi, OpenAIApi
from tests.upstreams.scripted import Answer, Recorded

KEY = VirtualKey("k1", "k1", b"digest", budgets=(Budget(10**9, Window.TOTAL),))
OF_KEY = "virtual:k1"
PEPPER = {"pepper": "0123456789abcdef" * 4}


def worth(cents: int) -> bytes:
    """Returns a line that may cost so much, and a little for its input."""
    return json.dumps(line(f"of {cents}", max_tokens=cents * 1000)).encode() + b"\n"


class Slow(OpenAIApi):
    """Answers the first upload when it is told to."""

    def __init__(self) -> None:
        super().__init__(lambda body: ANSWER)
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()

    def __call__(self, request: Recorded) -> Answer:
        answer = super().__call__(request)
        if (request.method, request.path) != ("POST", "/v1/files") or self.arrived.is_set():
            return answer
        self.arrived.set()
        return Answer((self.go_on, *answer.steps))


async def follow(house: Works) -> None:
    """Reads keys and what they have spent."""
    stored = house.runtime.shared.stored.thing
    await stored.picture.refresh()
    await stored.spending.start()
    await stored.spending.refresh()


async def fits(house: Works, cents: int) -> bool:
    """Says whether a request that may cost so much would be let in."""
    runtime = house.runtime
    call = read_call(Operation.CHAT, json.dumps(line("x", max_tokens=cents * 1000)["body"]).encode(), id="c", created=1)
    asking, client = Asking(call), runtime.keys.caller(OF_KEY)
    try:
        lease = await runtime.gate.admit(asking, runtime.router.plan("r", asking), client)
    except BudgetExceeded:
        return False
    assert lease is not None
    lease.release()
    return True


async def left_there(tmp_path: Path, api: BatchApi, names: list[str]) -> Batch:
    """Returns a batch that the provider has, and that the process which sent it has not seen the end of."""
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(names))
        async with house.scheduler():
            return await there(house, batch)


async def test_what_lines_may_cost_is_held_by_whoever_comes_after_and_settled_exactly(tmp_path: Path) -> None:
    api = api_of("openai")
    async with house_of(tmp_path, api, access=PEPPER) as house:
        await (await house.storage()).put_key(KEY)
        await follow(house)
        batch = await house.put(worth(90), OF_KEY)
        async with house.scheduler() as running:
            await there(house, batch)
            for _ in range(2):  # held in the counters, and then in storage alone: once
                await follow(house)
                assert await fits(house, 9)
                assert not await fits(house, 11)
                house.ahead_ms += 20_000
                running.wake()
                spending = house.runtime.shared.stored.thing.spending
                await house.until(lambda spending=spending: _so(not spending.held_here))
    async with house_of(tmp_path, api, access=PEPPER) as house:
        await follow(house)
        assert not await fits(house, 11)
        api.end()
        async with house.scheduler() as running:
            pass_time(house, running)
            assert (await house.seen(batch)).completed == 1
        assert await fits(house, 99)
        assert not await fits(house, 100)
        ((cost, _),) = await costs(house)
        await follow(house)
        assert cost and (await (await house.storage()).spent(["key:k1"], 0)) == {"key:k1": cost}
        assert house.runtime.shared.stored.thing.spending.reserved("key:k1") == 0


async def test_a_process_that_lost_its_hold_during_an_upload_begins_nothing(tmp_path: Path) -> None:
    api = Slow()
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a", "b"]))
        async with house.scheduler():
            await asyncio.wait_for(api.arrived.wait(), 20)
            house.ahead_ms += int(scheduler.HOLD_SECONDS * 1000) + 1
            async with house.scheduler() as other:
                await there(house, batch)
                api.go_on.set()
                await house.until(lambda: _so(len(api.deleted) == 1))
                api.end()
                pass_time(house, other)
                done = await house.seen(batch)
        assert (done.status, done.completed, len(api.batches), api.alone) == ("completed", 2, 1, [])


async def test_a_hold_is_renewed_while_an_upload_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, renewed = Slow(), asyncio.Event()
    monkeypatch.setattr(scheduler, "HOLD_SECONDS", 2.0)
    async with house_of(tmp_path, api) as house:
        jobs = (await house.storage()).jobs
        renew = jobs.renew

        async def seen(*said: Any) -> None:
            await renew(*said)
            renewed.set()

        batch = await house.put(lines(["a"]))
        async with house.scheduler():
            await asyncio.wait_for(api.arrived.wait(), 20)
            until_ms = house.now_ms() + 2_000
            monkeypatch.setattr(jobs, "renew", seen)
            await asyncio.wait_for(renewed.wait(), 20)
            assert await jobs.hold(batch.id, "another", until_ms, until_ms + 1) is None
            api.go_on.set()
            await there(house, batch)


async def test_answers_are_fetched_also_if_the_route_is_there_no_more(tmp_path: Path) -> None:
    api = api_of("openai")
    batch = await left_there(tmp_path, api, ["a", "b"])
    api.end()
    async with house_of(tmp_path, api, routes={}) as house:
        async with house.scheduler() as running:
            pass_time(house, running)
            done = await house.seen(batch)
        assert (done.status, done.completed, api.alone) == ("completed", 2, [])
        assert [(each.model, each.deployment) for each in house.told] == [("r", "up/m")] * 2
        assert await costs(house) == [(FULL_NANO_USD // 2, "configuration/batch")] * 2


async def test_answers_wait_for_the_credential_that_they_were_asked_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = api_of("openai")
    batch = await left_there(tmp_path, api, ["a"])
    api.end()
    async with house_of(tmp_path, api, "another-key-0123456789") as house, house.scheduler() as running:
        pass_time(house, running, DAY_MS + 20 * HOUR_MS)
        await house.until(lambda: _so("its answers wait there" in caplog.text))
    async with house_of(tmp_path, api) as house, house.scheduler() as running:
        pass_time(house, running, DAY_MS + 20 * HOUR_MS + 400_000)
        done = await house.seen(batch)
    assert (done.status, done.completed, api.alone) == ("completed", 1, [])


async def test_answers_that_nobody_can_fetch_any_more_are_said_to_be_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = api_of("openai")
    batch = await left_there(tmp_path, api, ["a"])
    async with house_of(tmp_path, api, "another-key-0123456789") as house:
        async with house.scheduler() as running:
            pass_time(house, running, 2 * DAY_MS + 1_000)
            done = await house.seen(batch)
        (lost,) = await house.written(done.error_file_id)
    assert (done.failed, lost["custom_id"], lost["error"]["code"]) == (1, "a", "batch_answers_lost")
    assert [each.levelno for each in caplog.records if "are lost, and may have to be paid" in each.message] == [
        logging.ERROR
    ]


async def test_files_of_a_batch_are_deleted_at_the_provider_once_its_answers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "_CLEARING_PAUSES", (0.0,) * 3)
    api = api_of("openai")
    assert isinstance(api, OpenAIApi)
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler() as running:
            await there(house, batch)
            api.end()
            api.keeps_files = 2
            pass_time(house, running)
            await house.seen(batch)
        assert sorted(api.deleted) == ["batch_0-error", "batch_0-output", "file-0"]


async def test_a_file_of_which_no_batch_was_begun_is_deleted(tmp_path: Path) -> None:
    api = api_of("openai")
    assert isinstance(api, OpenAIApi)
    api.refuses = 400
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler():
            done = await house.seen(batch)
        assert (done.completed, len(api.alone), api.deleted) == (1, 1, ["file-0"])


async def test_a_file_is_deleted_also_if_it_is_found_out_later_that_no_batch_was_begun(tmp_path: Path) -> None:
    api = api_of("openai")
    assert isinstance(api, OpenAIApi)
    api.is_deaf = True
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler() as running:
            await house.seen(batch, lambda each: [c.state for c in each.consignments] == ["sending"])
            await house.until(lambda: _so(bool(api.batches)))
            api.batches.clear()  # as if it had never arrived
            pass_time(house, running)
            done = await house.seen(batch)
        assert (done.completed, len(api.alone), api.deleted) == (1, 1, ["file-0"])


async def _so(it: bool) -> bool:
    return it
