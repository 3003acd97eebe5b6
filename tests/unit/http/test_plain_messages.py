"""Conversations of plain messages are read in one go, and judged as all others are."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some

from adapters.types import Operation
from gateway.errors import GatewayError
from gateway.http.api.inbound import read_call

IDS = some.sampled_from(["call_1", "call_2", "", None])
TEXTS = some.sampled_from(["", "x", 'é"\\', None])
PARTS = some.sampled_from([{"type": "text", "text": "a"}, {"type": "text"}, {"type": "audio"}, {}])
CALLS = some.fixed_dictionaries(
    {"id": IDS, "type": some.just("function"), "function": some.just({"name": "f", "arguments": "{}"})}
)
MESSAGES = some.fixed_dictionaries(
    {"role": some.sampled_from(["user", "assistant", "tool", "function", "nobody", None])},
    optional={
        "content": TEXTS | some.lists(PARTS, max_size=2),
        "tool_calls": some.none() | some.lists(CALLS, max_size=2),
        "tool_call_id": IDS,
    },
)


def verdict(messages: list[dict[str, Any]]) -> str | None:
    body = json.dumps({"model": "p/m", "messages": messages}).encode()
    try:
        read_call(Operation.CHAT, body, id="chatcmpl-1", created=5)
    except GatewayError as error:
        return f"{error.code} {error.param}"
    return None


@settings(deadline=None, max_examples=300)
@given(some.lists(MESSAGES, min_size=1, max_size=4))
def test_a_conversation_of_plain_messages_is_judged_as_one_with_a_member_more(messages: list[dict[str, Any]]) -> None:
    assert verdict(messages) == verdict([{**messages[0], "unknown": None}, *messages[1:]])
