"""Faults of an upstream before its body: connecting, and the response head."""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import time

import pytest

from tests.faults.client import Answer
from tests.faults.shapes import GOOD_STREAM, JSON_TYPE, SSE_TYPE, completion, delta, fine
from tests.faults.stage import SLACK, Stage, closed_port
from tests.upstreams.scripted import (
    FIN,
    RESET,
    STALL,
    Recorded,
    ScriptedUpstream,
    json_response,
    raw,
    response,
    sse_response,
)
from tests.upstreams.scripted import Answer as Played

pytestmark = pytest.mark.asyncio(loop_scope="module")


CLOSED_PORT = closed_port()
HEAD_SECONDS = 1.5
MAX_CONNECTIONS = 3
SETTINGS = {
    "upstream": {
        "head_seconds": HEAD_SECONDS,
        "answer_seconds": HEAD_SECONDS,
        "pool_seconds": 0.25,
        "between_tokens_seconds": 2,
        "max_connections": MAX_CONNECTIONS,
    },
    "providers": {"refused": {"base_url": f"http://127.0.0.1:{CLOSED_PORT}/v1", "requires_credential": False}},
}
BODY = json.dumps(completion()).encode()
both = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


def said(status: int, message: str = "no", headers: tuple[tuple[str, str], ...] = (), **error: object) -> Played:
    """Returns an upstream's error in OpenAI's shape."""
    whole = {"message": message, "type": "t", "param": None, "code": None, **error}
    return json_response({"error": whole}, status, headers)


def assert_error(answer: Answer, status: int, code: str, *, type: str | None = None) -> str:
    error = answer.error
    assert (answer.status, error["code"]) == (status, code)
    assert answer.headers["x-should-retry"] == "false", "what could be tried has been"
    assert type is None or error["type"] == type
    return error["message"]


async def use_up_kept_connections(stage: Stage) -> None:
    """Has the gateway use every connection that it keeps, and the upstream close each."""
    everybody_is_here = asyncio.Event()
    closing = stage.plays(raw(everybody_is_here, response(200, [JSON_TYPE, ("connection", "close")], BODY), FIN))
    asked = [asyncio.create_task(closing.ask()) for _ in range(MAX_CONNECTIONS)]
    await closing.heard(MAX_CONNECTIONS)
    everybody_is_here.set()
    assert [answer.status for answer in await asyncio.gather(*asked)] == [200] * MAX_CONNECTIONS


# Connecting


@both
async def test_a_refused_connection_is_a_502_at_once(stage: Stage, stream: bool) -> None:
    scene = stage.plays(fine())
    started = time.monotonic()
    answer = await scene.send({**scene.body(stream=stream), "model": "refused/m"})
    assert time.monotonic() - started < 0.5 + SLACK
    assert_error(answer, 502, "upstream_connection_error")
    await stage.settled(answer, error="upstream_connection_error", attempts=2)
    assert not scene.requests


@both
async def test_a_reset_on_a_fresh_connection_is_a_502_after_one_more_attempt_and_no_replay(
    stage: Stage, stream: bool
) -> None:
    await use_up_kept_connections(stage)
    scene = stage.plays(raw(RESET))
    answer = await scene.ask(stream=stream)
    assert_error(answer, 502, "upstream_disconnected")
    await stage.settled(answer, error="upstream_disconnected", attempts=2)
    assert len(scene.requests) == 2


@both
async def test_a_silent_upstream_is_a_504_that_names_the_setting(stage: Stage, stream: bool) -> None:
    scene = stage.plays(raw(STALL))
    started = time.monotonic()
    answer = await scene.ask(stream=stream)
    assert HEAD_SECONDS - 0.05 <= time.monotonic() - started < HEAD_SECONDS + 1 + SLACK
    message = assert_error(answer, 504, "upstream_timeout")
    assert ("upstream.head_seconds" if stream else "upstream.answer_seconds") in message
    await stage.settled(answer, error="upstream_timeout")
    assert len(scene.requests) == 1
    await stage.upstream.wait_closed(scene.requests[0].connection)


