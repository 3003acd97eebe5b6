"""Short ways to ask the adapter, for the tests beside this one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from adapters.anthropic import AnthropicAdapter
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import Failure
from adapters.options import Options
from adapters.types import Call, Head, HttpRequest, Operation
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import events, run, target_of

ADAPTER = AnthropicAdapter()
HAIKU_45 = "claude-haiku-4-5"
SYSTEM = {"role": "system", "content": "be kind"}
USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
SSE = Head(200, {"content-type": "text/event-stream"})
NO_CACHE = Options(prompt_cache=False)


def call_of(*messages: Any, **fields: Any) -> Call:
    body = {"model": "p/m", "messages": list(messages) or [USER], **fields}
    return read_call(Operation.CHAT, json.dumps(body).encode(), id="chatcmpl-1", created=1)


def request(*messages: Any, model: str = HAIKU_45, options: Options = NO_CACHE, **fields: Any) -> HttpRequest:
    target = replace(target_of(protocol="anthropic", model=model), options=options)
    return ADAPTER.request(call_of(*messages, **fields), target)


def body(*messages: Any, model: str = HAIKU_45, options: Options = NO_CACHE, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(request(*messages, model=model, options=options, **fields).body)
    return made


def calls(*ids: str, arguments: str = "{}", **members: Any) -> dict[str, Any]:
    made = [{"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}} for id in ids]
    return {"role": "assistant", "content": "", "tool_calls": made, **members}


def result(id: str, content: Any = "1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def answer(content: Any, reason: str | None = "end_turn", *, model: str = HAIKU_45, **members: Any) -> dict[str, Any]:
    """Returns the whole completion for an answer with these blocks; members named `ask_*` are fields of the request."""
    asked = {name[4:]: members.pop(name) for name in list(members) if name.startswith("ask_")}
    told = {"type": "message", "role": "assistant", "model": "claude-x", "content": content, "stop_reason": reason}
    target = target_of(protocol="anthropic", model=model)
    reply = ADAPTER.reply(call_of(**asked), target, Head(200), json.dumps({**told, **members}).encode())
    made: dict[str, Any] = json.loads(reply.body)
    return made


def failed(whole: Any) -> Failure | Malformed:
    """Returns what an answer of status 200 that is none becomes."""
    data = whole if isinstance(whole, bytes) else json.dumps(whole).encode()
    try:
        ADAPTER.reply(call_of(), target_of(protocol="anthropic"), Head(200), data)
    except UpstreamSaid as said:
        return said.failure
    except Malformed as error:
        return error
    raise AssertionError("it was taken for an answer")


class Streamed:
    """What became of a stream of these events."""

    def __init__(self, *told: Any, model: str = HAIKU_45, **asked: Any) -> None:
        target = target_of(protocol="anthropic", model=model)
        fields = {"stream": True, "stream_options": {"include_usage": True}, **asked}
        self.decoder = ADAPTER.stream(call_of(**fields), target, SSE)
        data = b"".join(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n" for event in told)
        self.output = run(self.decoder, [data])
        self.events = events(self.output)

    @property
    def choices(self) -> list[dict[str, Any]]:
        return [choice for event in self.events if event != "[DONE]" for choice in event["choices"]]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [choice["delta"] for choice in self.choices]

    @property
    def text(self) -> str:
        return "".join(delta.get("content") or "" for delta in self.deltas)

    @property
    def finishes(self) -> list[str]:
        return [choice["finish_reason"] for choice in self.choices if choice["finish_reason"]]

    @property
    def tool_deltas(self) -> list[dict[str, Any]]:
        return [call for delta in self.deltas for call in delta.get("tool_calls", ())]

    def arguments(self, index: int, kind: str = "function", key: str = "arguments") -> str:
        return "".join(call[kind].get(key, "") for call in self.tool_deltas if call["index"] == index)


START = {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 3, "output_tokens": 1}}}
STOP = {"type": "message_stop"}


def opened(index: int, kind: str = "text", **members: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **members}}


def piece(index: int, kind: str = "text_delta", **members: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **members}}


def closed(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ended(reason: str | None, usage: Any = None, **members: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, **members}, "usage": usage}


def tool_blocks(index: int, id: str, name: str, *pieces: str) -> list[dict[str, Any]]:
    return [
        opened(index, "tool_use", id=id, name=name, input={}),
        *(piece(index, "input_json_delta", partial_json=each) for each in pieces),
        closed(index),
    ]
