"""The Messages API: the same conversation in blocks, on Claude Haiku 4.5."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from adapters.anthropic import AnthropicAdapter
from adapters.types import HttpRequest
from tests.adapters.contract import Asked, Speaker
from tests.adapters.recorded import target_of

DROPPED = {
    "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "seed", "store", "metadata", "vendor_field",
}  # fmt: skip
KEYS = {
    "model", "max_tokens", "stream", "temperature", "top_p", "stop_sequences", "metadata", "thinking", "output_config",
    "tool_choice", "tools", "system", "messages",
}  # fmt: skip


def says(case: Asked, request: HttpRequest) -> None:
    body = json.loads(request.body)
    fields = {name: value for name, value in case.fields.items() if value is not None}
    assert body.keys() <= KEYS
    assert list(body)[-1] == "messages"
    assert body["model"] == "claude-haiku-4-5"
    assert body["max_tokens"] == fields.get("max_tokens", fields.get("max_completion_tokens", limit(fields)))
    assert dict(request.headers)["anthropic-version"] == "2023-06-01"
    assert set(request.dropped) - {
        "messages.name",
        "messages.reasoning_content",
        "messages.reasoning_details",
        "response_format",
    } == DROPPED & set(fields)
    judge_messages(fields["messages"], body, request.dropped)
    judge_tools(fields, body)
    judge_format(fields, body, request.dropped)
    assert body.get("stream", False) is fields.get("stream", False)
    assert body.get("temperature") == fields.get("temperature")
    assert body.get("top_p") == fields.get("top_p")
    stop = fields.get("stop", [])
    assert body.get("stop_sequences", []) == ([stop] if isinstance(stop, str) else stop)
    assert body.get("metadata", {}).get("user_id") == fields.get("user")
    wanted = {"type": "enabled", "budget_tokens": 2048} if "reasoning_effort" in fields else None
    assert body.get("thinking") == wanted


def limit(fields: dict[str, Any]) -> int:
    return 8192 + 2048 * ("reasoning_effort" in fields)


def blocks(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def judge_messages(asked: list[Any], body: dict[str, Any], dropped: tuple[str, ...]) -> None:
    told = [(message["role"], block) for message in body["messages"] for block in blocks(message["content"])]
    roles = [message["role"] for message in body["messages"]]
    assert all(first != second for first, second in pairwise(roles))
    assert roles[0] == "user"
    system = [message["content"] for message in asked if message["role"] in ("system", "developer")]
    assert body.get("system", "").startswith("".join(system))
    assert ("messages.name" in dropped) == any("name" in message and message["role"] == "user" for message in asked)
    thoughts = [message for message in asked if "reasoning_content" in message or "reasoning_details" in message]
    assert bool({"messages.reasoning_content", "messages.reasoning_details"} & set(dropped)) == bool(thoughts)
    texts = [block["text"] for role, block in told if block["type"] == "text"]
    for message in asked:
        if message["role"] not in ("user", "assistant"):
            continue
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
            if part["type"] == "text":
                assert (part["text"] or ".") in texts
            else:
                assert [block["source"]["type"] for _, block in told if block["type"] == "image"]
    judge_calls(asked, [block for _, block in told])


def judge_calls(asked: list[Any], told: list[Any]) -> None:
    calls = [call for message in asked for call in message.get("tool_calls", ())]
    made = [block for block in told if block["type"] == "tool_use"]
    old = [message["function_call"] for message in asked if "function_call" in message]
    assert [block["name"] for block in made] == [call["function"]["name"] for call in calls] + [
        call["name"] for call in old
    ]
    assert [block["input"] for block in made] == [json.loads(call["function"]["arguments"]) for call in calls] + [
        json.loads(call["arguments"]) for call in old
    ]
    results = [block for block in told if block["type"] == "tool_result"]
    assert [block["tool_use_id"] for block in results] == [block["id"] for block in made]
    given = [message["content"] for message in asked if message["role"] in ("tool", "function")]
    assert [block["content"] for block in results if not block.get("is_error")] == given


def judge_tools(fields: dict[str, Any], body: dict[str, Any]) -> None:
    functions = fields.get("functions") or [tool["function"] for tool in fields.get("tools", ())]
    if "response_format" in fields:
        return
    told = [{key: value for key, value in tool.items() if key != "cache_control"} for tool in body.get("tools", ())]
    assert told == [
        {
            "name": function["name"],
            "description": function["description"],
            "input_schema": {"type": "object", "properties": {}},
        }
        for function in functions
    ]
    choice = body.get("tool_choice")
    asked = fields.get("tool_choice", fields.get("function_call"))
    if "parallel_tool_calls" in fields:
        assert choice == {"type": "auto", "disable_parallel_tool_use": True}
    elif isinstance(asked, dict):
        assert choice == {"type": "tool", "name": asked["function"]["name"]}
    else:
        assert choice == ({"type": {"required": "any"}.get(asked, asked)} if asked else None)


def judge_format(fields: dict[str, Any], body: dict[str, Any], dropped: tuple[str, ...]) -> None:
    kind = fields.get("response_format", {}).get("type", "text")
    output = body.get("output_config", {}).get("format")
    assert (kind == "json_object") == ("response_format" in dropped) == ("JSON" in body.get("system", ""))
    assert (output is not None) == (kind == "json_schema")
    if output is not None:
        assert output["schema"] == {"type": "object", "properties": {}, "additionalProperties": False}


SPEAKER = Speaker(
    AnthropicAdapter(),
    says,
    unsupported=frozenset({"audio", "logit bias"}),
    target=target_of(protocol="anthropic", model="claude-haiku-4-5"),
)
