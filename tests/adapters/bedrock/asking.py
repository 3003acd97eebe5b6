"""Requests to Bedrock, made as the gateway makes them."""

from __future__ import annotations

import json
from typing import Any

from adapters.bedrock import BedrockAdapter
from adapters.types import Call, HttpRequest, Operation, Target
from gateway.http.api.inbound import read_call

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CLAUDE_3 = "anthropic.claude-3-haiku-20240307-v1:0"
OPUS_46 = "us.anthropic.claude-opus-4-6-v1"
OPUS_55 = "global.anthropic.claude-opus-5-5"
NOVA = "us.amazon.nova-2-lite-v1:0"
LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"
MISTRAL = "mistral.mistral-large-2407-v1:0"
GPT_OSS = "openai.gpt-oss-120b-1:0"
USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
ADAPTER = BedrockAdapter()


def tool_call(id: str = "call_1", name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(id: str = "call_1", content: Any = "done", **members: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content, **members}


def assistant(content: str | None = None, **members: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **members}


def target(model: str = CLAUDE) -> Target:
    return Target(model, "https://bedrock-runtime.us-east-1.amazonaws.com", {})


def call_of(*messages: Any, operation: Operation = Operation.CHAT, **fields: Any) -> Call:
    said = {} if operation is Operation.EMBEDDINGS else {"messages": list(messages) or [USER]}
    return read_call(operation, json.dumps({"model": "p/m", **said, **fields}).encode(), id="chatcmpl-1", created=1)


def request(*messages: Any, model: str = CLAUDE, operation: Operation = Operation.CHAT, **fields: Any) -> HttpRequest:
    return ADAPTER.request(call_of(*messages, operation=operation, **fields), target(model))


def asked(*messages: Any, model: str = CLAUDE, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns the body that Bedrock gets, and what was dropped."""
    made = request(*messages, model=model, **fields)
    return json.loads(made.body), made.dropped


def said(*messages: Any, model: str = CLAUDE, **fields: Any) -> list[tuple[str, list[Any]]]:
    """Returns (role, blocks) of the messages that Bedrock gets."""
    body, _ = asked(*messages, model=model, **fields)
    return [(message["role"], message["content"]) for message in body["messages"]]
