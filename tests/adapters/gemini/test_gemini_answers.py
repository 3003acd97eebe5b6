"""Gemini's answers as a client gets them, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import FailureKind
from adapters.types import Reply, StreamDecoder, Usage
from tests.adapters.gemini.asking import (
    ADAPTER,
    OK,
    STREAMED,
    TOOL,
    USER,
    answered,
    call_of,
    contents_of,
    event,
    result,
    target,
)
from tests.adapters.recorded import events

CALL = {"functionCall": {"name": "look", "args": {"a": 1}}}


def reply(body: bytes, **fields: Any) -> Reply:
    return ADAPTER.reply(call_of(**fields), target(), OK, body)


def choice(body: bytes, **fields: Any) -> dict[str, Any]:
    return json.loads(reply(body, **fields).body)["choices"][0]


def told(*pieces: bytes, **fields: Any) -> tuple[list[dict[str, Any]], StreamDecoder]:
    """Returns the first choices of the frames, and the decoder after its end."""
    decoder = ADAPTER.stream(call_of(stream=True, **fields), target(), STREAMED)
    output = b"".join([*map(decoder.feed, pieces), decoder.close()])
    return [frame["choices"][0] for frame in events(output) if frame != "[DONE]"], decoder


def deltas(*pieces: bytes, **fields: Any) -> list[dict[str, Any]]:
    return [found["delta"] for found in told(*pieces, **fields)[0]]


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("STOP", "stop"), ("MAX_TOKENS", "length"), ("CONTINUATION", "length"), ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"), ("SPII", "content_filter"), ("MODEL_ARMOR", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"), ("LANGUAGE", "stop"), ("OTHER", "stop"), ("A_NEW_ONE", "stop"),
        (1, "stop"), (2, "length"), (3, "content_filter"),
    ],
)  # fmt: skip
def test_a_finish_reason_has_openais_word(word: Any, finish: str) -> None:
    assert choice(answered({"text": "a"}, finish=word))["finish_reason"] == finish
    found, decoder = told(event({"text": "a"}), event(finish=word))
    assert found[-1]["finish_reason"] == decoder.finish == finish


def test_calls_make_the_finish_wherever_they_came() -> None:
    assert choice(answered(CALL, {"text": ""}))["finish_reason"] == "tool_calls"
    found, _ = told(event(CALL), event({"text": ""}, finish="STOP"))
    assert found[-1]["finish_reason"] == "tool_calls"
    late, decoder = told(event({"text": "a"}, finish="STOP"), event(CALL))
    assert late[-1]["finish_reason"] == decoder.finish == "tool_calls"


@pytest.mark.parametrize("word", ["MALFORMED_FUNCTION_CALL", "MISSING_THOUGHT_SIGNATURE", "UNEXPECTED_TOOL_CALL"])
def test_a_broken_answer_is_a_failure_of_the_upstream(word: str) -> None:
    with pytest.raises(UpstreamSaid) as said:
        reply(answered({"text": "a"}, finish=word, finishMessage="no"))
    _, decoder = told(event({"text": "a"}), event(finish=word))
    for failure in (said.value.failure, decoder.failure):
        assert failure is not None
        assert (failure.kind, failure.code, failure.status) == (FailureKind.SERVER, word.lower(), 502)


@pytest.mark.parametrize(
    "body",
    [
        b"{}", b"[]", b'{"candidates":[]}', b'{"candidates":[{"content":{},"index":0}]}', b'{"candidates":null}',
        answered({"text": ""}, finish="A_NEW_ONE"), answered(finish=None), b'{"promptFeedback":{"safetyRatings":[]}}',
    ],
)  # fmt: skip
def test_an_empty_answer_is_no_success(body: bytes) -> None:
    with pytest.raises(Malformed) as error:
        reply(body)
    assert error.value.code == "upstream_empty_response"
    decoder = ADAPTER.stream(call_of(stream=True), target(), STREAMED)
    assert decoder.feed(b"data: " + body + b"\n\n") + decoder.close() == b""
    assert decoder.failure is not None


def test_a_model_that_stops_at_once_has_nothing_to_say() -> None:
    found = choice(answered({"text": ""}))
    assert (found["message"]["content"], found["finish_reason"]) == ("", "stop")
    frames, decoder = told(event({"text": ""}, finish="STOP"))
    assert [each["finish_reason"] for each in frames] == [None, "stop"]
    assert decoder.failure is None


def test_an_empty_answer_may_say_why() -> None:
    with pytest.raises(UpstreamSaid, match="internal error"):
        reply(answered(finish="OTHER", finishMessage="an internal error"))


def test_a_thinking_model_that_met_its_limit_has_said_nothing() -> None:
    body = b'{"candidates":[{"content":{"role":"model"},"finishReason":"MAX_TOKENS"}]}'
    assert choice(body)["message"]["content"] == ""
    found, _ = told(b"data: " + body + b"\n\n")
    assert [each["finish_reason"] for each in found] == [None, "length"]


@pytest.mark.parametrize("reason", ["SAFETY", "A_NEW_ONE", 1])
def test_a_blocked_prompt_is_a_choice_that_was_filtered(reason: Any) -> None:
    body = json.dumps({"promptFeedback": {"blockReason": reason}}).encode()
    made = choice(body)
    assert (made["message"]["content"], made["finish_reason"]) == (None, "content_filter")
    assert made["message"]["refusal"] == f"The prompt was blocked: {reason}"
    found, decoder = told(b"data: " + body + b"\n\n")
    assert found[0]["delta"]["role"] == "assistant"
    assert [each["finish_reason"] for each in found if each["finish_reason"]] == ["content_filter"]
    assert decoder.is_done


def test_thoughts_are_reasoning_and_no_content() -> None:
    parts = [{"text": "hm", "thought": True}, {"text": "hi"}]
    message = choice(answered(*parts))["message"]
    assert (message["reasoning_content"], message["content"]) == ("hm", "hi")
    assert deltas(event(parts[0]), event(parts[1], finish="STOP"))[1:3] == [
        {"reasoning_content": "hm"},
        {"content": "hi"},
    ]


def test_a_part_may_hold_text_and_a_call_at_once() -> None:
    part = {"text": "wait", **CALL, "thoughtSignature": "c2ln"}
    message = choice(answered(part))["message"]
    assert message["content"] == "wait"
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    assert "reasoning_details" not in message


def test_signatures_of_a_stream_go_back_as_they_came() -> None:
    said = {"text": "wait", "thoughtSignature": "dGV4dA=="}
    calls = ({**CALL, "thoughtSignature": "c2lnbmVk"}, CALL)
    found = deltas(event({"text": "hm", "thought": True}), event(said), event(*calls), event(finish="STOP"))
    heads = [call for each in found for call in each.get("tool_calls", ()) if "id" in call]
    assert [call.get("extra_content") for call in heads] == [{"google": {"thought_signature": "c2lnbmVk"}}, None]
    turn = {
        "role": "assistant",
        "content": "wait",
        "reasoning_details": [detail for each in found for detail in each.get("reasoning_details", ())],
        "tool_calls": heads,
    }
    sent = contents_of(USER, turn, *(result(call["id"]) for call in heads))[1]["parts"]
    assert [part.get("thoughtSignature") for part in sent] == ["dGV4dA==", "c2lnbmVk", None]


def test_calls_have_ids_of_their_own() -> None:
    def ids(*given: str | None) -> list[str]:
        parts = [{"functionCall": {"name": "look", "id": id} if id else {"name": "look"}} for id in given]
        message = choice(answered(*parts))["message"]
        found, _ = told(event(*parts, finish="STOP"))
        streamed = [call for each in found for call in each["delta"].get("tool_calls", ()) if "id" in call]
        assert [call["index"] for call in streamed] == list(range(len(given)))
        assert [call["id"] for call in streamed] == [call["id"] for call in message["tool_calls"]]
        return [call["id"] for call in message["tool_calls"]]

    assert ids("a", "b") == ["a", "b"]
    assert len(set(ids(None, None, "a", "a"))) == 4


@pytest.mark.parametrize(
    ("args", "text"), [(None, "{}"), ({}, "{}"), ({"é": [1, {"b": None}]}, '{"é":[1,{"b":null}]}')]
)
def test_arguments_are_json_text(args: Any, text: str) -> None:
    call = {"name": "look"} if args is None else {"name": "look", "args": args}
    body = json.dumps(
        {"candidates": [{"content": {"parts": [{"functionCall": call}]}, "finishReason": "STOP"}]}, indent=1
    )
    made = choice(body.encode())["message"]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(made) == json.loads(text)
    assert "\n" not in made


def test_arguments_that_are_no_object_are_malformed() -> None:
    part = {"functionCall": {"name": "look", "args": [1]}}
    with pytest.raises(Malformed, match="no object"):
        reply(answered(part))
    assert told(event(part, finish="STOP"))[1].failure is not None


def test_the_older_function_call_is_answered_as_such() -> None:
    made = choice(answered(CALL), functions=[TOOL["function"]])
    assert (made["message"]["function_call"]["name"], made["finish_reason"]) == ("look", "function_call")


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (
            {"promptTokenCount": 100, "cachedContentTokenCount": 80, "candidatesTokenCount": 20,
             "thoughtsTokenCount": 30, "totalTokenCount": 150},
            Usage(prompt=100, completion=50, cached_prompt=80, reasoning=30),
        ),
        (
            {"promptTokenCount": 100, "candidatesTokenCount": 50, "thoughtsTokenCount": 30, "totalTokenCount": 150},
            Usage(prompt=100, completion=50, reasoning=30),
        ),
        (
            {"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 1, "totalTokenCount": 16},
            Usage(prompt=15, completion=1),
        ),
        ({"promptTokenCount": 3}, Usage(prompt=3)),
        ({"promptTokenCount": True, "candidatesTokenCount": "5", "thoughtsTokenCount": -1}, None),
        ({"promptTokenCount": 10**30, "candidatesTokenCount": 2}, Usage(completion=2)),
        ({"trafficType": "ON_DEMAND"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_counts_are_told_openais_way(counts: dict[str, Any], usage: Usage | None) -> None:
    body = json.dumps({**json.loads(answered({"text": "a"})), "usageMetadata": counts}).encode()
    assert reply(body).usage == usage
    assert told(b"data: " + body + b"\n\n")[1].usage == usage


def test_counts_of_a_stream_are_running_totals() -> None:
    def counted(count: int, finish: str | None = None) -> bytes:
        usage = {"promptTokenCount": 7, "candidatesTokenCount": count, "totalTokenCount": 7 + count}
        return (
            b"data: "
            + json.dumps({**json.loads(answered({"text": "a"}, finish=finish)), "usageMetadata": usage}).encode()
            + b"\n\n"
        )

    decoder = told(*(counted(n) for n in (10, 20, 30, 40)), counted(50, "STOP"))[1]
    assert decoder.usage == Usage(prompt=7, completion=50)


def test_the_model_is_named_as_the_upstream_names_it() -> None:
    body = json.dumps({**json.loads(answered({"text": "a"})), "modelVersion": "gemini-x"}).encode()
    assert reply(body).model == told(b"data: " + body + b"\n\n")[1].model == "gemini-x"
    assert reply(answered({"text": "a"})).model == target().model


def test_a_stream_without_a_finish_reason_was_cut() -> None:
    _, decoder = told(event({"text": "a"}), event({"text": "b"}))
    assert decoder.failure is not None
    assert decoder.failure.code == "upstream_truncated"


def test_an_error_inside_a_stream_ends_it_without_a_finish() -> None:
    error = b'data: {"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}\n\n'
    found, decoder = told(event({"text": "a"}), error)
    assert all(each["finish_reason"] is None for each in found)
    assert decoder.failure is not None
    assert (decoder.failure.kind, decoder.failure.status) == (FailureKind.OVERLOADED, 503)


def test_other_candidates_of_a_stream_are_left_out() -> None:
    other = b'data: {"candidates":[{"index":1,"content":{"parts":[{"text":"other"}]},"finishReason":"STOP"}]}\n\n'
    found = deltas(event({"text": "a"}), other, event(finish="STOP"))
    assert [each.get("content") for each in found] == ["", "a", None]


def test_an_array_is_read_as_what_a_stream_would_have_said() -> None:
    body = b"[" + answered({"text": "a"}, finish=None) + b",\n" + answered({"text": "b"}) + b"]"
    assert choice(body)["message"]["content"] == "ab"
    decoder = ADAPTER.stream(call_of(stream=True), target(), OK)
    output = b"".join(decoder.feed(body[at : at + 7]) for at in range(0, len(body), 7)) + decoder.close()
    assert b'"content":"ab"' in output
    assert decoder.is_done


@pytest.mark.parametrize(
    "data",
    [
        b"5",
        b'"x"',
        b"{",
        b'{"candidates":5}',
        b'{"candidates":[{"content":{"parts":[{"text":5}]}}]}',
        b'{"a":"\xff"}',
        b"[1]",
    ],
)
def test_what_is_no_answer_is_a_failure(data: bytes) -> None:
    decoder = ADAPTER.stream(call_of(stream=True), target(), STREAMED)
    assert decoder.feed(b"data: " + data + b"\n\n") == b""
    assert decoder.close() == b""
    assert decoder.failure is not None
    with pytest.raises((Malformed, UpstreamSaid)):
        reply(data)


def test_sources_are_annotations_with_places_in_characters() -> None:
    grounding = {
        "groundingChunks": [
            {"web": {"uri": "https://a", "title": "A"}},
            {"retrievedContext": {"uri": "https://b"}},
            {},
        ],
        "groundingSupports": [{"segment": {"endIndex": 6}, "groundingChunkIndices": [0, 1, 9]}],
    }
    made = choice(answered({"text": "Café!"}, groundingMetadata=grounding))["message"]["annotations"]
    assert [each["url_citation"] for each in made] == [
        {"start_index": 0, "end_index": 5, "title": "A", "url": "https://a"},
        {"start_index": 0, "end_index": 5, "title": "", "url": "https://b"},
    ]
    found = deltas(event({"text": "Ca"}), event({"text": "fé!"}, finish="STOP", groundingMetadata=grounding))
    assert [each["annotations"] for each in found if "annotations" in each] == [
        [{"index": index, **each}] for index, each in enumerate(made)
    ]


@pytest.mark.parametrize("name", ["groundingMetadata", "citationMetadata", "logprobsResult"])
@pytest.mark.parametrize("value", [b"1e999", b"[" * 500_000 + b"]" * 500_000, b'"\\ud800"'])
def test_a_member_that_no_library_reads_is_malformed(name: str, value: bytes) -> None:
    body = answered({"text": "a"}).replace(b'"finishReason"', b'"%s":{"x":%s},"finishReason"' % (name.encode(), value))
    with pytest.raises(Malformed):
        reply(body)
    assert told(b"data: " + body + b"\n\n")[1].failure is not None


def test_sources_without_a_place_are_told_too() -> None:
    grounding = {"groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}]}
    made = choice(answered({"text": "x"}, groundingMetadata=grounding))["message"]["annotations"]
    assert made[0]["url_citation"]["url"] == "https://a"


def test_log_probabilities_stand_beside_the_choice() -> None:
    found = {"chosenCandidates": [{"token": "é", "logProbability": -0.5}, {"token": 5}], "topCandidates": [{}]}
    made = choice(answered({"text": "é"}, logprobsResult=found), logprobs=True)["logprobs"]
    assert made["content"][0] == {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": []}
    streamed, _ = told(event({"text": "é"}, finish="STOP", logprobsResult=found), logprobs=True)
    assert [each["logprobs"] for each in streamed if each.get("logprobs")] == [made]


@pytest.mark.parametrize(
    "path", ["", "a", "$", "$.", "$.a[", "$.a[x]", "$.a[5]", "$.a.b.c", "$[0]", "$.a[99999]", 5, "$" + ".a" * 99]
)
def test_arguments_in_pieces_at_odd_paths_are_malformed(path: Any) -> None:
    begun = event({"functionCall": {"name": "look", "willContinue": True}})
    first = event({"functionCall": {"partialArgs": [{"jsonPath": "$.a", "stringValue": "x"}], "willContinue": True}})
    odd = event({"functionCall": {"partialArgs": [{"jsonPath": path, "numberValue": 1}]}})
    assert told(begun, first, odd)[1].failure is not None or path in ("a",)


def test_arguments_in_pieces_are_put_together() -> None:
    def piece(*values: dict[str, Any], more: bool = True) -> dict[str, Any]:
        return {"functionCall": {"partialArgs": list(values), **({"willContinue": True} if more else {})}}

    parts = [
        {"functionCall": {"name": "look", "willContinue": True}},
        piece({"jsonPath": "$.a[0].b", "stringValue": "x", "willContinue": True}),
        piece({"jsonPath": "$.a[0].b", "stringValue": "y"}, {"jsonPath": "$['c d']", "boolValue": False}),
        piece({"jsonPath": '$.a[1]["e"]', "nullValue": "NULL_VALUE"}, more=False),
    ]
    expected = {"a": [{"b": "xy"}, {"e": None}], "c d": False}
    whole = choice(answered(*parts))["message"]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in whole] == [expected]
    found, _ = told(*map(event, parts), event({"text": ""}, finish="STOP"))
    streamed = [call["function"]["arguments"] for each in found for call in each["delta"].get("tool_calls", ())]
    assert json.loads("".join(streamed)) == expected


def test_the_input_of_a_custom_tool_may_come_in_pieces_too() -> None:
    def piece(text: str, **members: Any) -> dict[str, Any]:
        return {"functionCall": {**members, "partialArgs": [{"jsonPath": "$.input", "stringValue": text}]}}

    fields = {"tools": [{"type": "custom", "custom": {"name": "run"}}]}
    first, last = piece("he", name="run", willContinue=True), piece("y")
    (call,) = choice(answered(first, last), **fields)["message"]["tool_calls"]
    assert (call["type"], call["custom"]) == ("custom", {"name": "run", "input": "hey"})
    pieces = [
        delta["tool_calls"][0]
        for delta in deltas(event(first), event(last, finish="STOP"), **fields)
        if "tool_calls" in delta
    ]
    assert "".join(piece["custom"]["input"] for piece in pieces) == "hey"


def test_a_call_without_the_end_of_its_arguments_is_no_whole_answer() -> None:
    part = {"name": "look", "willContinue": True, "partialArgs": [{"jsonPath": "$.a", "stringValue": "x"}]}
    with pytest.raises(Malformed, match="before its arguments"):
        reply(answered({"functionCall": part}))
    _, decoder = told(event({"functionCall": part}), event(finish="STOP"))
    assert decoder.failure is not None
    assert (decoder.failure.code, decoder.is_done) == ("upstream_truncated", False)
    cut, _ = told(event({"functionCall": part}), event(finish="MAX_TOKENS"))
    assert cut[-2]["delta"]["tool_calls"][0]["function"]["arguments"] == '{"a":"x"}'
    assert cut[-1]["finish_reason"] == choice(answered({"functionCall": part}, finish="MAX_TOKENS"))["finish_reason"]
