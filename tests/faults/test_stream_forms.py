"""The same stream in every form that an upstream may give it: other line ends, other packets, other lengths."""

from __future__ import annotations

import json

import pytest

from tests.faults.client import DONE
from tests.faults.shapes import (
    FINISH,
    GOOD_STREAM,
    GOOD_TEXT,
    JSON_TYPE,
    ROLE,
    USAGE,
    completion,
    delta,
    event,
)
from tests.faults.stage import Stage
from tests.faults.streaming import (
    CHUNKED,
    GOOD_BODY,
    assert_whole,
    sdk_text,
    stream_of,
)
from tests.upstreams.scripted import chunk, json_response, raw, response

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"upstream": {"head_seconds": 10, "between_tokens_seconds": 10, "total_seconds": 20}}

# The same stream in other forms


FORMS: dict[str, bytes] = {
    "crlf": GOOD_BODY.replace(b"\n", b"\r\n"),
    "cr": GOOD_BODY.replace(b"\n", b"\r"),
    "mixed": GOOD_BODY.replace(b"\n\n", b"\r\n\n", 2),
    "no space": GOOD_BODY.replace(b"data: ", b"data:"),
    "comments": GOOD_BODY.replace(b"\n\ndata", b"\n\n: hi\n\ndata"),
    "id, retry and event lines": GOOD_BODY.replace(b"data: {", b"event: chunk\nid: 7\nretry: 5\ndata: {"),
    "byte order mark": b"\xef\xbb\xbf" + GOOD_BODY,
    "several data lines": GOOD_BODY.replace(b', "choices"', b',\ndata: "choices"'),
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
async def test_every_form_of_a_stream_says_the_same(stage: Stage, body: bytes) -> None:
    answer = await assert_whole(stage, stream_of(body))
    assert [json.loads(one) for one in answer.events[:-1]] == GOOD_STREAM


@pytest.mark.parametrize("body", [GOOD_BODY, FORMS["crlf"], FORMS["cr"]], ids=["lf", "crlf", "cr"])
async def test_every_way_of_cutting_a_stream_says_the_same(stage: Stage, body: bytes) -> None:
    pieces = [body[at : at + 1] for at in range(len(body))]
    answer = await assert_whole(stage, raw(CHUNKED, *map(chunk, pieces), b"0\r\n\r\n"))
    assert [json.loads(one) for one in answer.events[:-1]] == GOOD_STREAM


async def test_a_character_split_over_packets_stays_whole(stage: Stage) -> None:
    body = b"".join(event(json.dumps(part, ensure_ascii=False).encode()) for part in GOOD_STREAM) + DONE
    cut = body.index("ö".encode()) + 1
    await assert_whole(stage, raw(CHUNKED, chunk(body[:cut]), 0.03, chunk(body[cut:]), b"0\r\n\r\n"))


SPEAKING = {
    "line separators": "a\u2028b\u2029c\u0085d",
    "events within text": 'x\n\ndata: [DONE]\n\ndata: {"error": {"message": "evil"}}\n\n',
    "carriage returns": "a\r\nb\rc",
    "error key": '{"error": {"message": "evil"}}',
    "NUL and bidi": "a\u0000b\u202ec\u200bd\U0001f600",
}


@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "raw"])
@pytest.mark.parametrize("text", SPEAKING.values(), ids=SPEAKING)
async def test_content_that_looks_like_a_stream_stays_content(stage: Stage, text: str, ascii_only: bool) -> None:
    part = json.dumps(delta(content=text), ensure_ascii=ascii_only).encode()
    answer = await assert_whole(stage, stream_of(ROLE, event(part), FINISH, DONE), text)
    assert len(answer.events) == 4


async def test_a_json_answer_to_a_stream_request_is_told_as_a_stream(stage: Stage) -> None:
    answer = await assert_whole(stage, json_response(completion("Hello")), "Hello")
    assert [json.loads(one)["object"] for one in answer.events[:-1]] == ["chat.completion.chunk"] * 2


async def test_a_broken_json_answer_to_a_stream_request_is_an_http_error(stage: Stage) -> None:
    for body in (b"{}", b"[]", b"x", b"", json.dumps(completion()).encode()[:-2]):
        answer = await stage.plays(raw(response(200, [JSON_TYPE], body))).ask(stream=True)
        assert answer.status == 502
        assert answer.error["type"] == "upstream_error"
    await stage.quiet()


async def test_odd_usage_in_a_stream_costs_nothing(stage: Stage) -> None:
    for usage in ("x", [], {"prompt_tokens": -1}, {"prompt_tokens": "3"}, {}):
        await assert_whole(stage, stream_of(*GOOD_STREAM, {**delta(), "choices": [], "usage": usage}, DONE))


async def test_usage_twice_counts_the_last(stage: Stage) -> None:
    first = {**delta(), "choices": [], "usage": {**USAGE, "prompt_tokens": 1}}
    last = {**delta(), "choices": [], "usage": USAGE}
    scene = stage.plays(stream_of(*GOOD_STREAM, first, last, DONE))
    record = await stage.settled(await scene.ask(stream=True))
    assert (record["prompt_tokens"], record["completion_tokens"]) == (3, 2)


# Quantity


async def test_a_burst_of_ten_thousand_events_arrives_whole_and_in_order(stage: Stage) -> None:
    words = [f"{number} " for number in range(10_000)]
    body = event(ROLE) + b"".join(event(delta(content=word)) for word in words) + event(FINISH) + DONE
    pieces = [body[at : at + 60_000] for at in range(0, len(body), 60_000)]
    before = stage.gateway.rss_bytes()
    answer = await assert_whole(stage, raw(CHUNKED, *map(chunk, pieces), b"0\r\n\r\n"), "".join(words))
    assert answer.body == body
    assert stage.gateway.rss_bytes() - before < 24_000_000


async def test_the_sdk_reads_a_good_stream(stage: Stage) -> None:
    scene = stage.plays(stream_of(GOOD_BODY))
    assert await sdk_text(stage, scene) == (GOOD_TEXT, None)
