"""Codex's back end: items of the Responses API, always streamed, and few fields beside them."""

from __future__ import annotations

import json
from typing import Any

from adapters.codex import CodexAdapter
from adapters.types import HttpRequest
from tests.adapters.contract import Asked, Speaker

FIELDS = {
    "model", "instructions", "store", "stream", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text",
    "include", "prompt_cache_key", "input",
}  # fmt: skip
ELSEWHERE = {"messages", "stream", "stream_options", "n", "tools", "functions", "function_call", "tool_choice"}
FUNCTION = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False}
FORMATS = {
    "json_object": {"type": "json_object"},
    "json_schema": {"type": "json_schema", "name": "s", "schema": {"type": "object", "properties": {}}, "strict": True},
}
CHOICES = {"required": "required", "auto": "auto"}
ROLES = {"system": "developer", "developer": "developer"}


def says(case: Asked, request: HttpRequest) -> None:
    """Every field stands where the Responses API looks for it, or is reported."""
    body = json.loads(request.body)
    assert request.url == "http://127.0.0.1:9/responses"
    assert set(body) <= FIELDS
    assert (body["model"], body["store"], body["stream"]) == ("upstream-model", False, True)
    assert body["instructions"]
    for name, value in case.fields.items():
        if value is None or name in request.dropped or name in ELSEWHERE:
            continue
        if name == "response_format":
            assert body.get("text", {}).get("format") == FORMATS.get(value["type"])
        elif name == "reasoning_effort":
            assert body["reasoning"]["effort"] == value
        else:
            assert body[name] == value, name
    if case.fields.get("tools") or case.fields.get("functions"):
        assert body["tools"] == [FUNCTION]
        choice = case.fields.get("tool_choice") or case.fields.get("function_call")
        expected = {"type": "function", "name": "f"} if isinstance(choice, dict) else CHOICES.get(choice or "")
        assert body.get("tool_choice") == expected
    judge_input(case, body["input"], request.dropped)


def judge_input(case: Asked, items: list[dict[str, Any]], dropped: tuple[str, ...]) -> None:
    said = [item for item in items if item["type"] == "message"]
    asked = [
        each
        for each in case.fields["messages"]
        if each["role"] not in ("tool", "function") and each["content"] is not None
    ]
    for theirs, ours in zip(asked, said, strict=True):
        assert ours["role"] == ROLES.get(theirs["role"], theirs["role"])
        assert ("name" in theirs) <= ("messages.name" in dropped)
        for name in ("reasoning_content", "reasoning_details"):
            assert (name in theirs) <= (f"messages.{name}" in dropped)
        kind = "output_text" if theirs["role"] == "assistant" else "input_text"
        parts = (
            theirs["content"] if isinstance(theirs["content"], list) else [{"type": "text", "text": theirs["content"]}]
        )
        assert ours["content"] == [part_of(each, kind) for each in parts]
    calls = [item["call_id"] for item in items if item["type"] == "function_call"]
    answers = [item["call_id"] for item in items if item["type"] == "function_call_output"]
    assert sorted(calls) == sorted(answers)
    assert len(set(calls)) == len(calls)


def part_of(part: dict[str, Any], kind: str) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": kind, "text": part["text"]}
    image = part["image_url"]
    return {"type": "input_image", "image_url": image if isinstance(image, str) else image["url"]}


SPEAKER = Speaker(CodexAdapter(), says, unsupported=frozenset({"audio", "stop string", "stop list"}))
