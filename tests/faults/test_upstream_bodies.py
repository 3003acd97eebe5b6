"""Faults of an upstream's JSON body: cut, slow, too big, not what it says it is."""

from __future__ import annotations

import gzip
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.shapes import JSON_TYPE, USAGE, completion, delta, event, fine
from tests.faults.stage import SLACK, Stage
from tests.upstreams.scripted import FIN, RESET, STALL, Answer, Step, chunk, json_response, raw, response

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAP = 4 * 1024 * 1024
SETTINGS = {
    "upstream": {"head_seconds": 3, "between_tokens_seconds": 1.5, "total_seconds": 3, "max_response_bytes": CAP},
}
BODY = json.dumps(completion()).encode()
INVALID = ("upstream_invalid_response", "upstream_empty_response", "upstream_disconnected")


async def assert_refused(stage: Stage, played: Answer, code: str | tuple[str, ...] = INVALID) -> dict[str, Any]:
    """Asserts that the answer is turned into one 502 and nothing of it is passed on."""
    scene = stage.plays(played)
    answer = await scene.ask()
    assert answer.status == 502, answer
    error = answer.error
    assert error["code"] in ((code,) if isinstance(code, str) else code)
    assert error["type"] == "upstream_error"
    assert len(scene.requests) == 2
    await stage.settled(answer, error=error["code"], attempts=2)
    return error


# Slow and cut


async def test_a_body_that_trickles_ends_with_the_total_deadline(stage: Stage) -> None:
    steps: list[Step] = [response(200, [JSON_TYPE, ("content-length", str(len(BODY)))], length=False)]
    for byte in BODY:
        steps += [bytes([byte]), 0.1]
    scene = stage.plays(Answer(steps))
    started = time.monotonic()
    answer = await scene.ask()
    assert 2.9 < time.monotonic() - started < 3 + SLACK
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert "upstream.total_seconds" in answer.error["message"]
    await stage.settled(answer, error="upstream_timeout")
    await stage.upstream.wait_closed(scene.requests[0].connection)


async def test_an_error_body_that_trickles_does_not_hold_the_error_back_for_ever(stage: Stage) -> None:
    steps: list[Step] = [response(400, [JSON_TYPE, ("content-length", "1000")], length=False)]
    for _ in range(300):
        steps += [b" ", 0.1]
    answer = await stage.plays(Answer(steps)).ask(within=3 + SLACK)
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    await stage.settled(answer, error="invalid_request")


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
@pytest.mark.parametrize(
    "body", [b"caf\xe9", b'{"error": {"message": "caf\xe9"}}', b"\xff\xfe{\x00}\x00", b"[" * 100_000]
)
async def test_an_error_body_that_cannot_be_read_leaves_the_status_to_tell(
    stage: Stage, status: int, body: bytes
) -> None:
    scene = stage.plays(raw(response(status, [JSON_TYPE], body)), alone=status == 401)
    answer = await (scene.hurries() if status == 429 else scene).ask()
    assert answer.status == {401: 502, 500: 502}.get(status, status)
    await stage.settled(answer, error=answer.error["code"], attempts=2 if status == 500 else 1)


