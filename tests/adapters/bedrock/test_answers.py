"""What Converse answers, whole and as a stream, as the client gets it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import FailureKind
from adapters.types import Call, Head, Usage
from tests.adapters.bedrock.answering import (
    COUNTS,
    HEAD,
    START,
    delta,
    deltas,
    ended,
    event,
    replied,
    stop,
    streamed,
    tool_start,
    whole,
)
from tests.adapters.bedrock.asking import ADAPTER, CLAUDE_3, NOVA, TOOL, call_of, target
from tests.adapters.recorded import events
from tests.adapters.streams import cuts

CUSTOM = {"type": "custom", "custom": {"name": "run"}}


def test_text_needs_no_start_of_its_block() -> None:
    found, decoder = streamed(delta(0, text="a"), delta(0, text=""), delta(0, text="é"), ended())
    assert deltas(found) == [{"content": "a"}, {"content": "é"}]
    assert decoder.finish == "stop"
    assert decoder.is_done


def test_the_reason_the_counts_and_the_end_come_in_this_order() -> None:
    found, _ = streamed(delta(0, text="a"), ended(), stream_options={"include_usage": True})
    assert found[-3]["choices"][0]["finish_reason"] == "stop"
    assert found[-2]["usage"]["total_tokens"] == 8
    assert found[-1] == "[DONE]"


def test_the_end_is_held_until_the_counts_came() -> None:
    decoder = ADAPTER.stream(call_of(stream=True), target(), HEAD)
    decoder.feed(START + delta(0, text="a"))
    assert decoder.feed(event("messageStop", {"stopReason": "end_turn"})) == b""
    assert not decoder.is_done
    assert decoder.feed(event("metadata", {"usage": COUNTS})).endswith(b"[DONE]\n\n")


def test_a_start_alone_is_no_content() -> None:
    decoder = ADAPTER.stream(call_of(stream=True), target(), HEAD)
    assert decoder.feed(START + delta(0, text="")) == b""
    assert not decoder.has_content


def test_calls_are_numbered_on_their_own() -> None:
    found, decoder = streamed(
        delta(0, text="wait"), stop(0),
        tool_start(1, "a"), delta(1, toolUse={"input": '{"x":'}), delta(1, toolUse={"input": "1}"}), stop(1),
        tool_start(2, "b"), stop(2),
        ended("tool_use"), tools=[TOOL],
    )  # fmt: skip
    calls = [each["tool_calls"][0] for each in deltas(found) if "tool_calls" in each]
    assert [call["index"] for call in calls] == [0, 0, 0, 1, 1]
    assert [call["function"]["arguments"] for call in calls] == ["", '{"x":', "1}", "", "{}"]
    assert [call["id"] for call in calls if "id" in call] == ["a", "b"]
    assert decoder.finish == "tool_calls"


def test_a_call_that_never_closed_still_has_arguments() -> None:
    found, _ = streamed(tool_start(0), ended("tool_use"), tools=[TOOL])
    assert deltas(found)[-1] == {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}


def test_arguments_of_no_call_are_an_error() -> None:
    _, decoder = streamed(delta(4, toolUse={"input": "{}"}), ended())
    assert decoder.failure is not None
    assert decoder.failure.kind is FailureKind.MALFORMED


def test_calls_that_bedrock_carries_out_itself_are_not_the_clients() -> None:
    found, decoder = streamed(
        tool_start(0, type="server_tool_use"), delta(0, toolUse={"input": "{}"}), stop(0),
        event("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolResult": {"toolUseId": "t"}}}),
        delta(1, toolResult=[{"text": "found"}]), delta(2, text="Paris"), ended(),
        model=NOVA,
    )  # fmt: skip
    assert deltas(found) == [{"content": "Paris"}]
    assert decoder.finish == "stop"


def test_the_text_of_a_custom_tool_is_taken_out_of_its_arguments() -> None:
    pieces = [delta(0, toolUse={"input": piece}) for piece in ('{"inp', 'ut":"print(', '\\"é\\")"}')]
    found, _ = streamed(tool_start(0, name="run"), *pieces, stop(0), ended("tool_use"), tools=[CUSTOM])
    assert deltas(found)[1] == {"tool_calls": [{"index": 0, "custom": {"input": 'print("é")'}}]}
    use = {"toolUse": {"toolUseId": "t", "name": "run", "input": {"input": "x"}}}
    made = json.loads(replied(whole([use], "tool_use"), tools=[CUSTOM]).body)["choices"][0]["message"]
    assert made["tool_calls"] == [{"id": "t", "type": "custom", "custom": {"name": "run", "input": "x"}}]


@pytest.mark.parametrize("pieces", [[], ['{"inp'], ["5"], ['{"a":1}']])
def test_arguments_of_a_custom_tool_that_make_no_sense_are_told_as_they_are(pieces: list[str]) -> None:
    sent = [delta(0, toolUse={"input": piece}) for piece in pieces]
    found, decoder = streamed(tool_start(0, name="run"), *sent, ended("tool_use"), tools=[CUSTOM])
    assert decoder.failure is None
    assert [each["tool_calls"][0]["custom"]["input"] for each in deltas(found)] == ["", *pieces]


FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


def test_an_answer_given_by_a_tool_is_text() -> None:
    pieces = [delta(0, toolUse={"input": piece}) for piece in ('{"a":', '"b"}')]
    found, decoder = streamed(
        tool_start(0, name="answer_in_this_form"), *pieces, ended("tool_use"), model=CLAUDE_3, response_format=FORM
    )
    assert deltas(found) == [{"content": '{"a":'}, {"content": '"b"}'}]
    assert decoder.finish == "stop"
    use = {"toolUse": {"toolUseId": "t", "name": "answer_in_this_form", "input": {"a": "b"}}}
    reply = replied(whole([use], "tool_use"), CLAUDE_3, response_format=FORM)
    assert reply.finish == "stop"
    assert json.loads(reply.body)["choices"][0]["message"]["content"] == '{"a":"b"}'


def test_words_around_an_answer_given_by_a_tool_are_no_part_of_it() -> None:
    name = "answer_in_this_form"
    uses = [{"toolUse": {"toolUseId": id, "name": name, "input": {"a": id}}} for id in ("t", "u")]
    content = [{"text": "Here:"}, *uses, {"text": "Done."}]
    (made,) = json.loads(replied(whole(content, "tool_use"), NOVA, response_format=FORM).body)["choices"]
    assert (made["message"]["content"], made["finish_reason"]) == ('{"a":"t"}', "stop")
    parts = [delta(0, text="Here:"), stop(0)]
    for index, id in ((1, "t"), (2, "u")):
        parts += [tool_start(index, id, name), delta(index, toolUse={"input": f'{{"a":"{id}"}}'}), stop(index)]
    found, decoder = streamed(*parts, delta(3, text="Done."), ended("tool_use"), model=NOVA, response_format=FORM)
    assert (deltas(found), decoder.finish) == ([{"content": '{"a":"t"}'}], "stop")


def test_words_stay_the_answer_where_the_tool_is_never_called_or_was_never_asked_for() -> None:
    said = [delta(0, text="a"), delta(0, text="b")]
    found, decoder = streamed(*said, ended(), model=NOVA, response_format=FORM)
    assert (deltas(found), decoder.failure) == ([{"content": "a"}, {"content": "b"}], None)
    cut, decoder = streamed(*said, model=NOVA, response_format=FORM)
    assert decoder.failure is not None
    assert (cut, decoder.has_content) == ([], False)
    thinking = delta(0, reasoningContent={"text": "hm"})
    call = call_of(stream=True, response_format=FORM)
    decoder = ADAPTER.stream(call, target(CLAUDE_3), HEAD)
    assert b'"b"' in decoder.feed(START + thinking + delta(1, text="b"))


def test_names_that_bedrock_forbids_come_back_as_the_client_wrote_them() -> None:
    name = "a.b c"
    tools = [{"type": "function", "function": {"name": name}}]
    body = json.loads(ADAPTER.request(call_of(tools=tools), target()).body)
    sent = body["toolConfig"]["tools"][0]["toolSpec"]["name"]
    found, _ = streamed(tool_start(0, name=sent), ended("tool_use"), tools=tools)
    assert deltas(found)[0]["tool_calls"][0]["function"]["name"] == name
    made = replied(whole([{"toolUse": {"toolUseId": "t", "name": sent, "input": {}}}], "tool_use"), tools=tools)
    assert f'"name":"{name}"'.encode() in made.body


def test_reasoning_comes_with_what_is_needed_to_send_it_back() -> None:
    found, _ = streamed(
        delta(0, reasoningContent={"text": "hm "}), delta(0, reasoningContent={"text": "so"}),
        delta(0, reasoningContent={"signature": "sig"}), stop(0),
        delta(1, reasoningContent={"redactedContent": "ZGF0YQ=="}), stop(1), delta(2, text="a"), ended(),
    )  # fmt: skip
    signed = {
        "type": "reasoning.text", "text": "hm so", "signature": "sig", "format": "anthropic-claude-v1", "index": 0
    }  # fmt: skip
    hidden = {"type": "reasoning.encrypted", "data": "ZGF0YQ==", "format": "bedrock-converse-v1", "index": 1}
    assert deltas(found) == [
        {"reasoning_content": "hm "},
        {"reasoning_content": "so"},
        {"reasoning_details": [signed]},
        {"reasoning_details": [hidden]},
        {"content": "a"},
    ]
    content = [
        {"reasoningContent": {"reasoningText": {"text": "hm so", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": "ZGF0YQ=="}},
        {"text": "a"},
    ]
    made = json.loads(replied(whole(content)).body)["choices"][0]["message"]
    assert made["reasoning_content"] == "hm so"
    assert made["reasoning_details"] == [signed, hidden]


def test_reasoning_without_a_signature_is_text_only() -> None:
    found, _ = streamed(delta(0, reasoningContent={"text": "hm"}), stop(0), delta(1, text="a"), ended())
    assert deltas(found) == [{"reasoning_content": "hm"}, {"content": "a"}]
    made = json.loads(replied(whole([{"reasoningContent": {"reasoningText": {"text": "hm"}}}])).body)
    assert "reasoning_details" not in made["choices"][0]["message"]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("something_new", "stop"),
        ("tool_use", "stop"),
    ],
)
def test_every_reason_has_its_word(reason: str, finish: str) -> None:
    assert replied(whole([{"text": "a"}], reason)).finish == finish
    assert streamed(delta(0, text="a"), ended(reason))[1].finish == finish


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_nonsense_of_the_model_is_an_error(reason: str) -> None:
    with pytest.raises(UpstreamSaid) as said:
        replied(whole([{"text": "a"}], reason))
    assert said.value.failure.kind is FailureKind.SERVER
    found, decoder = streamed(delta(0, text="a"), ended(reason))
    assert decoder.failure is not None
    assert "[DONE]" not in found


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (COUNTS, Usage(3, 5)),
        ({**COUNTS, "cacheReadInputTokens": 10, "cacheWriteInputTokens": 4}, Usage(17, 5, 10, 4)),
        ({"inputTokens": None, "outputTokens": -1}, Usage(0, 0)),
        ({"inputTokens": "7", "outputTokens": 2**70}, Usage(0, 0)),
        ({"inputTokens": True, "outputTokens": 2.5}, Usage(0, 0)),
        ({}, None),
        (None, None),
        ([1], None),
    ],
)
def test_counts_are_read_if_they_make_sense(usage: Any, expected: Any) -> None:
    assert replied(whole([{"text": "a"}], usage=usage)).usage == expected
    assert streamed(delta(0, text="a"), ended(usage=usage))[1].usage == expected


ATOMS = st.sampled_from(
    [
        delta(0, text="a"), delta(0, text="é漢🙂\u2028\""), tool_start(1, "a"), delta(1, toolUse={"input": '{"x":1}'}),
        stop(1), tool_start(2, "b", name="run"), delta(2, toolUse={"input": '{"input":"y"}'}), stop(2), stop(0),
        delta(3, reasoningContent={"text": "hm"}), delta(3, reasoningContent={"signature": "s"}), stop(3),
        delta(4, reasoningContent={"redactedContent": "eA=="}), ended(), ended("tool_use"),
        event("throttlingException", {"message": "no"}, "exception"), b"\x00\x01",
    ]
)  # fmt: skip


@given(parts=st.lists(ATOMS, max_size=10), data=st.data())
def test_any_stream_is_the_same_however_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    stream = START + b"".join(parts)
    call = call_of(stream=True, tools=[TOOL, CUSTOM])
    outputs = []
    for pieces in ([stream], data.draw(cuts(stream))):
        decoder = ADAPTER.stream(call, target(), HEAD)
        out = b"".join(decoder.feed(piece) for piece in pieces) + decoder.close()
        kind = decoder.failure and (decoder.failure.kind, decoder.failure.code)
        outputs.append((out, decoder.finish, decoder.usage, decoder.is_done, kind))
    assert outputs[0] == outputs[1]
    found = events(outputs[0][0])
    assert ("[DONE]" in found) == outputs[0][3]


def a_call() -> Call:
    return call_of(stream=True)


def test_plain_json_to_a_stream_request_is_told_as_a_stream() -> None:
    decoder = ADAPTER.stream(a_call(), target(), Head(200, {"content-type": "application/json"}))
    out = decoder.feed(whole([{"text": "hi"}])) + decoder.close()
    assert deltas(events(out)) == []
    assert events(out)[0]["choices"][0]["delta"]["content"] == "hi"
    assert decoder.is_done


WORDS = [
    "text",
    "toolUse",
    "toolUseId",
    "name",
    "input",
    "reasoningContent",
    "reasoningText",
    "signature",
    "citationsContent",
    "content",
    "type",
]


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-2, 2**70), st.floats(allow_nan=False), st.text(max_size=5))


VALUES = st.recursive(
    st.one_of(LEAVES, st.sampled_from([{"text": "a"}, {"toolUse": {"input": "{}"}}, {"reasoningContent": {}}])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip


MEMBERS = st.dictionaries(st.sampled_from(["delta", "start", "contentBlockIndex", "stopReason", "usage", "p"]), VALUES)


NAMES = st.sampled_from(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "odd"]
)


@given(parts=st.lists(st.tuples(NAMES, MEMBERS), max_size=6), kind=st.sampled_from(["event", "event", "exception"]))
def test_no_event_however_odd_breaks_the_decoder(parts: list[tuple[str, Any]], kind: str) -> None:
    found, decoder = streamed(
        delta(0, text="a"), *(event(name, members, kind) for name, members in parts), tools=[TOOL]
    )
    assert ("[DONE]" in found) == decoder.is_done
    assert decoder.is_done != (decoder.failure is not None)


@given(content=VALUES, reason=VALUES, usage=VALUES)
def test_no_answer_however_odd_breaks_the_reader(content: Any, reason: Any, usage: Any) -> None:
    body = json.dumps({"output": {"message": {"content": [content]}}, "stopReason": reason, "usage": usage}).encode()
    try:
        reply = replied(body, tools=[TOOL])
    except (Malformed, UpstreamSaid):
        return
    assert json.loads(reply.body)["choices"][0]["finish_reason"]
