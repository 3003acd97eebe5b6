"""Providers that say nonsense, never end, or are slow: no line is sent twice, none waits for ever, nothing spins."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from gateway.batches import consigning
from gateway.batches.scheduler import HOLD_SECONDS
from gateway.storage.base import DAY_MS
from gateway.storage.jobs import Batch
from tests.unit.batches.sent import APIS, api_of, house_of, pass_time, there
from tests.unit.batches.works import ANSWER, OWNER, line, lines
from tests.upstreams.batch_apis import OpenAIApi
from tests.upstreams.scripted import Answer, Recorded, json_response, raw, response


class Odd(OpenAIApi):
    """Answers some requests with something else."""

    def __init__(self, method: str, path: str, answer: Answer) -> None:
        super().__init__(lambda body: ANSWER)
        self.asked = 0
        self._odd = method, path
        self._answer = answer

    def __call__(self, request: Recorded) -> Answer:
        if request.method != self._odd[0] or not request.path.partition("?")[0].endswith(self._odd[1]):
            return super().__call__(request)
        self.asked += 1
        return self._answer


def said(body: bytes) -> Answer:
    return raw(response(200, (("content-type", "application/json"),), body))


@pytest.mark.parametrize("body", [b"{}", b'{"id":"\xff"}', b'{"x":' * 5000, b'{"id":"../batches"}'])
async def test_a_provider_that_does_not_say_what_an_upload_is_called_gets_the_lines_one_by_one(
    tmp_path: Path, body: bytes
) -> None:
    api = Odd("POST", "/v1/files", said(body))
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler():
            done = await house.seen(batch)
        assert (done.completed, len(api.alone), api.asked) == (1, 1, 1)


@pytest.mark.parametrize("body", [b'{"id":"\xff","status":"completed"}', b'{"x":' * 5000])
async def test_a_batch_whose_state_cannot_be_read_is_looked_at_again_after_a_pause(tmp_path: Path, body: bytes) -> None:
    api = Odd("GET", "/batch_0", said(body))
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler() as scheduler:
            (sent,) = (await there(house, batch)).consignments
            pass_time(house, scheduler)
            await house.seen(batch, lambda each: each.consignments[0].look_at_ms > sent.look_at_ms)
            assert api.asked == 1


async def test_a_batch_that_never_ends_at_the_provider_ends_here(tmp_path: Path) -> None:
    api = api_of("openai")
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler() as scheduler:
            await there(house, batch)
            await (await house.storage()).jobs.cancel(OWNER, batch.id, house.now_ms())
            scheduler.wake()
            await house.seen(batch, lambda each: [c.state for c in each.consignments] == ["cancelling"])
            pass_time(house, scheduler, 2 * DAY_MS + 1_000)
            done = await house.seen(batch)
        (lost,) = await house.written(done.error_file_id)
        assert (done.status, lost["error"]["code"], api.alone) == ("cancelled", "batch_answers_lost", [])


async def test_a_replica_whose_clock_is_behind_asks_no_oftener(tmp_path: Path) -> None:
    refusal = json_response({"error": {"message": "not now"}}, 500)
    api = Odd("POST", "/cancel", refusal)
    async with house_of(tmp_path, api) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler() as scheduler:
            (sent,) = (await there(house, batch)).consignments
            await (await house.storage()).jobs.cancel(OWNER, batch.id, house.now_ms() + 3_600_000)
            scheduler.wake()
            seen = await house.seen(batch, lambda each: each.consignments[0].look_at_ms > sent.look_at_ms)
            scheduler.wake()
            await house.until(lambda: _so(not scheduler._consigning))
            assert (seen.consignments[0].state, api.asked) == ("there", 1)


async def test_lines_that_cannot_go_are_not_prepared_again_for_each_that_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consigning, "_MOST_LINES", 3)
    api = api_of("anthropic")
    never = "".join(json.dumps(line(f"n{each}", n=2)) + "\n" for each in range(2))
    async with house_of(tmp_path, api) as house:
        batch = await house.put(never.encode() + lines(["a", "b", "c", "d"]))
        async with house.scheduler() as scheduler:
            await house.seen(batch, lambda each: each.lane == "ordinary")
            assert sorted(len(each["requests"]) for each in api.batches.values()) == [1, 3]
            api.end()
            pass_time(house, scheduler)
            assert (await house.seen(batch)).completed == 6


async def test_nothing_is_begun_for_a_batch_that_was_cancelled_while_lines_were_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_of("anthropic")
    async with house_of(tmp_path, api) as house:
        jobs = (await house.storage()).jobs
        give_back = jobs.give_back

        async def late(*said: Any, **more: Any) -> None:
            await give_back(*said, **more)
            await jobs.cancel(OWNER, "batch_1", house.now_ms())

        monkeypatch.setattr(jobs, "give_back", late)
        batch = await house.put(lines(["a"]) + json.dumps(line("n", n=2)).encode())
        async with house.scheduler() as scheduler:
            await house.seen(batch, lambda each: [c.state for c in each.consignments] == ["sending"])
            await house.until(lambda: _so(not scheduler._consigning))
            pass_time(house, scheduler)
            done = await house.seen(batch)
        assert (done.status, api.batches, api.alone) == ("cancelled", {}, [])


async def test_answers_are_told_once_if_the_batch_is_cancelled_while_they_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_of("openai")
    async with house_of(tmp_path, api) as house:
        jobs = (await house.storage()).jobs
        hold, end_line = jobs.hold, jobs.end_line
        is_cancelled, was_tried = False, asyncio.Event()

        async def seen(*said: Any) -> Batch | None:
            found = await hold(*said)
            if is_cancelled:
                was_tried.set()
            return found

        async def late(*said: Any) -> bool:
            nonlocal is_cancelled
            if not is_cancelled:
                await jobs.cancel(OWNER, "batch_1", house.now_ms())
                is_cancelled = True
                one.wake()
                two.wake()
                await asyncio.wait_for(was_tried.wait(), 20)
            return await end_line(*said)

        batch = await house.put(lines(["a", "b"]))
        async with house.scheduler() as one, house.scheduler() as two:
            await there(house, batch)
            monkeypatch.setattr(jobs, "hold", seen)
            monkeypatch.setattr(jobs, "end_line", late)
            api.end()
            pass_time(house, one)
            done = await house.seen(batch)
        assert (done.status, done.completed, len(house.told)) == ("cancelled", 2, 2)


@pytest.mark.parametrize("protocol", APIS)
async def test_a_batch_is_found_among_many_newer_ones(tmp_path: Path, protocol: str) -> None:
    api = api_of(protocol)
    pages: list[str] = []

    def turned(request: Recorded) -> Answer:
        """Answers a question for the list with one batch at a time, ours last."""
        path, _, query = request.path.partition("?")
        wanted = {name: values[0] for name, values in parse_qs(query).items()}
        if request.method != "GET" or not path.endswith("/batches"):
            return api(request)
        sent = b"".join(step for step in api(request).steps if isinstance(step, bytes))
        whole = json.loads(sent.partition(b"\r\n\r\n")[2])
        name = "operations" if protocol == "gemini" else "data"
        (ours,) = whole[name]
        page = wanted.get("after") or wanted.get("after_id") or wanted.get("pageToken") or ""
        pages.append(page)
        if page:
            return json_response({name: [ours]})
        other = {**ours, "id": "another"}
        if protocol == "gemini":
            other = {"name": "batches/another", "metadata": {**ours["metadata"], "displayName": "another"}}
        other |= {"metadata": {"anyport": "another"}} if protocol == "openai" else {}
        other |= {"request_counts": {"succeeded": 7}} if protocol == "anthropic" else {}
        return json_response({name: [other], "has_more": True, "nextPageToken": "a/b"})

    api.is_deaf = True
    async with house_of(tmp_path, api, script=turned) as house:
        batch = await house.put(lines(["a"]))
        async with house.scheduler() as scheduler:
            await house.seen(batch, lambda each: [c.state for c in each.consignments] == ["sending"])
            await house.until(lambda: _so(bool(api.batches) and not scheduler._consigning))
            api.is_deaf = False
            api.end()
            pass_time(house, scheduler)
            await house.until(lambda: _so(len(pages) == 2))
            pass_time(house, scheduler)
            assert (await house.seen(batch)).completed == 1
    assert (api.alone, pages) == ([], ["", "a/b" if protocol == "gemini" else "another"])


async def test_what_was_begun_too_late_is_ended_at_the_provider(tmp_path: Path) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    class Late(OpenAIApi):
        def __call__(self, request: Recorded) -> Answer:
            answer = super().__call__(request)
            if (request.method, request.path) != ("POST", "/v1/batches") or arrived.is_set():
                return answer
            arrived.set()
            return Answer((go_on, *answer.steps))

    api = Late(lambda body: ANSWER)
    async with house_of(tmp_path, api) as house:
        jobs = (await house.storage()).jobs
        batch = await house.put(lines(["a"]))
        async with house.scheduler():
            await asyncio.wait_for(arrived.wait(), 20)
            house.ahead_ms += int(HOLD_SECONDS * 1000) + 1
            now_ms = house.now_ms()
            held = await jobs.hold(batch.id, "another", now_ms, now_ms + DAY_MS)
            assert held is not None
            assert await jobs.drop_consignment(batch.id, held.consignments[0].id, "another")
            go_on.set()
            await house.until(lambda: _so(api.batches["batch_0"]["is_cancelled"]))


async def _so(it: bool) -> bool:
    return it
