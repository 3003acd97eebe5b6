"""What a server leaves out and OpenAI's shape demands."""

from __future__ import annotations

import json

from adapters.types import Head
from tests.adapters.contract import asked, call_for
from tests.adapters.recorded import ADAPTERS, events, run, target_of

STREAM_HEAD = Head(200, {"content-type": "text/event-stream"})
ADAPTER = ADAPTERS["openai"]


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


def test_the_first_delta_names_the_role() -> None:
    upstream = (
        b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    decoder = ADAPTER.stream(call_for(asked(stream=True)), target_of(), STREAM_HEAD)
    first = events(run(decoder, [upstream]))[0]
    assert first["choices"][0]["delta"].get("role") == "assistant"


def test_a_role_that_was_named_is_not_named_again() -> None:
    upstream = (
        b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    assert run(ADAPTER.stream(call_for(asked(stream=True)), target_of(), STREAM_HEAD), [upstream]) == upstream


def test_a_streamed_tool_call_is_told_in_the_old_form_to_who_asked_with_functions() -> None:
    call = call_for(asked(functions=[{"name": "f"}], stream=True))
    upstream = (
        b'data: {"choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"c","type":"function",'
        b'"function":{"name":"f","arguments":""}}]},"finish_reason":null}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\":1}"}}]},'
        b'"finish_reason":null}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n'
    )
    target = target_of(rules={"wrap_functions": True})
    output = run(ADAPTER.stream(call, target, STREAM_HEAD), [upstream])
    choices = [event["choices"][0] for event in events(output)[:-1]]
    told = [choice["delta"].get("function_call", {}) for choice in choices]
    assert [part.get("name") for part in told if part] == ["f", None]
    assert "".join(part.get("arguments", "") for part in told) == '{"a":1}'
    assert not any("tool_calls" in choice["delta"] for choice in choices)
    assert choices[-1]["finish_reason"] == "function_call"


def test_a_repeated_role_is_cut_out_and_everything_else_stays_as_it_came() -> None:
    decoder = ADAPTER.stream(call_for(asked(stream=True)), target_of(), STREAM_HEAD)
    head = b'data: {"choices":[{"index":0,"delta":'
    tail = b',"finish_reason":null}], "vendor": [1.50]}\n\n'
    first = head + b'{"role":"assistant","content":""}' + tail
    assert decoder.feed(first) == first
    text = rb'"say \"role\":\"assistant\", twice"'
    for delta in (
        b'{ "role" : "assistant" , "content":' + text + b"}",
        b'{"content":' + text + b',"role":"assistant"}',
    ):
        cut = decoder.feed(head + delta + tail)
        assert cut == head + (b"{ " if delta.startswith(b"{ ") else b"{") + b'"content":' + text + b"}" + tail
    two = b'{"role":"assistant","content":"x","other":{"role":"assistant","y":1}}'
    (event,) = events(decoder.feed(head + two + tail))
    assert event["choices"][0]["delta"] == {"content": "x", "other": {"role": "assistant", "y": 1}}


def test_functions_are_answered_as_such_beside_tools_that_are_none() -> None:
    content = [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]
    body = json.dumps({"type": "message", "content": content, "stop_reason": "tool_use"}).encode()
    for nothing in ([], None):
        call = call_for(asked(functions=[{"name": "f"}], tools=nothing))
        reply = ADAPTERS["anthropic"].reply(call, target_of(protocol="anthropic"), Head(200), body)
        choice = json.loads(reply.body)["choices"][0]
        assert (choice["message"].get("function_call"), choice["finish_reason"]) == (
            {"name": "f", "arguments": "{}"},
            "function_call",
        )
