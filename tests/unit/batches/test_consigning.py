"""Lines that providers' own batch APIs take: at half the price, once, and as if they had been made one by one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.access.keys import Caller
from gateway.batches import provider
from gateway.batches.consigned import ConsignedLines
from gateway.batches.scheduler import HOLD_SECONDS
from gateway.records import VirtualKey
from gateway.storage.base import DAY_MS
from gateway.storage.jobs import Batch
from tests.unit.batches.sent import APIS, FULL_NANO_USD, api_of, costs, house_of, pass_time, scraped, there
from tests.unit.batches.works import ANSWER, OWNER, lines
from tests.upstreams.batch_apis import GeminiApi, OpenAIApi
from tests.upstreams.scripted import Answer, Recorded, json_response


@pytest.mark.parametrize("protocol", APIS)
async def test_lines_go_to_the_providers_own_batches_at_half_the_price(tmp_path: Path, protocol: str) -> None:
    api = api_of(protocol)
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a", "b", "wrong"]))
        async with house.scheduler() as scheduler:
            await there(house, batch)
            assert (len(api.batches), api.alone) == (1, [])
            await house.until(lambda: scraped(house, {"there": 1}))
            pass_time(house, scheduler)
            await asyncio.sleep(0.2)
            api.end()
            pass_time(house, scheduler)
            done = await house.seen(batch)
            await house.until(lambda: scraped(house, {}))
        assert (done.status, done.completed, done.failed, done.consignments) == ("completed", 2, 1, ())
        written = await house.written(done.output_file_id)
        assert [each["custom_id"] for each in written] == ["a", "b"]
        body = written[0]["response"]["body"]
        assert (body["object"], body["choices"][0]["message"]["content"]) == ("chat.completion", "hi")
        (wrong,) = await house.written(done.error_file_id)
        assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("wrong", 400)
        assert await costs(house) == [(0, ""), *[(FULL_NANO_USD // 2, "configuration/batch")] * 2]
        assert (api.alone, len(api.batches), len(house.told)) == ([], 1, 3)


@pytest.mark.parametrize("protocol", APIS)
async def test_what_the_provider_had_no_time_for_is_made_alone(tmp_path: Path, protocol: str) -> None:
    api = api_of(protocol)
    api.skips = {"text of late"}
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a", "late"]))
        async with house.scheduler() as scheduler:
            await there(house, batch)
            api.end()
            pass_time(house, scheduler)
            done = await house.seen(batch)
        assert (done.status, done.completed, len(api.alone)) == ("completed", 2, 1)
        assert [cost for cost, _ in await costs(house)] == [FULL_NANO_USD // 2, FULL_NANO_USD]


async def test_a_provider_that_takes_no_batch_gets_the_lines_one_by_one(tmp_path: Path) -> None:
    api = api_of("anthropic")
    api.refuses = 403
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a", "b"]))
        async with house.scheduler():
            done = await house.seen(batch)
        assert (done.status, done.completed, len(api.alone), api.batches) == ("completed", 2, 2, {})


@pytest.mark.parametrize("protocol", APIS)
async def test_a_batch_whose_beginning_was_not_answered_is_found_and_not_sent_twice(
    tmp_path: Path, protocol: str
) -> None:
    api = api_of(protocol)
    api.is_deaf = True
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a", "b"]))
        async with house.scheduler():
            await house.seen(batch, lambda each: [c.state for c in each.consignments] == ["sending"])
            await asyncio.sleep(0.2)
        # The process ends here; another one goes on.
        api.is_deaf = False
        api.end()
        async with house.scheduler() as scheduler:
            pass_time(house, scheduler)
            await there(house, batch)
            pass_time(house, scheduler)
            done = await house.seen(batch)
        assert (done.status, done.completed) == ("completed", 2)
        assert (len(api.batches), api.alone) == (1, [])


@pytest.mark.parametrize("protocol", APIS)
async def test_a_cancellation_reaches_the_provider_and_what_was_done_stays(tmp_path: Path, protocol: str) -> None:
    api = api_of(protocol)
    api.skips = {"text of b"}
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a", "b"]))
        async with house.scheduler() as scheduler:
            await there(house, batch)
            await (await house.storage()).jobs.cancel(OWNER, batch.id, house.now_ms())
            scheduler.wake()
            await house.seen(batch, lambda each: [c.state for c in each.consignments] == ["cancelling"])
            assert next(iter(api.batches.values()))["is_cancelled"]
            api.end()
            pass_time(house, scheduler)
            done = await house.seen(batch)
        assert (done.status, done.completed, done.failed, api.alone) == ("cancelled", 1, 1, [])
        (never,) = await house.written(done.error_file_id)
        assert (never["custom_id"], never["error"]["code"]) == ("b", "batch_cancelled")


async def test_after_a_day_the_provider_is_told_to_stop_and_its_answers_are_kept(tmp_path: Path) -> None:
    api = api_of("openai")
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler() as scheduler:
            await there(house, batch)
            pass_time(house, scheduler, DAY_MS)
            await house.seen(batch, lambda each: [c.state for c in each.consignments] == ["cancelling"])
            api.end()
            pass_time(house, scheduler)
            done = await house.seen(batch)
        assert (done.status, done.completed, api.alone) == ("completed", 1, [])


async def test_a_file_for_several_models_is_made_line_by_line(tmp_path: Path) -> None:
    api = api_of("openai")
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a"]) + lines(["b"]).replace(b'"r"', b'"up/m"'))
        async with house.scheduler():
            done = await house.seen(batch)
        assert (done.completed, len(api.alone), api.batches) == (2, 2, {})


async def test_answers_that_do_not_say_whose_they_are_are_known_by_their_order(tmp_path: Path) -> None:
    api = api_of("gemini")
    assert isinstance(api, GeminiApi)
    api.has_keys = False
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a", "wrong", "c"]))
        async with house.scheduler() as scheduler:
            await there(house, batch)
            api.end()
            pass_time(house, scheduler)
            done = await house.seen(batch)
        assert (done.completed, done.failed, api.alone) == (2, 1, [])
        assert [each["custom_id"] for each in await house.written(done.error_file_id)] == ["wrong"]


async def test_a_provider_that_does_not_cancel_is_asked_again_after_a_pause(tmp_path: Path) -> None:
    class Stubborn(OpenAIApi):
        asked = 0

        def __call__(self, request: Recorded) -> Answer:
            if not request.path.endswith("/cancel"):
                return super().__call__(request)
            self.asked += 1
            return json_response({"error": {"message": "not now"}}, 500)

    api = Stubborn(lambda body: ANSWER)
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler() as scheduler:
            (sent,) = (await there(house, batch)).consignments
            await (await house.storage()).jobs.cancel(OWNER, batch.id, house.now_ms())
            scheduler.wake()
            await house.seen(batch, lambda each: each.consignments[0].look_at_ms > sent.look_at_ms)
            await asyncio.sleep(0.2)
            assert api.asked == 1
            api.end()
            pass_time(house, scheduler)
            done = await house.seen(batch)
        assert (done.status, done.completed) == ("cancelled", 1)


async def test_a_batch_that_another_process_brings_forward_is_not_asked_for_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house_of(tmp_path, api_of("openai")) as house:
        jobs = (await house.storage()).jobs
        now_ms, asked, was_asked = house.now_ms(), 0, asyncio.Event()
        await jobs.put_batch(
            Batch("batch_1", OWNER, "", "", "24h", now_ms, now_ms + DAY_MS, "in_progress", lane="provider")
        )
        assert await jobs.hold("batch_1", "another", now_ms, now_ms + int(HOLD_SECONDS * 1000))
        hold = jobs.hold

        async def counted(*said: Any) -> Batch | None:
            nonlocal asked
            asked += 1
            was_asked.set()
            return await hold(*said)

        monkeypatch.setattr(jobs, "hold", counted)
        async with house.scheduler():
            await asyncio.wait_for(was_asked.wait(), 20)
            await asyncio.sleep(0.2)
        assert asked == 1


async def test_what_lines_may_cost_is_given_back_when_another_process_has_collected_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Held:
        is_released = False
        headers = ()

        def release(self) -> None:
            self.is_released = True

        def settle(self, record: Any) -> None:
            raise AssertionError("it was settled elsewhere")

        def held_nano_usd(self) -> dict[str, int]:
            return {"key:k1": 7}

    async with house_of(tmp_path, api_of("openai")) as house:
        held = [Held(), Held()]
        left = held.copy()

        async def admit(*said: Any) -> Held | None:
            return left.pop() if left else None

        monkeypatch.setattr(house.runtime.gate, "admit", admit)
        batch = await house.put(lines(["a", "b"]))
        async with house.scheduler() as scheduler:
            (sent,) = (await there(house, batch)).consignments
            assert [each.is_released for each in held] == [False, False]
            jobs = (await house.storage()).jobs
            await house.until(lambda: jobs.drop_consignment(batch.id, sent.id, ""))
            scheduler.wake()
            await house.seen(batch)
        assert [each.is_released for each in held] == [True, True]


async def test_what_was_sent_is_delivered_and_counted_also_if_its_key_may_not_use_the_model_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_of("openai")
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler() as scheduler:
            await there(house, batch)
            narrowed = Caller("tester", key=VirtualKey("k1", "tester", b"digest", routes=("other",)))
            monkeypatch.setattr(house.runtime.keys, "known", lambda owner: narrowed)
            api.end()
            pass_time(house, scheduler)
            done = await house.seen(batch)
        assert (done.status, done.completed, api.alone) == ("completed", 1, [])
        assert await costs(house) == [(FULL_NANO_USD // 2, "configuration/batch")]


@pytest.mark.parametrize("protocol", APIS)
async def test_answers_may_be_more_than_fits_in_memory(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_of(protocol)
    ids = [f"line-{number}" for number in range(12)]
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(ids))
        async with house.scheduler() as scheduler:
            await there(house, batch)
            monkeypatch.setattr(provider, "MAX_RESPONSE_BYTES", 2_000)
            monkeypatch.setattr(provider, "_PART_BYTES", 500)
            api.end()
            pass_time(house, scheduler)
            done = await house.seen(batch)
        assert (done.status, done.completed, api.alone) == ("completed", len(ids), [])
        assert [each["custom_id"] for each in await house.written(done.output_file_id)] == ids


async def test_an_answer_that_we_fail_to_read_fails_its_line_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_of("openai")
    ending = ConsignedLines.ending

    def failing(self: ConsignedLines, *said: Any) -> Any:
        if b"text of a" in said[2].body:
            raise KeyError("a")
        return ending(self, *said)

    monkeypatch.setattr(ConsignedLines, "ending", failing)
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a", "b"]))
        async with house.scheduler() as scheduler:
            await there(house, batch)
            api.end()
            pass_time(house, scheduler)
            done = await house.seen(batch)
        assert (done.status, done.completed, done.failed, api.alone) == ("completed", 1, 1, [])