@both
async def test_a_kept_connection_that_closes_at_the_moment_of_sending_costs_the_client_nothing(
    stage: Stage, stream: bool
) -> None:
    first = stage.plays(fine())
    good = sse_response(GOOD_STREAM) if stream else fine("second")
    assert (await first.ask()).status == 200
    reused = first.requests[0].connection
    scene = stage.plays(raw(RESET), good)
    answer = await scene.ask(stream=stream)
    assert answer.status == 200
    assert [request.connection == reused for request in scene.requests] == [True, False]
    assert answer.headers["x-anyport-attempts"] == "2"
    await stage.settled(answer, attempts=2)
    assert answer.body.count(b"second") == (0 if stream else 1)


async def test_the_keep_alive_race_is_replayed_only_once(stage: Stage) -> None:
    assert (await stage.plays(fine()).ask()).status == 200
    scene = stage.plays(raw(RESET))
    before = len(stage.upstream.connections)
    answer = await scene.ask()
    assert_error(answer, 502, "upstream_disconnected")
    # Tests before this one may have left several kept connections: the second attempt may get one, too.
    was_kept = [request.connection < before for request in scene.requests]
    assert was_kept in ([True, False, False], [True, False, True, False]), "a replay takes a new connection, once"
    await stage.settled(answer, error="upstream_disconnected", attempts=len(was_kept))


async def test_one_byte_of_an_answer_on_a_kept_connection_forbids_the_replay(stage: Stage) -> None:
    assert (await stage.plays(fine()).ask()).status == 200
    scene = stage.plays(raw(b"H", 0.02, RESET))
    answer = await scene.ask()
    assert_error(answer, 502, "upstream_disconnected")
    assert len(scene.requests) == 2, "a replay would not count against the two attempts of a deployment"
    await stage.settled(answer, error="upstream_disconnected", attempts=2)


