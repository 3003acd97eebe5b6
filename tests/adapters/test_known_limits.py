"""What the adapters should do one day and do not do yet; each line fails on purpose until it does."""

from __future__ import annotations

import json

import pytest

from adapters.types import Head
from tests.adapters.contract import asked, call_for
from tests.adapters.recorded import ADAPTERS, events, run, target_of

STREAM_HEAD = Head(200, {"content-type": "text/event-stream"})
ADAPTER = ADAPTERS["openai"]


@pytest.mark.xfail(strict=True, reason="a stream that comes although none was asked for is refused, not put together")
def test_an_unasked_stream_is_put_together() -> None:
    body = (
        b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":null}]}\n\n'
        b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    reply = ADAPTER.reply(call_for(asked()), target_of(), STREAM_HEAD, body)
    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "hi"


@pytest.mark.xfail(strict=True, reason="functions are sent as tools, but the answer comes as tool_calls")
def test_who_asks_with_functions_is_answered_with_a_function_call() -> None:
    call = call_for(asked(functions=[{"name": "f"}]))
    target = target_of(rules={"wrap_functions": True})
    message = {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]}  # fmt: skip
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}).encode()
    choice = json.loads(ADAPTER.reply(call, target, Head(200), body).body)["choices"][0]
    assert (choice["message"].get("function_call"), choice["finish_reason"]) == (
        {"name": "f", "arguments": "{}"},
        "function_call",
    )


@pytest.mark.xfail(
    strict=True, reason="a stream that never names a role is relayed so, and OpenAI's Node SDK refuses it"
)
def test_the_first_delta_names_the_role() -> None:
    upstream = (
        b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    decoder = ADAPTER.stream(call_for(asked(stream=True)), target_of(), STREAM_HEAD)
    first = events(run(decoder, [upstream]))[0]
    assert first["choices"][0]["delta"].get("role") == "assistant"