def _for_ever(data: bytes) -> Iterator[Step]:
    yield response(200, [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")], length=False)
    while True:
        yield chunk(data)
        yield 0.1


async def test_a_stream_that_only_pings_ends_with_the_total_deadline_as_an_http_error(stage: Stage) -> None:
    scene = stage.plays(lambda recorded: Answer(_for_ever(b": ping\n\n")))
    started = time.monotonic()
    answer = await scene.ask(stream=True)
    assert 2.9 < time.monotonic() - started < 3 + SLACK
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert "upstream.total_seconds" in answer.error["message"]
    await stage.settled(answer, error="upstream_timeout")
    await stage.upstream.wait_closed(scene.requests[0].connection)


async def _timeouts(stage: Stage) -> int:
    page = (await stage.gateway.get("/metrics")).body.decode()
    found = re.search(r'anyport_upstream_attempts_total\{[^}]*outcome="timeout"[^}]*\} (\d+)', page)
    return int(found[1]) if found else 0


async def test_a_stream_that_never_ends_ends_with_the_total_deadline_as_an_error_event(stage: Stage) -> None:
    scene = stage.plays(lambda recorded: Answer(_for_ever(event(delta(content="on ")))))
    before = await _timeouts(stage)
    started = time.monotonic()
    answer = await scene.ask(stream=True)
    assert 2.9 < time.monotonic() - started < 3 + SLACK
    assert answer.text.startswith("on on on ")
    assert answer.event_error is not None
    assert answer.event_error["code"] == "upstream_timeout"
    assert "upstream.total_seconds" in answer.event_error["message"]
    await stage.settled(answer, error="upstream_timeout")
    await stage.upstream.wait_closed(scene.requests[0].connection)
    assert await _timeouts(stage) == before + 1, "no attempt that went well"


async def test_a_body_that_stalls_ends_with_the_idle_timeout(stage: Stage) -> None:
    head = response(200, [JSON_TYPE, ("content-length", str(len(BODY)))], BODY[:50], length=False)
    scene = stage.plays(raw(head, STALL))
    started = time.monotonic()
    answer = await scene.ask()
    assert 1.45 < time.monotonic() - started < 1.5 + SLACK
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert "upstream.between_tokens_seconds" in answer.error["message"]
    await stage.settled(answer, error="upstream_timeout")
    await stage.upstream.wait_closed(scene.requests[0].connection)


async def test_json_that_is_cut_at_any_byte_is_refused_although_its_framing_is_right(stage: Stage) -> None:
    for cut in range(1, len(BODY), 7):
        scene = stage.plays(raw(response(200, [JSON_TYPE], BODY[:cut])))
        answer = await scene.ask()
        assert (answer.status, answer.error["code"]) == (502, "upstream_invalid_response"), cut
    await stage.quiet()


CUTS = {
    "length": response(200, [JSON_TYPE, ("content-length", str(len(BODY)))], BODY[:-1], length=False),
    "length, body looks whole": response(200, [JSON_TYPE, ("content-length", str(len(BODY) + 1))], BODY, length=False),
    "chunked, between chunks": response(200, [JSON_TYPE, ("transfer-encoding", "chunked")], chunk(BODY), length=False),
    "chunked, within a chunk": response(
        200, [JSON_TYPE, ("transfer-encoding", "chunked")], chunk(BODY)[:-20], length=False
    ),
    "chunked, last chunk cut": response(
        200, [JSON_TYPE, ("transfer-encoding", "chunked")], chunk(BODY) + b"0\r\n", length=False
    ),
}


@pytest.mark.parametrize("end", [FIN, RESET], ids=["fin", "rst"])
@pytest.mark.parametrize("data", CUTS.values(), ids=CUTS)
async def test_a_body_cut_within_its_framing_is_refused(stage: Stage, data: bytes, end: Step) -> None:
    await assert_refused(stage, raw(data, end), "upstream_disconnected")


async def test_a_close_delimited_body_that_is_cut_is_refused(stage: Stage) -> None:
    head = response(200, [JSON_TYPE], length=False)
    await assert_refused(stage, raw(head + BODY[:-1], FIN), "upstream_invalid_response")
    await assert_refused(stage, raw(head + BODY, RESET), "upstream_disconnected")


async def test_a_whole_close_delimited_body_is_taken(stage: Stage) -> None:
    scene = stage.plays(raw(response(200, [JSON_TYPE, ("connection", "close")], length=False) + BODY, FIN))
    answer = await scene.ask()
    assert (answer.status, answer.body) == (200, BODY)
    await stage.settled(answer)


async def test_chunks_that_break_their_framing_are_refused(stage: Stage) -> None:
    head = response(200, [JSON_TYPE, ("transfer-encoding", "chunked")], length=False)
    for broken in (b"ZZ\r\n{}\r\n0\r\n\r\n", b"5\r\n{}\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n{}"):
        await assert_refused(stage, raw(head + broken, FIN))


# An error under 200


@pytest.mark.parametrize(
    ("body", "status", "code", "attempts"),
    [
        ({"error": {"message": "too many", "code": "rate_limit_exceeded"}}, 429, "rate_limit_exceeded", 1),
        ({"error": {"message": "broke", "type": "insufficient_quota"}}, 429, "insufficient_quota", 1),
        ({"error": {"message": "no such", "code": "model_not_found"}}, 404, "model_not_found", 1),
        ({"error": {"message": "bad", "code": 400}}, 400, "400", 1),
        ({"error": {"message": "upstream down", "code": 502}}, 502, "upstream_error", 2),
        ({"error": {"message": "busy", "type": "overloaded_error"}, "type": "error"}, 503, "upstream_overloaded", 2),
        ({"error": "something"}, 502, "upstream_error", 1),
        ({"object": "error", "message": "maximum context length is 8"}, 400, "context_length_exceeded", 1),
        ({"detail": "Not authenticated"}, 502, "upstream_error", 1),
        ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, 429, "insufficient_quota", 1),
        (
            {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
            429,
            "insufficient_quota",
            1,
        ),
        (
            {"choices": [], "error": {"message": "too many", "code": "rate_limit_exceeded"}},
            429,
            "rate_limit_exceeded",
            1,
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_an_error_under_a_success_status_is_answered_as_an_error(
    stage: Stage, body: dict[str, object], status: int, code: str, attempts: int, stream: bool
) -> None:
    scene = stage.plays(json_response(body)).hurries()
    answer = await scene.ask(stream=stream)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert len(scene.requests) == attempts
    await stage.settled(answer, error=code, attempts=attempts)


# Wrong shapes

WRONG: dict[str, object] = {
    "list": [],
    "null": None,
    "number": 1,
    "string": "hello",
    "empty object": {},
    "no choices": completion(choices=None),
    "choices empty": completion(choices=[]),
    "choices object": completion(choices={}),
    "choices of nulls": completion(choices=[None]),
    "choices of numbers": completion(choices=[1]),
    "message missing": completion(choices=[{"index": 0, "finish_reason": "stop"}]),
    "message null": completion(choices=[{"index": 0, "message": None, "finish_reason": "stop"}]),
    "message text": completion(choices=[{"index": 0, "message": "hi", "finish_reason": "stop"}]),
    "finish number": completion(choices=[{"index": 0, "message": {"role": "assistant"}, "finish_reason": 1}]),
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
async def test_an_answer_of_the_wrong_shape_is_refused(stage: Stage, value: object) -> None:
    await assert_refused(stage, json_response(value))


USAGES: dict[str, object] = {
    "null": None,
    "empty": {},
    "list": [],
    "text": "5",
    "strings": {"prompt_tokens": "3", "completion_tokens": "2"},
    "negative": {"prompt_tokens": -3, "completion_tokens": 2},
    "huge": {"prompt_tokens": 10**30, "completion_tokens": 2},
    "fractions": {"prompt_tokens": 3.5, "completion_tokens": 2},
    "booleans": {"prompt_tokens": True, "completion_tokens": True},
}


@pytest.mark.parametrize("usage", USAGES.values(), ids=USAGES)
async def test_odd_usage_never_costs_the_client_its_answer(stage: Stage, usage: object) -> None:
    body = json.dumps(completion(usage=usage)).encode()
    scene = stage.plays(raw(response(200, [JSON_TYPE], body)))
    answer = await scene.ask()
    assert (answer.status, answer.body) == (200, body)
    record = await stage.settled(answer)
    assert (record["completion_tokens"], record["usage_source"]) == (len(body) // 4, "estimated")


async def test_odd_details_cost_the_details_and_not_the_counts(stage: Stage) -> None:
    usage = {**USAGE, "prompt_tokens_details": "x", "completion_tokens_details": []}
    answer = await stage.plays(json_response(completion(usage=usage))).ask()
    record = await stage.settled(answer)
    assert (record["prompt_tokens"], record["completion_tokens"], record["usage_source"]) == (
        USAGE["prompt_tokens"],
        USAGE["completion_tokens"],
        "reported",
    )


async def test_missing_usage_is_estimated(stage: Stage) -> None:
    value = completion()
    del value["usage"]
    scene = stage.plays(json_response(value))
    answer = await scene.ask()
    assert answer.json == value
    assert (await stage.settled(answer))["usage_source"] == "estimated"


# Too big


def _zeros(total: int) -> Iterator[Step]:
    block = b" " * 262_144
    yield response(200, [JSON_TYPE, ("content-length", str(total))], length=False)
    for _ in range(0, total, len(block)):
        yield block
        yield 0.0


async def test_a_giant_body_is_cut_at_the_cap_and_costs_bounded_memory(stage: Stage) -> None:
    assert (await stage.plays(fine()).ask()).status == 200
    before = stage.gateway.rss_bytes()
    scene = stage.plays(lambda recorded: Answer(_zeros(1024**3)))
    answer = await scene.ask()
    assert (answer.status, answer.error["code"]) == (502, "upstream_invalid_response")
    assert "upstream.max_response_bytes" in answer.error["message"]
    assert len(scene.requests) == 2
    for number, request in enumerate(scene.requests):
        await scene.closed(number)
        assert stage.upstream.connections[request.connection].sent_bytes < CAP + 16 * 1024 * 1024
    assert stage.gateway.rss_bytes() - before < 4 * CAP
    await stage.settled(answer, error="upstream_invalid_response", attempts=2)


def _bomb() -> bytes:
    return b'{"a":"' + b" " * 60_000_000 + b'"}'


@pytest.mark.parametrize(
    ("coding", "squeeze"),
    [
        ("gzip", lambda: gzip.compress(_bomb())),
        ("gzip, gzip", lambda: gzip.compress(gzip.compress(_bomb()))),
        ("deflate", lambda: zlib.compress(_bomb(), 9)),
    ],
    ids=["gzip", "gzip twice", "deflate"],
)
async def test_a_compression_bomb_is_refused_within_bounded_memory(
    stage: Stage, coding: str, squeeze: Callable[[], bytes]
) -> None:
    body = squeeze()
    before = stage.gateway.rss_bytes()
    error = await assert_refused(stage, raw(response(200, [JSON_TYPE, ("content-encoding", coding)], body)))
    assert error["code"] == "upstream_invalid_response"
    assert stage.gateway.rss_bytes() - before < 6 * CAP


async def test_thirty_encodings_an_unknown_one_and_a_lying_one_are_refused(stage: Stage) -> None:
    for coding, body in ((", ".join(["gzip"] * 30), BODY), ("br", BODY), ("zebra", BODY), ("gzip", BODY)):
        await assert_refused(stage, raw(response(200, [JSON_TYPE, ("content-encoding", coding)], body)))


async def test_an_honestly_compressed_answer_is_decoded(stage: Stage) -> None:
    scene = stage.plays(raw(response(200, [JSON_TYPE, ("content-encoding", "gzip")], gzip.compress(BODY))))
    answer = await scene.ask()
    assert (answer.status, answer.body) == (200, BODY)
    assert "content-encoding" not in answer.headers
    assert scene.requests[0].headers["accept-encoding"] == "identity"
    await stage.settled(answer)


async def test_a_giant_error_body_is_not_read_to_its_end(stage: Stage) -> None:
    def steps() -> Iterator[Step]:
        yield response(500, [JSON_TYPE, ("content-length", str(1024**3))], length=False)
        while True:
            yield b" " * 262_144
            yield 0.0  # lets the upstream notice that nobody is there any more

    scene = stage.plays(lambda recorded: Answer(steps()))
    answer = await scene.ask()
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    for number in range(2):
        await scene.closed(number)
    await stage.settled(answer, error="upstream_error", attempts=2)


# Not JSON

TEXT = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}]%b}'
NOT_JSON = {
    "invalid utf-8": TEXT % (b"\xff\xfe", b""),
    "overlong": TEXT % (b"\xc0\x80", b""),
    "raw surrogate": TEXT % (b"\xed\xa0\x80", b""),
    "utf-16": BODY.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + BODY,
    "NUL": BODY + b"\0",
    "raw control character": TEXT % (b"\x01", b""),
    "NaN": TEXT % (b"x", b',"a":NaN'),
    "two documents": BODY + BODY,
    "deep": TEXT % (b"x", b',"a":' + b"[" * 100_000 + b"]" * 100_000),
    "plain text": b"OK",
    "html": b"<html></html>",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
async def test_what_is_not_json_in_utf_8_is_refused(stage: Stage, body: bytes) -> None:
    error = await assert_refused(stage, raw(response(200, [JSON_TYPE], body)), "upstream_invalid_response")
    assert "x" * 3 not in error["message"]


async def test_an_integer_of_5000_digits_crashes_nothing(stage: Stage) -> None:
    body = TEXT % (b"x", b',"a":' + b"9" * 5000)
    scene = stage.plays(raw(response(200, [JSON_TYPE], body)))
    answer = await scene.ask()
    assert answer.status in (200, 502)
    assert answer.status == 502 or answer.body == body
    failed = answer.status != 200
    await stage.settled(answer, error=answer.error["code"] if failed else None, attempts=2 if failed else 1)


async def test_events_for_a_request_that_wants_json_are_put_together(stage: Stage) -> None:
    body = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    scene = stage.plays(raw(response(200, [("content-type", "text/event-stream")], body)))
    answer = await scene.ask()
    (choice,) = answer.json["choices"]
    assert (answer.status, choice["message"]["content"], choice["finish_reason"]) == (200, "x", "stop")
    await stage.settled(answer)


async def test_events_that_are_cut_for_a_request_that_wants_json_are_refused(stage: Stage) -> None:
    body = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    played = raw(response(200, [("content-type", "text/event-stream")], body))
    error = await assert_refused(stage, played, "upstream_truncated")
    assert "data:" not in error["message"]
