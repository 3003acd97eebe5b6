"""Requests as clients write them, and what Gemini is sent of them."""

from __future__ import annotations

import json
from typing import Any

from adapters.gemini import GeminiAdapter
from adapters.types import Call, Head, HttpRequest, Operation, Target
from gateway.http.api.inbound import read_call

ADAPTER = GeminiAdapter()
NEWEST = "gemini-3-flash-preview"
USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"a": {}}}}}
OK = Head(200, {"content-type": "application/json"})
STREAMED = Head(200, {"content-type": "text/event-stream"})


def target(model: str = NEWEST, base_url: str = "https://h/v1beta") -> Target:
    return Target(model, base_url, {})


def call_of(*messages: Any, operation: Operation = Operation.CHAT, **fields: Any) -> Call:
    said = {"messages": list(messages) or [USER]} if operation is Operation.CHAT else {}
    body = json.dumps({"model": "p/m", **said, **fields}, ensure_ascii=False).encode()
    return read_call(operation, body, id="chatcmpl-0a", created=1)


def asked(*messages: Any, model: str = NEWEST, **fields: Any) -> HttpRequest:
    return ADAPTER.request(call_of(*messages, **fields), target(model))


def body_of(*messages: Any, model: str = NEWEST, **fields: Any) -> dict[str, Any]:
    return json.loads(asked(*messages, model=model, **fields).body)


def config_of(model: str = NEWEST, **fields: Any) -> dict[str, Any]:
    return body_of(model=model, **fields).get("generationConfig", {})


def contents_of(*messages: Any, model: str = NEWEST, **fields: Any) -> list[dict[str, Any]]:
    return body_of(*messages, model=model, **fields)["contents"]


def called(*ids: str, **members: Any) -> dict[str, Any]:
    """An assistant's turn with calls of `look`."""
    calls = [{"id": id, "type": "function", "function": {"name": "look", "arguments": "{}"}} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, **members}


def result(id: str, content: Any = "x", **members: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content, **members}


def answered(*parts: dict[str, Any], finish: str | None = "STOP", **members: Any) -> bytes:
    candidate = {"content": {"parts": list(parts), "role": "model"}, **({"finishReason": finish} if finish else {})}
    return json.dumps({"candidates": [{**candidate, **members}]}).encode()


def event(*parts: dict[str, Any], finish: str | None = None, **members: Any) -> bytes:
    return b"data: " + answered(*parts, finish=finish, **members) + b"\r\n\r\n"
