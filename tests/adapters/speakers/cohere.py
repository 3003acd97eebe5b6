"""Cohere's v2 wire: other names, narrower numbers, system first, a closed list of fields."""

from __future__ import annotations

import json
from typing import Any

from adapters.cohere import CohereAdapter
from adapters.types import HttpRequest, Operation
from tests.adapters.contract import Asked, Speaker

RENAMED = {
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "top_p": "p",
    "dimensions": "output_dimension",
    "input": "texts",
    "functions": "tools",
    "reasoning_effort": "thinking",
}
EMULATED = {"stream_options", "messages", "n", "encoding_format", "parallel_tool_calls", "function_call"}
CHAT_FIELDS = {
    "model", "stream", "max_tokens", "stop_sequences", "temperature", "seed", "frequency_penalty", "presence_penalty",
    "p", "k", "logprobs", "thinking", "citation_options", "safety_mode", "priority", "tools", "strict_tools",
    "tool_choice", "response_format", "documents", "messages",
}  # fmt: skip
EMBED_FIELDS = {
    "model", "input_type", "embedding_types", "output_dimension", "truncate", "max_tokens", "priority", "texts"
}  # fmt: skip
FORMATS = {
    "json_object": {"type": "json_object"},
    "json_schema": {"type": "json_object", "json_schema": {"type": "object", "properties": {}}},
}


def says(case: Asked, request: HttpRequest) -> None:
    """Every field stands under Cohere's name with a value that means the same, or is reported."""
    body = json.loads(request.body)
    is_chat = case.operation is Operation.CHAT
    assert set(body) <= (CHAT_FIELDS if is_chat else EMBED_FIELDS)
    assert body["model"] == "upstream-model"
    for name, value in case.fields.items():
        there = RENAMED.get(name, name)
        if value is None or value == {"type": "text"}:
            assert there not in body
        elif name not in EMULATED and name not in request.dropped:
            assert body[there] == expected(name, value), name
    if is_chat:
        assert body["stream"] is bool(case.fields.get("stream"))
        judge_messages(case, body["messages"], request.dropped)
    else:
        assert (body["input_type"], body["embedding_types"]) == ("search_document", ["float"])


def expected(name: str, value: Any) -> Any:
    if name in ("stop", "input"):
        return [value] if isinstance(value, str) else value
    if name == "tool_choice":
        return "REQUIRED"
    if name == "functions":
        return [{"type": "function", "function": function} for function in value]
    if name == "reasoning_effort":
        return {"type": "enabled", "token_budget": 2048}
    if name == "response_format":
        return FORMATS[value["type"]]
    return value


def judge_messages(case: Asked, said: list[dict[str, Any]], dropped: tuple[str, ...]) -> None:
    asked = case.fields["messages"]
    assert [message["role"] for message in said].count("system") == (1 if said[0]["role"] == "system" else 0)
    roles = {"developer": "system", "function": "tool"}
    for theirs, ours in zip(asked, said, strict=False):
        assert ours["role"] == roles.get(theirs["role"], theirs["role"])
        assert ("name" in theirs and theirs["role"] == "user") <= ("messages.name" in dropped)
        reasoning = theirs.get("reasoning_content") or "".join(
            detail["text"] for detail in theirs.get("reasoning_details", ())
        )
        if reasoning:
            assert ours["content"] == [
                {"type": "thinking", "thinking": reasoning},
                {"type": "text", "text": theirs["content"]},
            ]
        elif isinstance(theirs["content"], list):
            assert ours["content"] == [as_part(part) for part in theirs["content"]]
        elif theirs["content"] is not None:
            assert ours["content"] == theirs["content"]
        else:
            assert "content" not in ours
    called = [call["id"] for message in said for call in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in said if message["role"] == "tool"]
    assert answered == called
    assert len(set(called)) == len(called)


def as_part(part: dict[str, Any]) -> dict[str, Any]:
    image = part.get("image_url")
    return {**part, "image_url": {"url": image}} if isinstance(image, str) else part


SPEAKER = Speaker(CohereAdapter(), says, unsupported=frozenset({"audio", "embedding of tokens"}))
