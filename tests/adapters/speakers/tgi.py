"""TGI's wire: a narrow form of OpenAI's for chats, and its own for text completions."""

from __future__ import annotations

import json
from typing import Any

from adapters.tgi import TgiAdapter
from adapters.types import HttpRequest, Operation
from tests.adapters.contract import Asked, Speaker

RENAMED = {"max_completion_tokens": "max_tokens", "functions": "tools", "function_call": "tool_choice"}
REPORTED = frozenset({"logit_bias", "presence_penalty", "user", "metadata", "store", "reasoning_effort"})


def says(case: Asked, request: HttpRequest) -> None:
    """Every field stands under TGI's name, or is reported; messages keep what they say."""
    body = json.loads(request.body)
    if case.operation is Operation.COMPLETIONS:
        stream = case.fields.get("stream", False)
        assert request.url.endswith("/generate_stream" if stream else "/generate")
        assert body["inputs"] == case.fields["prompt"]
        assert body["parameters"]["return_full_text"] is False
        return
    assert request.url.endswith("/chat/completions")
    assert body["model"] == "tgi"
    for name, value in case.fields.items():
        if name in ("messages", "stream_options", "n"):
            continue
        there = RENAMED.get(name, name)
        if value is None or value == {"type": "text"}:
            assert there not in body
        elif name in REPORTED or name in request.dropped:
            assert name in request.dropped
            assert name not in body
        else:
            assert_said(name, value, body[there])
    assert ("stream_options" in body) == case.fields.get("stream", False)
    judge_messages(case, body["messages"], request.dropped)


def assert_said(name: str, value: Any, said: Any) -> None:
    if name == "functions":
        assert [tool["function"]["name"] for tool in said] == [function["name"] for function in value]
    elif name == "response_format":
        schema = value.get("json_schema", {}).get("schema", {"type": "object"})
        assert said == {"type": "json_object", "value": schema}
    elif name == "stop":
        assert said == ([value] if isinstance(value, str) else value)
    else:
        assert said == value, name


def judge_messages(case: Asked, said: list[dict[str, Any]], dropped: tuple[str, ...]) -> None:
    asked = case.fields["messages"]
    assert len(said) >= len(asked)  # a call without a result gets one
    for theirs, ours in zip(asked, said, strict=False):
        roles = {"developer": "system", "function": "tool"}
        assert ours["role"] == roles.get(theirs["role"], theirs["role"])
        assert ("content" in ours) != ("tool_calls" in ours)
        if "content" in ours and isinstance(theirs["content"], str):
            assert ours["content"] == theirs["content"]
        elif isinstance(theirs["content"], str) and theirs.get("tool_calls"):
            assert "messages.content" in dropped
        if "reasoning_content" in theirs or "reasoning_details" in theirs:
            assert "messages.reasoning_content" in dropped
        assert ours.get("name") == (theirs.get("name") if theirs["role"] == "user" else None)
    called = [call["id"] for message in said for call in message.get("tool_calls", ())]
    assert [message["tool_call_id"] for message in said if message["role"] == "tool"] == called


SPEAKER = Speaker(TgiAdapter(), says, unsupported=frozenset({"audio", "text completion"}))
