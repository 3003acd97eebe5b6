"""Calls to Ollama, and what is sent for them."""

from __future__ import annotations

import json
from typing import Any

from adapters.ollama import OllamaAdapter
from adapters.types import Call, HttpRequest, Operation, Target
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import target_of

ADAPTER = OllamaAdapter()
USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}


def target(model: str = "llama3", base_url: str = "http://gpu-box:11434", **options: Any) -> Target:
    return target_of(protocol="ollama", model=model, base_url=base_url, options=options)


def call(operation: Operation = Operation.CHAT, **fields: Any) -> Call:
    given = {"messages": [USER], **fields} if operation is Operation.CHAT else fields
    body = json.dumps({"model": "ollama/llama3", **given}).encode()
    return read_call(operation, body, id="chatcmpl-abc", created=7)


def asked(to: Target | None = None, **fields: Any) -> HttpRequest:
    return ADAPTER.request(call(**fields), to or target())


def body(to: Target | None = None, **fields: Any) -> dict[str, Any]:
    return json.loads(asked(to, **fields).body)
