"""Where the marks of prompt caches stand."""

from __future__ import annotations

import json
from typing import Any

from adapters.options import Options
from tests.adapters.anthropic.asking import TOOL, USER, body, calls, request, result

ON = Options()
MARK = {"type": "ephemeral"}
LONG = {"role": "system", "content": "x" * 3073}
TALK = [USER, {"role": "assistant", "content": "hi"}, USER, {"role": "assistant", "content": "hi"}, USER]


def marked(value: Any) -> list[Any]:
    """Returns the marked blocks anywhere in a body, in its order."""
    if isinstance(value, list):
        return [each for item in value for each in marked(item)]
    if isinstance(value, dict):
        own = [value] if "cache_control" in value else []
        return own + [each for item in value.values() for each in marked(item)]
    return []


def test_marks_stand_where_they_pay() -> None:
    made = body(LONG, *TALK, tools=[TOOL, {"type": "function", "function": {"name": "g"}}], options=ON)
    assert [block.get("name") or block["text"] for block in marked(made)] == ["g", LONG["content"], "hello"]
    assert made["messages"][-1]["content"] == [{**{"type": "text", "text": "hello"}, "cache_control": MARK}]
    assert all("cache_control" not in json.dumps(message) for message in made["messages"][:-1])


def test_short_prompts_strangers_and_whoever_said_no_get_no_marks() -> None:
    assert marked(body({"role": "system", "content": "x" * 3072}, *TALK[:3], options=ON)) == []
    assert marked(body(LONG, *TALK, tools=[TOOL], options=Options(prompt_cache=False))) == []
    assert marked(body(LONG, *TALK, tools=[TOOL], options=ON, model="someone-elses")) == []
    assert marked(body(LONG, *TALK, cache_control=MARK, options=ON)) == [body(LONG, *TALK, cache_control=MARK)]


def test_the_clients_own_marks_win() -> None:
    part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h", "odd": 1}}
    made = body(LONG, {"role": "user", "content": [part, {"type": "text", "text": "b"}]}, options=ON, tools=[TOOL])
    assert marked(made) == [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    on_message = body({**USER, "cache_control": MARK})
    assert on_message["messages"][0]["content"][0]["cache_control"] == MARK
    on_tool = body(USER, tools=[{**TOOL, "cache_control": MARK}])
    assert on_tool["tools"][0]["cache_control"] == MARK
    inside = body(USER, calls("a"), result("a", [{"type": "text", "text": "1", "cache_control": MARK}]))
    assert inside["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "1", "cache_control": MARK}
    ]


def test_of_more_than_four_marks_the_earliest_go() -> None:
    parts = [{"type": "text", "text": str(n), "cache_control": MARK} for n in range(6)]
    made = request({"role": "user", "content": parts})
    assert [block["text"] for block in marked(json.loads(made.body))] == ["2", "3", "4", "5"]
    assert made.dropped == ("messages.cache_control",)
    automatic = body({"role": "user", "content": parts}, cache_control=MARK)
    assert len(marked(automatic["messages"])) == 3
