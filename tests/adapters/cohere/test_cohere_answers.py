"""What becomes of Cohere's answers: whole, as a stream, and as errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.cohere import CohereAdapter
from adapters.cohere.usage import count, read_usage
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import FailureKind, FailureRule
from adapters.parts import join_replies
from adapters.types import Call, Head, Operation, Reply, StreamDecoder, Target, Usage
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import events, run, target_of

ADAPTER = CohereAdapter()
TARGET = target_of(protocol="cohere")
USER = {"role": "user", "content": "hello"}
TEXT = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}}
END = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {}}}
START = {"type": "message-start", "id": "x", "delta": {"message": {"role": "assistant", "content": []}}}


def call_of(operation: Operation = Operation.CHAT, **fields: Any) -> Call:
    chat = {"messages": [USER]} if operation is Operation.CHAT else {}
    body = json.dumps({"model": "p/m", **chat, **fields}).encode()
    return read_call(operation, body, id="chatcmpl-1", created=1)


def reply(answer: Any, **fields: Any) -> Reply:
    return ADAPTER.reply(call_of(**fields), TARGET, Head(200), json.dumps(answer).encode())


def message_of(answer: Any) -> dict[str, Any]:
    return json.loads(reply(answer).body)["choices"][0]["message"]


def whole(content: Any = None, finish: str = "COMPLETE", **message: Any) -> dict[str, Any]:
    return {"id": "x", "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}


def streamed(*given: Any, **fields: Any) -> tuple[list[Any], StreamDecoder]:
    decoder = ADAPTER.stream(call_of(stream=True, **fields), TARGET, Head(200))
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in given)
    return events(run(decoder, [data])), decoder


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("ERROR_TOXIC", "content_filter"),
        ("ERROR_LIMIT", "length"),
        ("USER_CANCEL", "stop"),
        ("NEW_WORD", "stop"),
    ],
)
def test_finish_reasons_are_openais_in_both_forms(word: str, finish: str) -> None:
    assert reply(whole([{"type": "text", "text": "a"}], word)).finish == finish
    found, _ = streamed(TEXT, {"type": "message-end", "delta": {"finish_reason": word}})
    assert found[-2]["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize(("word", "kind"), [("ERROR", FailureKind.SERVER), ("TIMEOUT", FailureKind.TIMEOUT)])
def test_an_answer_that_broke_off_is_a_failure_in_both_forms(word: str, kind: FailureKind) -> None:
    with pytest.raises(UpstreamSaid) as said:
        reply(whole([{"type": "text", "text": "a"}], word))
    assert said.value.failure.kind is kind
    found, decoder = streamed(TEXT, {"type": "message-end", "delta": {"finish_reason": word, "error": "odd"}})
    assert decoder.failure is not None
    assert (decoder.failure.kind, decoder.failure.message) == (kind, "odd")
    assert "[DONE]" not in found


@pytest.mark.parametrize("arguments", ["null", "", None])
def test_a_call_without_arguments_has_an_empty_object(arguments: str | None) -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    assert message_of(whole(None, "TOOL_CALL", tool_calls=calls))["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize("pieces", [[], ["null"], [""]])
def test_a_streamed_call_without_arguments_has_an_empty_object(pieces: list[str]) -> None:
    start = {"message": {"tool_calls": {"id": "c", "function": {"name": "f", "arguments": ""}}}}
    deltas = [{"message": {"tool_calls": {"function": {"arguments": piece}}}} for piece in pieces]
    found, decoder = streamed(
        {"type": "tool-call-start", "index": 0, "delta": start},
        *({"type": "tool-call-delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}},
    )
    calls = [call for event in found[:-1] for call in event["choices"][0]["delta"].get("tool_calls", ())]
    assert "".join(call["function"].get("arguments", "") for call in calls) == "{}"
    assert decoder.finish == "tool_calls"


def test_a_tool_is_called_by_the_name_that_the_client_gave_it() -> None:
    tools = [{"type": "function", "function": {"name": "search-web"}}]
    named = {"id": "c", "type": "function", "function": {"name": "search_web", "arguments": ""}}
    answer = reply(whole(None, "TOOL_CALL", tool_calls=[named]), tools=tools)
    (called,) = json.loads(answer.body)["choices"][0]["message"]["tool_calls"]
    assert called["function"] == {"name": "search-web", "arguments": "{}"}
    found, _ = streamed(
        START,
        {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": named}}},
        {"type": "tool-call-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}},
        tools=tools,
    )
    calls = [call for event in found[:-1] for call in event["choices"][0]["delta"].get("tool_calls", ())]
    assert [call["function"] for call in calls] == [{"name": "search-web", "arguments": ""}, {"arguments": "{}"}]


def test_a_stream_begins_with_its_first_content_and_ends_with_or_without_coheres_done() -> None:
    decoder = ADAPTER.stream(call_of(stream=True), TARGET, Head(200))
    assert decoder.feed(b"data: " + json.dumps(START).encode() + b"\n\n") == b""
    assert not decoder.has_content
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (TEXT, END))
    found = events(run(decoder, [data]))
    assert [event["choices"][0]["delta"] for event in found[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {},
    ]
    assert found[-1] == "[DONE]"
    again = ADAPTER.stream(call_of(stream=True), TARGET, Head(200))
    assert events(run(again, [data + b"data: [DONE]\n\n"])) == found


def test_arguments_that_only_begin_like_null_are_kept() -> None:
    start = {"message": {"tool_calls": {"id": "c", "function": {"name": "f"}}}}
    deltas = [{"message": {"tool_calls": {"function": {"arguments": piece}}}} for piece in ("null", "ify")]
    found, _ = streamed(
        {"type": "tool-call-start", "index": 0, "delta": start},
        *({"type": "tool-call-delta", "index": 0, "delta": delta} for delta in deltas),
        END,
    )
    calls = [call for event in found[:-1] for call in event["choices"][0]["delta"].get("tool_calls", ())]
    assert "".join(call["function"].get("arguments", "") for call in calls) == "nullify"


def test_two_calls_under_one_index_are_two_calls() -> None:
    starts = [{"message": {"tool_calls": {"id": id, "function": {"name": "f"}}}} for id in ("a", "b")]
    found, decoder = streamed(*({"type": "tool-call-start", "index": 0, "delta": start} for start in starts), END)
    calls = [call for event in found[:-1] for call in event["choices"][0]["delta"].get("tool_calls", ())]
    assert [call["id"] for call in calls if "id" in call] == ["a", "b"]
    assert [(call["index"], call["function"]["arguments"]) for call in calls if "id" not in call] == [
        (0, "{}"),
        (1, "{}"),
    ]
    assert decoder.finish == "tool_calls"


def test_a_call_that_goes_on_without_having_begun_is_malformed() -> None:
    _, decoder = streamed({"type": "tool-call-delta", "index": 4, "delta": {"message": {}}})
    assert decoder.failure is not None
    assert decoder.failure.kind is FailureKind.MALFORMED


def test_citations_are_counted_from_the_begin_of_the_answer() -> None:
    cited = {"start": 0, "end": 1, "content_index": 2, "sources": [{"document": {"url": "https://a/", "title": "A"}}]}
    blocks = [{"type": "text", "text": "12"}, {"type": "thinking", "thinking": "h"}, {"type": "text", "text": "3"}]
    message = message_of(whole(blocks, citations=[cited, {**cited, "type": "THINKING_CONTENT"}]))
    found = {"start_index": 2, "end_index": 3, "url": "https://a/", "title": "A"}
    assert (message["content"], message["reasoning_content"]) == ("123", "h")
    assert message["annotations"] == [{"type": "url_citation", "url_citation": found}]
    assert message["citations"] == [cited]


def test_a_plan_is_reasoning_and_never_text() -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = message_of(whole(None, "TOOL_CALL", tool_plan="I will.", tool_calls=calls))
    assert (message["content"], message["reasoning_content"]) == (None, "I will.")


@pytest.mark.parametrize(
    "answer", [{}, {"message": None}, {"message": {"content": []}}, [], "x", {"message": {"tool_calls": [{}]}}]
)
def test_an_answer_that_says_nothing_is_no_success(answer: Any) -> None:
    with pytest.raises(Malformed):
        reply(answer)


@pytest.mark.parametrize("error", [{"message": "odd", "id": "x"}, {"error": {"message": "odd"}}])
def test_an_error_under_a_success_status_is_one_in_both_forms(error: dict[str, Any]) -> None:
    with pytest.raises(UpstreamSaid, match="odd"):
        reply(error)
    _, decoder = streamed(TEXT, error)
    assert decoder.failure is not None
    assert decoder.failure.message == "odd"


@pytest.mark.parametrize(
    "items", [None, 5, [], ["x"], [{"text": "a"}], [{"text": 5, "logprobs": [1]}], [{"text": "a", "logprobs": ["1"]}],
              [{"text": "a", "logprobs": [1e308, 1e308]}]]
)  # fmt: skip
def test_log_probabilities_that_make_no_sense_are_left_out(items: Any) -> None:
    answer = {**whole([{"type": "text", "text": "a"}]), "logprobs": items}
    assert json.loads(reply(answer).body)["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("text", [5, ["a"], {"a": 1}, True])
def test_a_text_that_is_no_string_is_malformed(text: Any) -> None:
    _, decoder = streamed({"type": "content-delta", "delta": {"message": {"content": {"text": text}}}})
    assert decoder.failure is not None
    assert decoder.failure.code == "upstream_invalid_event"


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        ({"tokens": {"input_tokens": 1661.0, "output_tokens": 5}}, Usage(1661, 5)),
        ({"billed_units": {"input_tokens": 5, "output_tokens": 2}}, Usage(5, 2)),
        ({"tokens": {}, "billed_units": {"input_tokens": 5}}, Usage(5, 0)),
        ({"tokens": {"input_tokens": 9, "output_tokens": 9, "reasoning_tokens": 7}, "cached_tokens": 99.0},
         Usage(9, 9, cached_prompt=9, reasoning=7)),
        ({"tokens": {"input_tokens": -1, "output_tokens": "5"}}, None),
        ({}, None),
        (None, None),
    ],
)  # fmt: skip
def test_counts_are_what_was_read_and_written(usage: Any, found: Usage | None) -> None:
    assert read_usage(usage) == found


@given(st.one_of(st.none(), st.booleans(), st.text(max_size=3), st.integers(), st.floats()))
def test_a_count_is_plausible_or_none(value: Any) -> None:
    found = count(value)
    assert found is None or 0 <= found < 2**53


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"message": "too many tokens: size limit exceeded"}, FailureKind.CONTEXT_LENGTH),
        (400, {"message": "invalid request: x"}, FailureKind.BAD_REQUEST),
        (401, {"message": "invalid api token"}, FailureKind.AUTH),
        (402, {"message": "Please add a payment method"}, FailureKind.QUOTA),
        (403, {"message": "forbidden"}, FailureKind.AUTH),
        (404, {"message": "model 'x' not found"}, FailureKind.MODEL_MISSING),
        (404, "404 page not found", FailureKind.BAD_REQUEST),
        (422, {"message": "x"}, FailureKind.BAD_REQUEST),
        (429, {"message": "trial token rate limit exceeded, limit is 40 api calls per minute"}, FailureKind.RATE_LIMIT),
        (429, {"message": "limited to 1000 API calls / month"}, FailureKind.QUOTA),
        (429, {"message": "You have reached your maximum billing limit"}, FailureKind.QUOTA),
        (498, {"message": "blocked"}, FailureKind.CONTENT_FILTER),
        (499, {"message": "cancelled"}, FailureKind.SERVER),
        (500, {"message": "internal server error"}, FailureKind.SERVER),
        (503, {"message": "x"}, FailureKind.OVERLOADED),
        (504, {"message": "x"}, FailureKind.SERVER),
    ],
)  # fmt: skip
def test_an_error_is_what_its_status_and_words_say(status: int, body: Any, kind: FailureKind) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    failure = ADAPTER.failure(TARGET, Head(status), text.encode())
    assert failure.kind is kind
    assert failure.message == (body if isinstance(body, str) else body["message"])


def test_the_rows_own_words_come_first() -> None:
    rule = FailureRule(FailureKind.OVERLOADED, status=429)
    target = Target("m", "http://x", {}, failure_rules=(rule,))
    assert ADAPTER.failure(target, Head(429), b'{"message":"a month"}').kind is FailureKind.OVERLOADED


@pytest.mark.parametrize("vectors", [[], [[0.5]], [[0.5], []], [[0.5], "x"], [[0.5], ["a"]]])
def test_embeddings_that_do_not_fit_the_inputs_are_malformed(vectors: Any) -> None:
    call = call_of(Operation.EMBEDDINGS, input=["a", "b"], encoding_format="base64")
    with pytest.raises(Malformed):
        ADAPTER.reply(call, TARGET, Head(200), json.dumps({"embeddings": {"float": vectors}}).encode())


def test_many_inputs_are_answered_as_one_list_in_their_order() -> None:
    call = call_of(Operation.EMBEDDINGS, input=[str(number) for number in range(200)])
    replies: list[Reply] = []
    for part in ADAPTER.parts(call, TARGET):
        texts = json.loads(ADAPTER.request(part, TARGET).body)["texts"]
        meta = {"billed_units": {"input_tokens": len(texts)}}
        answer = {"id": "x", "embeddings": {"float": [[int(text)] for text in texts]}, "meta": meta}
        replies.append(ADAPTER.reply(part, TARGET, Head(200), json.dumps(answer).encode()))
    joined = json.loads(join_replies(call, replies).body)
    assert [(item["index"], item["embedding"]) for item in joined["data"]] == [(each, [each]) for each in range(200)]
    assert joined["usage"] == {"prompt_tokens": 200, "total_tokens": 200}
