"""Mistral's wire: OpenAI's names but for a few, closed lists of keys, tool ids of nine letters and digits."""

from __future__ import annotations

import json
import re
from typing import Any

from adapters.mistral import MistralAdapter
from adapters.types import HttpRequest, Operation
from tests.adapters.contract import Asked, Speaker

RENAMED = {
    "max_completion_tokens": "max_tokens",
    "seed": "random_seed",
    "dimensions": "output_dimension",
    "functions": "tools",
    "function_call": "tool_choice",
}
MESSAGE_KEYS = {"role", "content", "tool_calls", "tool_call_id", "name", "prefix"}


def says(case: Asked, request: HttpRequest) -> None:
    """Every field stands under Mistral's name with its value, or is reported; messages keep what they say."""
    body = json.loads(request.body)
    assert body.pop("model") == "upstream-model"
    assert "stream_options" not in body
    for name, value in case.fields.items():
        if name in ("messages", "stream_options"):
            continue
        there = RENAMED.get(name, name)
        if value is None or value == {"type": "text"}:
            assert there not in body
        elif name not in request.dropped and name != "encoding_format":
            assert_said(name, value, body[there])
    if case.operation is Operation.CHAT:
        judge_messages(case, body["messages"], request.dropped)


def assert_said(name: str, value: Any, said: Any) -> None:
    if name == "functions":
        assert [tool["function"]["name"] for tool in said] == [function["name"] for function in value]
    elif name == "response_format" and value["type"] == "json_schema":
        assert said["json_schema"]["schema"] == value["json_schema"]["schema"]
        assert said["json_schema"]["strict"] is True
    elif name == "prompt":
        assert said == (value if isinstance(value, str) else value[0])
    else:
        assert said == value, name


def judge_messages(case: Asked, said: list[dict[str, Any]], dropped: tuple[str, ...]) -> None:
    asked = case.fields["messages"]
    assert all(set(message) <= MESSAGE_KEYS for message in said)
    assert len(said) >= len(asked)  # a call without a result gets one
    for theirs, ours in zip(asked, said, strict=False):
        roles = {"developer": "system", "function": "tool"}
        assert ours["role"] == roles.get(theirs["role"], theirs["role"])
        if isinstance(theirs["content"], str) and not isinstance(ours["content"], list):
            assert ours["content"] == theirs["content"]
        if "name" in theirs and theirs["role"] == "user":
            assert "messages.name" in dropped
        if theirs.get("reasoning_content"):
            assert "messages.reasoning_content" in dropped
        if isinstance(theirs["content"], list):
            assert [part["type"] for part in ours["content"]] == [part["type"] for part in theirs["content"]]
    called = [call["id"] for message in said for call in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in said if message["role"] == "tool"]
    assert all(re.fullmatch("[A-Za-z0-9]{9}", id) for id in called)
    assert answered == called[: len(answered)]
    assert len(set(called)) == len(called)


SPEAKER = Speaker(
    MistralAdapter(),
    says,
    unsupported=frozenset({"text completion", "embedding of tokens"}),
)
