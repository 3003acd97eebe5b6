"""Ollama's wire: one text for each message, everything about sampling in `options`, a format instead of a wish."""

from __future__ import annotations

import json
from typing import Any

from adapters.ollama import OllamaAdapter
from adapters.types import HttpRequest, Operation
from tests.adapters.contract import Asked, Speaker

FIELDS = {
    Operation.CHAT: {
        "model", "stream", "think", "format", "keep_alive", "truncate", "shift", "logprobs", "top_logprobs", "options",
        "tools", "messages",
    },
    Operation.COMPLETIONS: {
        "model", "stream", "think", "format", "images", "system", "template", "context", "keep_alive", "raw",
        "truncate", "shift", "logprobs", "top_logprobs", "options", "suffix", "prompt",
    },
    Operation.EMBEDDINGS: {"model", "dimensions", "truncate", "keep_alive", "options", "input"},
}  # fmt: skip
OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
}
EMULATED = {"messages", "stream_options", "n", "encoding_format", "parallel_tool_calls", "function_call", "tool_choice"}
ROLES = {"developer": "system", "function": "tool"}


def says(case: Asked, request: HttpRequest) -> None:
    """Every field stands where Ollama looks for it, or is reported."""
    body = json.loads(request.body)
    assert set(body) <= FIELDS[case.operation]
    assert body["model"] == "upstream-model"
    for name, value in case.fields.items():
        if value is None or value == {"type": "text"}:
            assert name not in body
            assert name not in body.get("options", {})
        elif name in OPTIONS:
            assert body["options"][OPTIONS[name]] == expected(name, value)
        elif name not in EMULATED and name not in request.dropped:
            assert_said(name, value, body)
    if case.operation is not Operation.EMBEDDINGS:
        assert body["stream"] is bool(case.fields.get("stream"))
    if "tool_choice" in case.fields:
        assert "tool_choice" in request.dropped  # nothing makes a model call a tool
        assert [tool["function"]["name"] for tool in body["tools"]] == ["f"]
    if case.operation is Operation.CHAT:
        judge_messages(case, body["messages"], request.dropped)


def expected(name: str, value: Any) -> Any:
    if name == "stop":
        return [value] if isinstance(value, str) else value
    return value % 2**53 if name == "seed" and value > 2**53 else value


def assert_said(name: str, value: Any, body: dict[str, Any]) -> None:
    if name in ("tools", "functions"):
        functions = [tool.get("function", tool) for tool in value]
        said = [tool["function"] for tool in body["tools"]]
        assert [(each["name"], each["description"]) for each in said] == [
            (each["name"], each["description"]) for each in functions
        ]
        assert all(each["parameters"] == {"type": "object", "properties": {}} for each in said)
    elif name == "response_format":
        assert body["format"] == value.get("json_schema", {}).get("schema", "json")
    elif name == "reasoning_effort":
        assert body["think"] == value
    elif name == "input":
        assert body["input"] == ([value] if isinstance(value, str) else value)
    else:
        assert body[name] == value, name


def judge_messages(case: Asked, said: list[dict[str, Any]], dropped: tuple[str, ...]) -> None:
    asked = case.fields["messages"]
    if case.fields.get("response_format") == {"type": "json_object"}:
        assert "JSON" in said.pop(0)["content"]
    assert [each["role"] for each in said] == [ROLES.get(each["role"], each["role"]) for each in asked]
    for theirs, ours in zip(asked, said, strict=True):
        assert ours["content"] == text_of(theirs["content"])
        assert ours.get("images", []) == images_of(theirs["content"])
        assert ("name" in theirs and theirs["role"] == "user") <= ("messages.name" in dropped)
        reasoning = theirs.get("reasoning_content") or "".join(
            detail["text"] for detail in theirs.get("reasoning_details", ())
        )
        assert ours.get("thinking", "") == reasoning
        calls = theirs.get("tool_calls", [])
        if calls:
            assert [(call["id"], call["function"]["arguments"]) for call in ours["tool_calls"]] == [
                (call["id"], json.loads(call["function"]["arguments"])) for call in calls
            ]
        if ours["role"] == "tool":
            assert ours["tool_name"] == "f"
            assert ours["tool_call_id"] == theirs.get("tool_call_id", ours["tool_call_id"])


def text_of(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part["type"] == "text")
    return content or ""


def images_of(content: Any) -> list[str]:
    parts = content if isinstance(content, list) else []
    return [part["image_url"]["url"].partition(",")[2] for part in parts if part["type"] == "image_url"]


SPEAKER = Speaker(
    OllamaAdapter(),
    says,
    unsupported=frozenset({"audio", "image as a bare string", "embedding of tokens", "text completion"}),
)
