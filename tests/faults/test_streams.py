"""Faults of an upstream's event stream: every end that is not a good one is told, and nothing is ever half told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from tests.faults.client import DONE, events_in
from tests.faults.shapes import (
    FINISH,
    GOOD_STREAM,
    GOOD_TEXT,
    ROLE,
    WORDS,
    delta,
    event,
)
from tests.faults.stage import SLACK, Scene, Stage
from tests.faults.streaming import (
    CHUNKED,
    CLOSING,
    GOOD_BODY,
    assert_broken,
    assert_refused,
    assert_whole,
    sized,
    stream_of,
)
from tests.upstreams.scripted import FIN, RESET, STALL, Step, chunk, raw
from tests.upstreams.scripted import Answer as Played

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {
    "upstream": {"head_seconds": 10, "first_token_seconds": 2, "between_tokens_seconds": 2.5, "total_seconds": 30}
}

# Before any content: nothing is committed


QUIET_BEGINNINGS: dict[str, tuple[object, ...]] = {
    "nothing": (),
    "role": (ROLE,),
    "empty delta": (delta(),),
    "role and empty deltas": (ROLE, delta(content=""), delta(content=None), delta()),
    "comments": (b": ping\n\n", b":\n\n", b": OPENROUTER PROCESSING\n\n"),
    "ping events": (b"event: ping\ndata: {}\n\n", b"event: ping\n\n", b"id: 1\n\n", b"retry: 3\n\n"),
    "empty data": (b"data:\n\n", b"data: \n\n"),
    "half an event": (b'data: {"choices": [{"index": 0, "delta": {"content": "x"',),
}


@pytest.mark.parametrize("parts", QUIET_BEGINNINGS.values(), ids=QUIET_BEGINNINGS)
@pytest.mark.parametrize("end", [RESET, FIN], ids=["rst", "fin"])
async def test_a_stream_cut_before_content_is_an_http_error(stage: Stage, parts: tuple[object, ...], end: Step) -> None:
    await assert_refused(stage, stream_of(*parts, end=(end,)), 502, "upstream_disconnected")


@pytest.mark.parametrize("parts", QUIET_BEGINNINGS.values(), ids=QUIET_BEGINNINGS)
async def test_a_stream_that_ends_before_content_is_an_http_error(stage: Stage, parts: tuple[object, ...]) -> None:
    scene = stage.plays(stream_of(*parts))
    answer = await scene.ask(stream=True)
    assert answer.status == 502
    assert answer.error["code"] in ("upstream_truncated", "upstream_empty_response", "upstream_invalid_event")
    await stage.settled(answer, error=answer.error["code"], attempts=2)


async def test_an_error_after_a_quiet_beginning_is_an_http_error_with_its_own_status(stage: Stage) -> None:
    busy = {"error": {"message": "too many", "code": "rate_limit_exceeded"}}
    for name, parts in QUIET_BEGINNINGS.items():
        if name != "half an event":
            await assert_refused(stage, stream_of(*parts, busy), 429, "rate_limit_exceeded")


async def test_a_silence_before_content_is_a_504(stage: Stage) -> None:
    started = time.monotonic()
    answer = await assert_refused(stage, stream_of(ROLE, end=(STALL,)), 504, "upstream_timeout")
    assert 1.95 < time.monotonic() - started < 2 + SLACK
    assert "upstream.first_token_seconds" in answer.error["message"]


@pytest.mark.parametrize("body", [DONE, DONE + GOOD_BODY, b": ping\n\n" + DONE], ids=["only", "first", "after ping"])
async def test_an_end_without_an_answer_is_an_http_error(stage: Stage, body: bytes) -> None:
    await assert_refused(stage, stream_of(body), 502, "upstream_empty_response")


# After content: an error event at every place where a stream can be cut


def _whole_events(body: bytes, *, ends_with_file: bool) -> list[bytes]:
    """Returns the events that have come; the end of a file also ends an event that lacks nothing but empty lines."""
    whole, separator, rest = body.rpartition(b"\n\n")
    whole += separator
    if ends_with_file and rest.rstrip(b"\n").endswith((b"}]}", b"[DONE]")):
        whole += rest.rstrip(b"\n") + b"\n\n"
    return events_in(whole)


def _has_content(events: list[bytes]) -> bool:
    choices = [json.loads(one)["choices"][0] for one in events if one != b"[DONE]"]
    return any(choice["delta"].get("content") or choice["finish_reason"] for choice in choices)


async def _assert_cut(scene: Scene, cut: int, *, ends_with_file: bool) -> str:
    """Asks once, of an upstream that is cut after `cut` bytes of its body; returns what the client heard."""
    answer = await scene.ask(stream=True)
    come = _whole_events(GOOD_BODY[:cut], ends_with_file=ends_with_file)
    if not _has_content(come):
        assert (answer.status, answer.error["type"]) == (502, "upstream_error"), cut
        return "refused"
    assert answer.status == 200, cut
    error = answer.event_error
    told = answer.events
    if b"[DONE]" in come:
        assert (error, told) == (None, come), cut
        return "whole"
    if error is None:  # only a proper end may be believed, and only after the finish
        assert told == [*come, b"[DONE]"], cut
        assert json.loads(come[-1])["choices"][0]["finish_reason"] == "stop", cut
        return "finished"
    assert told[:-1] == come, cut
    return "broken"


FRAMINGS = {
    "content-length": lambda cut: [sized(len(GOOD_BODY)) + GOOD_BODY[:cut]],
    "chunked": lambda cut: [CHUNKED + chunk(GOOD_BODY[:cut])] if cut else [CHUNKED],
    "chunk cut": lambda cut: [CHUNKED + b"%x\r\n" % len(GOOD_BODY) + GOOD_BODY[:cut]],
    "close-delimited": lambda cut: [CLOSING + GOOD_BODY[:cut]],
}


@pytest.mark.parametrize("end", [RESET, FIN], ids=["rst", "fin"])
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_cut_at_any_byte_is_never_silent(stage: Stage, framing: str, end: Step) -> None:
    make = FRAMINGS[framing]
    heard: dict[str, int] = {}
    ends_with_file = (framing, end) == ("close-delimited", FIN)
    # Every byte, all framings together, through real sockets; `test_cut_streams` has every byte of every kind.
    cuts = range(list(FRAMINGS).index(framing), len(GOOD_BODY), len(FRAMINGS))
    width = 12
    for start in range(0, len(cuts), width):
        batch = cuts[start : start + width]
        scenes = [stage.plays(raw(*make(cut), end)) for cut in batch]
        asked = (_assert_cut(*pair, ends_with_file=ends_with_file) for pair in zip(scenes, batch, strict=True))
        outcomes = await asyncio.gather(*asked)
        for outcome in outcomes:
            heard[outcome] = heard.get(outcome, 0) + 1
        for scene, outcome in zip(scenes, outcomes, strict=True):
            assert len(scene.requests) == (2 if outcome == "refused" else 1), "after content nothing is tried again"
    await stage.quiet()
    assert heard["refused"] > 50
    assert heard["broken"] > 75
    # Only the proper end of a close-delimited body after the finish is a good end.
    assert heard.keys() <= {"refused", "broken", *(["finished", "whole"] if ends_with_file else [])}


async def test_a_reset_within_content_is_an_error_event(stage: Stage) -> None:
    played = stream_of(ROLE, *WORDS, end=(RESET,))
    error = await assert_broken(stage, played, "upstream_disconnected")
    assert error["type"] == "upstream_error"


async def test_what_came_before_a_reset_in_a_later_packet_is_not_lost(stage: Stage) -> None:
    steps = [part for value in (ROLE, *WORDS) for part in (chunk(event(value)), 0.01)]
    await assert_broken(stage, raw(CHUNKED, *steps, RESET), "upstream_disconnected")


# Ends


async def test_an_end_after_the_finish_needs_no_done(stage: Stage) -> None:
    answer = await assert_whole(stage, stream_of(*GOOD_STREAM))
    assert answer.body.endswith(DONE)
    await assert_whole(stage, raw(CLOSING + b"".join(map(event, GOOD_STREAM)), FIN))


async def test_an_end_after_the_finish_may_lack_the_last_empty_line(stage: Stage) -> None:
    await assert_whole(stage, stream_of(b"".join(map(event, GOOD_STREAM)).rstrip(b"\n")))


@pytest.mark.parametrize("end", [(b"0\r\n\r\n",), (chunk(DONE), b"0\r\n\r\n")], ids=["no done", "done"])
async def test_an_end_without_a_finish_reason_is_an_error_event(stage: Stage, end: tuple[Step, ...]) -> None:
    await assert_broken(stage, stream_of(ROLE, *WORDS, end=end), "upstream_truncated")


async def test_a_close_without_a_finish_reason_is_an_error_event(stage: Stage) -> None:
    body = b"".join(map(event, [ROLE, *WORDS]))
    await assert_broken(stage, raw(CLOSING + body, FIN), "upstream_truncated")


async def test_one_of_two_choices_without_a_finish_is_an_error_event(stage: Stage) -> None:
    second = delta(content="x")
    second["choices"][0]["index"] = 1
    await assert_broken(stage, stream_of(ROLE, *WORDS, second, FINISH, DONE), "upstream_truncated", GOOD_TEXT + "x")


async def test_nothing_after_done_reaches_the_client(stage: Stage) -> None:
    clean = await assert_whole(stage, stream_of(GOOD_BODY))
    for rest in (DONE, event(delta(content="more")), b"garbage", event({"error": {"message": "late"}})):
        for parts in ([GOOD_BODY + rest], [GOOD_BODY, rest]):
            scene = stage.plays(stream_of(*parts))
            answer = await scene.ask(stream=True)
            assert answer.body == clean.body
    await stage.quiet()


async def test_a_connection_that_goes_on_after_done_is_not_used_again(stage: Stage) -> None:
    scene = stage.plays(stream_of(GOOD_BODY, end=(0.02, chunk(event(delta(content="late"))), STALL)))
    assert (await scene.ask(stream=True)).event_error is None
    await stage.upstream.wait_closed(scene.requests[0].connection)
    await stage.quiet()


# Errors in the middle


ERRORS: dict[str, tuple[bytes, str]] = {
    "openai": (event({"error": {"message": "boom", "type": "server_error", "code": None}}), "upstream_error"),
    "anthropic": (
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"boom"}}\n\n',
        "upstream_overloaded",
    ),
    "openrouter": (
        event(
            {
                "id": "x",
                "error": {"code": 502, "message": "boom"},
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            }
        ),
        "upstream_error",
    ),
    "text": (event({"error": "boom"}), "upstream_error"),
    "vllm": (event({"object": "error", "message": "boom", "type": "BadRequestError", "code": 400}), "400"),
    "sglang": (event({"error": {"object": "error", "message": "boom", "code": 500}}), "upstream_error"),
    "groq": (event({"id": "x", "choices": [], "x_groq": {"error": "boom"}}), "upstream_error"),
    "event without error key": (b'event: error\ndata: {"message":"boom"}\n\n', "upstream_error"),
    "event with text": (b"event: error\ndata: boom\n\n", "upstream_invalid_event"),
    "cerebras": (event({"error": {"message": "boom", "type": "x"}, "status_code": 503}), "upstream_overloaded"),
    "rate limit": (event({"error": {"message": "boom", "code": "rate_limit_exceeded"}}), "rate_limit_exceeded"),
    "finish error": (event(delta(finish="error")), "upstream_error"),
    "minimax": (
        event({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
        "insufficient_quota",
    ),
}


@pytest.mark.parametrize(("data", "code"), ERRORS.values(), ids=ERRORS)
async def test_an_error_in_the_middle_ends_the_stream_with_one_error_event(
    stage: Stage, data: bytes, code: str
) -> None:
    error = await assert_broken(stage, stream_of(ROLE, *WORDS, data, FINISH, DONE), code)
    assert error["param"] is None


async def test_the_error_event_has_the_form_that_the_sdks_raise_on(stage: Stage) -> None:
    answer = await stage.plays(stream_of(*WORDS, ERRORS["openai"][0])).ask(stream=True)
    last = json.loads(answer.events[-1])
    assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "error"}]
    assert last["id"] == answer.id


INVALID: dict[str, bytes] = {
    "cut json": b'data: {"choices": [{"index": 0, "delta": {"content": "x"\n\n',
    "text": b"data: hello\n\n",
    "NaN": b'data: {"choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": NaN}]}\n\n',
    "invalid utf-8": b'data: {"choices": [{"index": 0, "delta": {"content": "\xff"}}]}\n\n',
    "list": b"data: []\n\n",
    "choices text": b'data: {"choices": "x"}\n\n',
    "delta text": b'data: {"choices": [{"index": 0, "delta": "x"}]}\n\n',
    "index text": b'data: {"choices": [{"index": "0", "delta": {"content": "x"}}]}\n\n',
    "deep": b'data: {"choices": [], "a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}\n\n",
    "raw control character": b'data: {"choices": [{"index": 0, "delta": {"content": "\x01"}}]}\n\n',
}


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
async def test_an_event_that_cannot_be_read_is_never_forwarded(stage: Stage, data: bytes) -> None:
    await assert_broken(stage, stream_of(ROLE, *WORDS, data, FINISH, DONE), "upstream_invalid_event")
    await assert_refused(stage, stream_of(ROLE, data), 502, "upstream_invalid_event")


def _giant() -> Iterator[Step]:
    yield CHUNKED
    for value in (ROLE, *WORDS):
        yield chunk(event(value))
    yield chunk(b'data: {"choices": [{"index": 0, "delta": {"content": "')
    block = chunk(b"x" * 1_000_000)
    for _ in range(64):
        yield block
        yield 0.0


async def test_a_giant_event_is_cut_off_within_bounded_memory(stage: Stage) -> None:
    before = stage.gateway.rss_bytes()
    scene = stage.plays(Played(_giant()))
    answer = await scene.ask(stream=True, within=20)
    assert answer.event_error is not None
    assert answer.event_error["code"] == "upstream_invalid_event"
    assert answer.text == GOOD_TEXT
    await stage.upstream.wait_closed(scene.requests[0].connection)
    assert stage.gateway.rss_bytes() - before < 80_000_000
    await stage.settled(answer, error="upstream_invalid_event")


# Silence


async def test_a_silence_within_content_is_an_error_event_that_names_the_setting(stage: Stage) -> None:
    scene = stage.plays(stream_of(ROLE, *WORDS, end=(STALL,)))
    started = time.monotonic()
    answer = await scene.ask(stream=True)
    assert 2.45 < time.monotonic() - started < 2.5 + SLACK
    assert answer.event_error is not None
    assert answer.event_error["code"] == "upstream_timeout"
    assert "upstream.between_tokens_seconds" in answer.event_error["message"]
    await stage.upstream.wait_closed(scene.requests[0].connection)
    await stage.settled(answer, error="upstream_timeout")


async def test_the_wait_for_the_end_of_the_upstreams_body_is_no_time_of_the_request(stage: Stage) -> None:
    whole = b"".join(map(event, GOOD_STREAM)) + DONE
    scene = stage.plays(raw(CHUNKED, chunk(whole), STALL))
    total_ms: list[float] = []
    for _ in range(10):
        answer = await scene.ask(stream=True)
        assert answer.text == GOOD_TEXT
        total_ms.append((await stage.settled(answer))["total_ms"])
    assert min(total_ms) < 90, "the wait alone is 100 ms"