async def test_a_full_pool_is_a_503_that_says_when_to_come_back(stage: Stage) -> None:
    release = asyncio.Event()
    scene = stage.plays(raw(0.01, response(200, [JSON_TYPE, ("connection", "keep-alive")], BODY)))
    slow = stage.plays(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", release, b"\r\n{}"))
    waiting = [asyncio.create_task(slow.ask()) for _ in range(3)]
    await slow.heard(3)
    started = time.monotonic()
    answer = await scene.ask()
    assert 0.45 <= time.monotonic() - started < 0.6 + SLACK
    message = assert_error(answer, 503, "overloaded")
    assert "upstream.pool_seconds" in message
    assert answer.headers["retry-after"] == "1"
    assert not scene.requests
    release.set()
    await asyncio.gather(*waiting)
    await stage.settled(answer, error="overloaded", attempts=2)
    again = await scene.ask()
    assert (again.status, again.headers["x-anyport-attempts"]) == (200, "1")


async def test_a_slot_that_becomes_free_in_time_serves_the_waiting_request(stage: Stage) -> None:
    release = asyncio.Event()
    slow = stage.plays(raw(release, response(200, [JSON_TYPE], BODY)))
    waiting = [asyncio.create_task(slow.ask()) for _ in range(4)]
    await slow.heard(3)
    release.set()
    answers = await asyncio.gather(*waiting)
    assert [answer.status for answer in answers] == [200] * 4
    assert len(slow.requests) == 4
    await stage.quiet()


# Response head


async def test_the_deadline_of_a_trickling_head_is_absolute(stage: Stage) -> None:
    head = response(200, [JSON_TYPE], BODY)
    steps = [part for byte in head for part in (bytes([byte]), HEAD_SECONDS / 15)]
    scene = stage.plays(Played(steps))
    started = time.monotonic()
    answer = await scene.ask()
    assert time.monotonic() - started < HEAD_SECONDS + 1 + SLACK
    assert "upstream.answer_seconds" in assert_error(answer, 504, "upstream_timeout")
    await stage.settled(answer, error="upstream_timeout")


async def test_an_answer_just_before_the_deadline_is_taken(stage: Stage) -> None:
    scene = stage.plays(raw(HEAD_SECONDS / 2, response(200, [JSON_TYPE], BODY)))
    answer = await scene.ask()
    assert (answer.status, answer.body) == (200, BODY)
    await stage.settled(answer)


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints\r\nlink: </a>"])
@both
async def test_interim_answers_are_skipped(stage: Stage, interim: bytes, stream: bool) -> None:
    good = sse_response(GOOD_STREAM) if stream else raw(response(200, [JSON_TYPE], BODY))
    scene = stage.plays(Played([b"HTTP/1.1 " + interim + b"\r\n\r\n", 0.01, *good.steps]))
    answer = await scene.ask(stream=stream)
    assert answer.status == 200
    assert "link" not in answer.headers
    await stage.settled(answer)


INVALID_HEADS = {
    "switching protocols": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "status 999": b"HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\n{}",
    "status 600": b"HTTP/1.1 600 Odd\r\ncontent-length: 2\r\n\r\n{}",
    "status 1000": b"HTTP/1.1 1000 Odd\r\ncontent-length: 2\r\n\r\n{}",
    "no status line": b'{"choices": []}\r\n\r\n',
    "version 3.0": b"HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    "length and chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "unknown transfer encoding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n{}",
    "a header of 200 kB": b"HTTP/1.1 200 OK\r\nx-long: " + b"a" * 200_000 + b"\r\ncontent-length: 2\r\n\r\n{}",
    "5000 headers": b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 5000 + b"content-length: 2\r\n\r\n{}",
    "control character": b"HTTP/1.1 200 OK\r\nx-a: b\x00c\r\ncontent-length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("head", INVALID_HEADS.values(), ids=INVALID_HEADS)
@both
async def test_a_head_that_is_not_http_is_a_502(stage: Stage, head: bytes, stream: bool) -> None:
    scene = stage.plays(raw(head))
    answer = await scene.ask(stream=stream)
    assert_error(answer, 502, "upstream_invalid_response")
    await stage.settled(answer, error="upstream_invalid_response", attempts=2)
    assert len(scene.requests) == 2
    for number in range(2):
        await scene.closed(number)


EMPTY = {
    "200": raw(response(200, [JSON_TYPE])),
    "200 chunked": raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "204": raw(response(204, length=False)),
    "205": raw(response(205)),
}


@pytest.mark.parametrize("played", EMPTY.values(), ids=EMPTY)
@both
async def test_an_empty_answer_is_a_502(stage: Stage, played: Played, stream: bool) -> None:
    scene = stage.plays(played)
    answer = await scene.ask(stream=stream)
    assert answer.status == 502
    assert answer.error["code"] in ("upstream_invalid_response", "upstream_empty_response", "upstream_truncated")
    await stage.settled(answer, error=answer.error["code"], attempts=2)
    assert len(scene.requests) == 2


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@both
async def test_a_redirect_is_never_followed(stage: Stage, status: int, stream: bool) -> None:
    async with ScriptedUpstream([fine("stolen")]) as elsewhere:
        location = ("location", f"{elsewhere.url}/v1/chat/completions")
        scene = stage.plays(raw(response(status, [location], length=status != 304)))
        answer = await scene.ask(stream=stream)
        assert_error(answer, 502, "upstream_redirect")
        assert elsewhere.url not in answer.body.decode()
        assert "location" not in answer.headers
        await stage.settled(answer, error="upstream_redirect")
        assert not elsewhere.requests
        assert not elsewhere.connections
    assert len(scene.requests) == 1


REFUSALS: list[tuple[int, dict[str, str], int, str, int, str | None]] = [
    (400, {}, 400, "invalid_request", 1, "invalid_request_error"),
    (400, {"code": "unsupported_value", "param": "temperature"}, 400, "unsupported_value", 1, None),
    (400, {"code": "context_length_exceeded"}, 400, "context_length_exceeded", 1, "invalid_request_error"),
    (400, {"code": "content_filter"}, 400, "content_filter", 1, "invalid_request_error"),
    (401, {"code": "invalid_api_key"}, 502, "upstream_auth_error", 1, "upstream_error"),
    (402, {}, 429, "insufficient_quota", 1, "insufficient_quota"),
    (403, {}, 502, "upstream_auth_error", 1, "upstream_error"),
    (404, {"code": "model_not_found"}, 404, "model_not_found", 1, "invalid_request_error"),
    (405, {}, 400, "invalid_request", 1, "invalid_request_error"),
    (408, {}, 504, "upstream_timeout", 2, "upstream_error"),
    (409, {}, 502, "upstream_error", 2, "upstream_error"),
    (410, {}, 404, "model_not_found", 1, "invalid_request_error"),
    (413, {}, 413, "invalid_request", 1, "invalid_request_error"),
    (422, {}, 400, "invalid_request", 1, "invalid_request_error"),
    (425, {}, 502, "upstream_error", 2, "upstream_error"),
    (429, {}, 429, "rate_limit_exceeded", 2, "rate_limit_error"),
    (429, {"code": "insufficient_quota"}, 429, "insufficient_quota", 1, "insufficient_quota"),
    (500, {}, 502, "upstream_error", 2, "upstream_error"),
    (501, {}, 502, "upstream_error", 2, "upstream_error"),
    (502, {}, 502, "upstream_error", 2, "upstream_error"),
    (503, {}, 503, "upstream_overloaded", 2, "upstream_error"),
    (504, {}, 502, "upstream_error", 2, "upstream_error"),
    (520, {}, 502, "upstream_error", 2, "upstream_error"),
    (524, {}, 502, "upstream_error", 2, "upstream_error"),
    (529, {}, 503, "upstream_overloaded", 2, "upstream_error"),
]


@pytest.mark.parametrize(("status", "error", "expected", "code", "attempts", "type"), REFUSALS)
@both
async def test_a_refusal_becomes_the_error_it_means(
    stage: Stage,
    status: int,
    error: dict[str, str],
    expected: int,
    code: str,
    attempts: int,
    type: str | None,
    stream: bool,
) -> None:
    scene = stage.plays(said(status, "sorry, no", (), **error), alone=status in (401, 402))
    answer = await scene.ask(stream=stream)
    message = assert_error(answer, expected, code, type=type)
    assert message.startswith(f"{scene.model}: ")
    assert "sorry, no" in message
    if "param" in error:
        assert answer.error["param"] == error["param"]
    told = answer.error["details"]["attempts"]
    assert [(attempt["deployment"], attempt["status"]) for attempt in told] == [(scene.model, status)] * attempts
    await stage.settled(answer, error=code, attempts=attempts)
    assert len(scene.requests) == attempts


async def test_a_refused_credential_is_never_the_clients_401(stage: Stage) -> None:
    scene = stage.plays(said(401, "Incorrect API key provided", code="invalid_api_key"), alone=True)
    answer = await scene.ask()
    assert answer.status == 502
    assert "www-authenticate" not in answer.headers
    assert "refused our credential" in answer.error["message"]


DATE = email.utils.formatdate(1_800_000_000, usegmt=True)
LATER = email.utils.formatdate(1_800_000_005, usegmt=True)
EARLIER = email.utils.formatdate(1_799_999_000, usegmt=True)
WAITS: list[tuple[list[tuple[str, str]], float]] = [
    ([("retry-after", "2")], 2),
    ([("retry-after", "0.5")], 0.5),
    ([("retry-after-ms", "1500"), ("retry-after", "9")], 1.5),
    ([("date", DATE), ("retry-after", LATER)], 5),
    ([("date", DATE), ("retry-after", EARLIER)], 1),
    ([("retry-after", "300")], 300),
    ([("retry-after", "86400")], 86400),
    ([("retry-after", "86401")], 900),
    ([("retry-after", "1000000000")], 900),
    *(([("retry-after", text)], 1) for text in ("-1", "0", "nan", "inf", "1e999", "", "soon")),
    ([("retry-after", "2"), ("retry-after", "3")], 1),
]
"""Headers, and for how long the key rests: a second where nothing usable is said, less than a day in any case."""


@pytest.mark.parametrize(("headers", "seconds"), WAITS)
async def test_what_an_upstream_says_about_waiting_is_obeyed_and_reaches_the_client(
    stage: Stage, headers: list[tuple[str, str]], seconds: float
) -> None:
    scene = stage.plays(said(429, "slow down", tuple(headers))).hurries()
    for attempts in (1, 0) if seconds > 60 else (1,):
        started = time.monotonic()
        answer = await scene.ask()
        passed = time.monotonic() - started
        assert passed < 0.9 + SLACK
        assert_error(answer, 429, "rate_limit_exceeded")
        milliseconds = int(answer.headers["retry-after-ms"])
        assert max(0, seconds - SLACK) * 1000 <= milliseconds <= seconds * 1000
        assert int(answer.headers["retry-after"]) == math.ceil(milliseconds / 1000)
        await stage.settled(answer, error="rate_limit_exceeded", attempts=attempts)
    assert len(scene.requests) == 1


async def test_a_pause_that_fits_into_the_wait_is_waited_for(stage: Stage) -> None:
    scene = stage.plays(said(429, "slow down", (("retry-after-ms", "600"),)), fine("at last"))
    answer = await scene.ask()
    assert (answer.status, answer.headers["x-anyport-attempts"]) == (200, "2")
    first, second = scene.requests
    assert 0.6 <= second.at - first.at < 0.6 + SLACK
    await stage.settled(answer, attempts=2)


async def test_a_pause_holds_for_later_requests_and_nobody_asks_before(stage: Stage) -> None:
    scene = stage.plays(said(503, "slow down", (("retry-after", "60"),)), fine("too early"))
    for attempts in (1, 0, 0):
        answer = await scene.ask()
        assert_error(answer, 503, "upstream_overloaded")
        assert 60 - SLACK <= int(answer.headers["retry-after"]) <= 60
        await stage.settled(answer, error="upstream_overloaded", attempts=attempts)
    assert len(scene.requests) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_an_upstreams_headers_are_forwarded_by_name_only(stage: Stage, stream: bool) -> None:
    theirs = [
        ("set-cookie", "session=upstream"),
        ("server", "upstream-server"),
        ("x-request-id", "upstreams-own"),
        ("openai-organization", "org-of-ours"),
        ("keep-alive", "timeout=5"),
        ("x-secret", "v"),
        ("x-ratelimit-remaining-requests", "59"),
        ("openai-version", "2020-10-01"),
    ]
    if stream:
        whole = b"".join(step for step in sse_response(GOOD_STREAM, chunked=False).steps if isinstance(step, bytes))
        scene = stage.plays(raw(response(200, [SSE_TYPE, *theirs], whole.partition(b"\r\n\r\n")[2])))
    else:
        scene = stage.plays(json_response(completion(), headers=theirs))
    answer = await scene.ask(stream=stream)
    assert answer.status == 200
    forwarded = {name for name, _ in theirs if name in answer.headers} - {"x-request-id"}
    assert forwarded == {"x-ratelimit-remaining-requests", "openai-version"}
    assert answer.headers["x-request-id"] != "upstreams-own"
    await stage.settled(answer)


@pytest.mark.parametrize("status", [200, 403, 404, 500, 502, 503])
@both
async def test_html_never_reaches_the_client(stage: Stage, status: int, stream: bool) -> None:
    page = b"<!DOCTYPE html><html><body>Bad gateway, ray 1234567890</body></html>"
    scene = stage.plays(raw(response(status, [("content-type", "text/html")], page)))
    answer = await scene.ask(stream=stream)
    assert answer.status == {404: 404, 503: 503}.get(status, 502)
    assert "<html" not in answer.error["message"].lower()
    assert "1234567890" not in answer.body.decode()
    attempts = 1 if status in (403, 404) else 2
    await stage.settled(answer, error=answer.error["code"], attempts=attempts)
    assert len(scene.requests) == attempts


@pytest.mark.parametrize("late", [0.0, 0.05], ids=["same packet", "later"])
async def test_bytes_after_an_answer_never_become_the_next_ones_answer(stage: Stage, late: float) -> None:
    surplus = response(200, [JSON_TYPE], json.dumps(completion("of somebody else")).encode())
    good = response(200, [JSON_TYPE], BODY)
    first = stage.plays(raw(good, late, surplus) if late else raw(good + surplus))
    answer = await first.ask()
    assert (answer.status, answer.body) == (200, BODY)
    await asyncio.sleep(late * 1.5)
    second = stage.plays(fine("mine"))
    assert (await second.ask()).json["choices"][0]["message"]["content"] == "mine"
    assert second.requests[0].connection != first.requests[0].connection
    await stage.quiet()


async def test_the_stream_and_the_json_form_of_a_request_differ_in_nothing_else(stage: Stage) -> None:
    def script(recorded: Recorded) -> Played:
        return sse_response([delta(content="x", finish="stop")]) if json.loads(recorded.body).get("stream") else fine()

    scene = stage.plays(script)
    answers = [await scene.ask(stream=stream) for stream in (False, True)]
    assert [answer.status for answer in answers] == [200, 200]
    heads = [{k: v for k, v in r.headers.items() if k != "content-length"} for r in scene.requests]
    assert heads[0] == heads[1]
