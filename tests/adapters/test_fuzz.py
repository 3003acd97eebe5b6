"""Damaged bytes: an adapter answers with its own three exceptions or with whole events, and stays within its caps.

For a long run: `make fuzz`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import whole
from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.failures import Failure
from adapters.framing import FramingError
from adapters.framing.sse import Splitter
from adapters.openai import stream as stream_module
from adapters.types import Head, Operation
from gateway.errors import GatewayError
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import ADAPTERS, Case, events, load_cases, play, run, target_of
from tests.adapters.streams import cuts, streams

STREAMS = [case for case in load_cases() if case.call.stream]
RELAYED = [case for case in STREAMS if case.adapter.protocol == "openai"]
OF_LINES = [case for case in STREAMS if case.suffix != ".bin" and b"\r" not in case.upstream]
REPLIES = [case for case in load_cases() if not case.call.stream]
JUNK = [b"\x00", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"{", b"}", b"[", b"]", b'"', b"null", b"1e999", b"-0", b"\n\n"]
pytestmark = pytest.mark.fuzz
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["type", "text", "function", "name", "schema", "json_schema", "content", "role", "error", "x"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
RULES: list[dict[str, Any]] = [
    {},
    {
        "reasoning_excluded": True,
        "reasoning_out": "think_tags",
        "reasoning_in": "with_tool_calls",
        "strip_nulls": True,
        "wrap_functions": True,
        "string_content": True,
        "rename": {"max_completion_tokens": "max_tokens"},
        "clamp": {"temperature": [0, 1]},
        "limit_items": {"stop": 4},
        "reject_above": {"n": 1},
        "drop_values": {"n": ["1"]},
        "tool_choice": {"named": "filter", "required": "any"},
        "tool_drop": ["strict"],
        "json_schema": "json_object",
        "roles": {"developer": "system"},
        "message_drop": ["name"],
    },
    {"json_object": "json_schema", "json_schema": "reject", "reasoning_in": "drop", "tool_choice": {"named": "drop"}},
]


ANY_RULES = st.sampled_from(RULES)
CHAT = st.sampled_from([Operation.CHAT, Operation.COMPLETIONS])
GONE = st.sets(st.sampled_from(["tools", "functions", "messages", "response_format", "tool_choice", "function_call"]))
WAITS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "date"]),
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            ["1", "-1", "nan", "1e999", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 9999 07:28:00 +9999"]
        ),
    ),
)
ANSWERS = {Operation.EMBEDDINGS: "data", Operation.RERANK: "results"}
BODIES = st.one_of(st.binary(max_size=60), VALUES.map(lambda value: json.dumps(value).encode()))
STATUSES = st.sampled_from([200, 400, 401, 403, 404, 422, 429, 500, 503, 599])


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draws `whole` with some bytes changed, cut out, doubled or put in."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.integers(0, 40))
        kind = draw(st.integers(0, 4))
        if kind == 0 and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + size]
        elif kind == 3:
            data[at:at] = draw(st.sampled_from(JUNK))
        else:
            del data[at:]
    return bytes(data)


@st.composite
def replaced(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draws the JSON object `whole` with one value anywhere in it replaced by another of any type."""
    value = json.loads(whole)
    parent, key = value, draw(st.sampled_from(sorted(value)))
    while isinstance(parent[key], dict | list) and parent[key] and draw(st.integers(0, 3)):
        parent = parent[key]
        key = (
            draw(st.integers(0, len(parent) - 1)) if isinstance(parent, list) else draw(st.sampled_from(sorted(parent)))
        )
    parent[key] = draw(VALUES)
    return json.dumps(value).encode()


