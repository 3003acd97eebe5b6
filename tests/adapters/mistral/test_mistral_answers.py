"""What a client gets of Mistral's answers, streams and errors, beside the recorded cases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.failures import FailureKind
from adapters.mistral import MistralAdapter
from adapters.types import Call, Head, Operation
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import events, run, target_of

ADAPTER = MistralAdapter()
TARGET = target_of(protocol="mistral")
HEAD = Head(200, {"content-type": "text/event-stream"})


def call_of(*messages: Any, operation: Operation = Operation.CHAT, **fields: Any) -> Call:
    given = {"messages": [{"role": "user", "content": "x"}, *messages]} if operation is Operation.CHAT else {}
    body = json.dumps({"model": "p/m", **given, **fields}).encode()
    return read_call(operation, body, id="chatcmpl-1", created=1)


def stream_of(*deltas: Any, finish: str = "stop") -> bytes:
    chunks: list[Any] = [
        {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({"id": "c", "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": finish}]})
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def text_of(output: bytes) -> str:
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events(output)[:-1])


def test_a_thinking_delta_is_reasoning_and_no_content() -> None:
    thought = [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}]
    decoder = ADAPTER.stream(call_of(stream=True), TARGET, HEAD)
    first, *_ = events(run(decoder, [stream_of({"role": "assistant", "content": thought}, {"content": "a"})]))
    delta = first["choices"][0]["delta"]
    assert (delta["reasoning_content"], delta["content"]) == ("t", "")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("Once upon", " upon"), ("Once", ""), ("On", "On"), ("Twice", "Twice"), ("Once Once", " Once")],
)
def test_only_a_whole_prefix_is_taken_off(answer: str, expected: str) -> None:
    call = call_of({"role": "assistant", "content": "Once"}, stream=True)
    decoder = ADAPTER.stream(call, TARGET, HEAD)
    assert text_of(run(decoder, [stream_of({"role": "assistant", "content": answer})])) == expected


@given(st.lists(st.text("On ceup", max_size=4), max_size=6))
def test_a_prefix_is_taken_off_however_it_comes(pieces: list[str]) -> None:
    call = call_of({"role": "assistant", "content": "Once"}, stream=True)
    decoder = ADAPTER.stream(call, TARGET, HEAD)
    assert text_of(run(decoder, [stream_of(*({"content": piece} for piece in pieces))])) == "".join(
        pieces
    ).removeprefix("Once")


def test_a_prefix_before_an_empty_turn_is_taken_off_too() -> None:
    silent = {"role": "assistant", "content": ""}
    call = call_of({"role": "assistant", "content": "Once"}, silent, stream=True)
    decoder = ADAPTER.stream(call, TARGET, HEAD)
    assert text_of(run(decoder, [stream_of({"content": "Once upon"})])) == " upon"


@pytest.mark.parametrize("turn", [{"prefix": True}, {"tool_calls": [{"id": "a", "function": {"name": "f"}}]}])
def test_who_asks_in_mistrals_way_is_answered_in_it(turn: dict[str, Any]) -> None:
    call = call_of({"role": "assistant", "content": "Once", **turn}, stream=True)
    decoder = ADAPTER.stream(call, TARGET, HEAD)
    assert text_of(run(decoder, [stream_of({"content": "Once upon"})])) == "Once upon"


@pytest.mark.parametrize(
    ("status", "body", "kind", "message", "param"),
    [
        (
            422,
            {"detail": [{"loc": ["body", "messages", 0, "name"], "msg": "Extra inputs", "type": "extra_forbidden"}]},
            FailureKind.BAD_REQUEST,
            "Extra inputs",
            "body.messages.0.name",
        ),
        (
            422,
            {
                "object": "error",
                "message": {"detail": [{"loc": ["body", "n"], "msg": "no", "type": "x"}]},
                "code": None,
            },
            FailureKind.BAD_REQUEST,
            "no",
            "body.n",
        ),
        (401, {"message": "Unauthorized", "request_id": "r"}, FailureKind.AUTH, "Unauthorized", None),
        (401, {"detail": "Invalid API Key"}, FailureKind.AUTH, "Invalid API Key", None),
        (
            429,
            {"message": "Requests rate limit exceeded"},
            FailureKind.RATE_LIMIT,
            "Requests rate limit exceeded",
            None,
        ),
        (
            429,
            {"object": "error", "message": "Service tier capacity exceeded for this model."},
            FailureKind.OVERLOADED,
            "Service tier capacity exceeded for this model.",
            None,
        ),
        (
            400,
            {"message": "Prompt contains 9 tokens, too large for model with 8 maximum context length"},
            FailureKind.CONTEXT_LENGTH,
            "Prompt contains 9 tokens, too large for model with 8 maximum context length",
            None,
        ),
        (400, {"message": "Invalid model: x", "code": "1500"}, FailureKind.MODEL_MISSING, "Invalid model: x", None),
    ],
)
def test_an_error_is_understood(
    status: int, body: dict[str, Any], kind: FailureKind, message: str, param: str | None
) -> None:
    failure = ADAPTER.failure(TARGET, Head(status), json.dumps(body).encode())
    assert (failure.kind, failure.message, failure.param) == (kind, message, param)


@pytest.mark.parametrize("usage", [{"prompt_tokens": -1}, {"prompt_tokens": "5"}, {"prompt_tokens": 10**30}, None, []])
def test_counts_that_make_no_sense_are_not_told(usage: Any) -> None:
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}], "usage": usage}
    data = b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"
    for operation, more in ((Operation.CHAT, {}), (Operation.COMPLETIONS, {"prompt": "x"})):
        decoder = ADAPTER.stream(call_of(operation=operation, stream=True, **more), TARGET, HEAD)
        run(decoder, [data])
        assert (decoder.is_done, decoder.usage) == (True, None)


def test_infill_that_ends_without_a_finish_is_no_answer() -> None:
    call = call_of(operation=Operation.COMPLETIONS, prompt="x", stream=True)
    decoder = ADAPTER.stream(call, TARGET, HEAD)
    run(decoder, [b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'])
    assert decoder.failure is not None
    assert decoder.failure.kind is FailureKind.MALFORMED


def test_infill_may_be_answered_with_plain_json() -> None:
    call = call_of(operation=Operation.COMPLETIONS, prompt="x", stream=True)
    decoder = ADAPTER.stream(call, TARGET, Head(200, {"content-type": "application/json"}))
    body = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}]}
    found = events(run(decoder, [json.dumps(body).encode()]))
    assert found[0]["choices"][0]["text"] == "a"
    assert found[-1] == "[DONE]"