def is_object(text: bytes) -> bool:
    """True for one JSON object in which something can be replaced."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and value != {}


def judge_stream(case: Case, upstream: bytes, pieces: list[bytes]) -> None:
    decoder = case.adapter.stream(case.call, case.target, case.head)
    output = run(decoder, pieces)
    found = events(output)
    assert "[DONE]" not in found[:-1]
    assert (found[-1:] == ["[DONE]"]) == decoder.is_done
    assert decoder.is_done != isinstance(decoder.failure, Failure), "a stream ends well or badly, never both"
    assert decoder.feed(upstream) == decoder.close() == b"", "nothing follows the end"
    for event in found:
        assert event == "[DONE]" or isinstance(event["choices"], list)


def judge_reply(case: Case, upstream: bytes) -> None:
    try:
        reply = case.adapter.reply(case.call, case.target, case.head, upstream)
    except (Malformed, UpstreamSaid) as error:
        assert str(error)
        return
    assert json.loads(reply.body)[ANSWERS.get(case.call.operation, "choices")]


def with_rules(case: Case, rules: dict[str, Any]) -> Case:
    """Returns the case at a server with these rules, if its protocol knows rules at all."""
    return replace(case, target=target_of(rules=rules)) if case.adapter.protocol == "openai" else case


@given(case=st.sampled_from(STREAMS), rules=ANY_RULES, data=st.data())
def test_a_damaged_stream_never_raises(case: Case, rules: dict[str, Any], data: st.DataObject) -> None:
    upstream = data.draw(damaged(case.upstream))
    judge_stream(with_rules(case, rules), upstream, data.draw(cuts(upstream)))


@given(
    case=st.sampled_from([case for case in STREAMS if case.suffix != ".bin" and b"\r" not in case.upstream]),
    rules=ANY_RULES,
    data=st.data(),
)
def test_an_event_with_a_foreign_value_never_raises(case: Case, rules: dict[str, Any], data: st.DataObject) -> None:
    lines = case.upstream.split(b"\n")
    which = [n for n, line in enumerate(lines) if is_object(line.removeprefix(b"data: "))]
    if which:
        number = data.draw(st.sampled_from(which))
        head = b"data: " if lines[number].startswith(b"data: ") else b""
        lines[number] = head + data.draw(replaced(lines[number].removeprefix(head)))
    upstream = b"\n".join(lines)
    judge_stream(with_rules(case, rules), upstream, [upstream])


@given(case=st.sampled_from(REPLIES), rules=ANY_RULES, data=st.data())
def test_a_damaged_answer_is_refused_or_read(case: Case, rules: dict[str, Any], data: st.DataObject) -> None:
    judge_reply(with_rules(case, rules), data.draw(damaged(case.upstream)))
    if is_object(case.upstream):
        judge_reply(with_rules(case, rules), data.draw(replaced(case.upstream)))


REQUEST = {
    "model": "p/m",
    "messages": [
        {"role": "developer", "name": "n", "content": [{"type": "text", "text": "x"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "x"},
        {"role": "assistant", "content": "a", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": None},
    ],
    "stream": True,
    "stream_options": {"include_usage": False},
    "tools": [{"type": "function", "function": {"name": "f", "strict": True}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
    "stop": ["a"],
    "n": 1,
    "temperature": 0.5,
    "max_completion_tokens": 5,
}


@given(rules=ANY_RULES, operation=CHAT, gone=GONE, data=st.data())
def test_a_request_is_made_or_refused(
    rules: dict[str, Any], operation: Operation, gone: set[str], data: st.DataObject
) -> None:
    kept = {name: value for name, value in REQUEST.items() if name not in gone}
    body = data.draw(replaced(json.dumps({**kept, "prompt": "x"}).encode()))
    try:
        call = read_call(operation, body, id="chatcmpl-1", created=1)
    except GatewayError:
        return
    before = dict(call.fields)
    try:
        request = ADAPTERS["openai"].request(call, target_of(rules=rules))
    except Unsupported as refusal:
        assert refusal.param.partition(".")[0] in REQUEST
        return
    assert json.loads(request.body)["model"] == "upstream-model"
    assert call.fields == before


@given(protocol=st.sampled_from(sorted(ADAPTERS)), status=STATUSES, body=BODIES, headers=WAITS)
def test_any_error_body_is_classified(protocol: str, status: int, body: bytes, headers: dict[str, str]) -> None:
    failure = ADAPTERS[protocol].failure(target_of(protocol=protocol), Head(status, headers), body)
    assert failure.message
    assert failure.retry_after is None or 0 < failure.retry_after < float("inf")


@given(upstream=streams(), cap=st.integers(20, 200), data=st.data())
def test_the_splitter_keeps_no_more_than_its_cap(upstream: bytes, cap: int, data: st.DataObject) -> None:
    splitter = Splitter(cap)
    for piece in data.draw(cuts(upstream)):
        try:
            splitter.feed(piece)
        except FramingError:
            return
        assert len(splitter.close()) <= cap
        splitter = Splitter(cap)


def test_an_endless_event_is_given_up_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "MAX_EVENT_BYTES", 1000)
    case = RELAYED[0]
    decoder = case.adapter.stream(case.call, case.target, case.head)
    fed = 0
    while decoder.failure is None:
        decoder.feed(b"data: " if not fed else b"x" * 100)
        fed += 100
        assert fed < 1300
    assert decoder.failure.code == "upstream_invalid_event"


def test_an_endless_json_answer_to_a_stream_is_given_up_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "MAX_EVENT_BYTES", 1000)
    case = RELAYED[0]
    decoder = case.adapter.stream(case.call, case.target, Head(200, {"content-type": "application/json"}))
    for _ in range(11):
        decoder.feed(b"x" * 100)
    assert decoder.failure is not None
    assert decoder.failure.code == "upstream_invalid_response"


def test_what_came_before_an_endless_event_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "MAX_EVENT_BYTES", 1000)
    case = next(case for case in RELAYED if case.directory.name == "stream_cut_off")
    upstream = case.upstream + b"data: " + b"x" * 1100
    cut = play(case, [case.upstream, upstream[len(case.upstream) :]])
    assert play(case, [upstream]) == cut
    assert cut.output == case.upstream


UNREADABLE = [b"1e999", b"-1e400", b"9" * 400, b"[" * 5000 + b"]" * 5000, b'"\\ud800"', b'{"error":1e999}']


@pytest.mark.parametrize("value", UNREADABLE, ids=range(len(UNREADABLE)))
@pytest.mark.parametrize("name", [b"x", b"usage", b"x_groq", b"error", b"id", b"created", b"base_resp"])
def test_a_member_that_no_library_reads_never_raises(name: bytes, value: bytes) -> None:
    for case in load_cases():
        upstream = case.upstream.replace(b'{"id"', b'{"' + name + b'":' + value + b',"id"')
        if case.call.stream:
            judge_stream(case, upstream, [upstream])
        else:
            judge_reply(case, upstream)
