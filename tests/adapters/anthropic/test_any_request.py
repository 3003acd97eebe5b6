"""Requests of any kind: made or refused by name, never an accident; valid by the protocol's own rules once made."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unsupported
from adapters.types import Operation
from gateway.errors import GatewayError
from gateway.http.api.inbound import read_call
from tests.adapters.anthropic.asking import ADAPTER, SSE, TOOL
from tests.adapters.recorded import target_of
from tests.adapters.test_fuzz import REQUEST, replaced

MODELS = st.sampled_from(
    ["claude-3-haiku-20240307", "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-4-8", "claude-sonnet-5-5", "tiny"]
)
MORE: dict[str, Any] = {
    "reasoning_effort": "high",
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "metadata": {"user_id": "u"},
    "betas": ["a-1"],
    "cache_control": {"type": "ephemeral"},
    "output_config": {"effort": "low"},
    "service_tier": "auto",
    "top_k": 3,
}
TEXTS = st.sampled_from(["", " ", "hi", "go on "])
IDS = st.sampled_from(["a", "b", "c:1"])


@st.composite
def turns(draw: st.DrawFn) -> list[Any]:
    """Draws a conversation in any order, whose results answer calls that were made."""
    made: list[Any] = []
    known: list[str] = []
    for _ in range(draw(st.integers(1, 8))):
        role = draw(st.sampled_from(["system", "user", "user", "assistant", "calls", "tool"]))
        if role == "calls":
            ids = draw(st.lists(IDS, min_size=1, max_size=2, unique=True))
            known += ids
            calls = [{"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}} for id in ids]
            made.append({"role": "assistant", "content": draw(TEXTS), "tool_calls": calls})
        elif role == "tool":
            if known:
                made.append({"role": "tool", "tool_call_id": draw(st.sampled_from(known)), "content": draw(TEXTS)})
        else:
            made.append({"role": role, "content": draw(TEXTS)})
    return made or [{"role": "user", "content": ""}]


@pytest.mark.fuzz
@given(model=MODELS, data=st.data())
def test_a_request_is_made_or_refused_by_name(model: str, data: st.DataObject) -> None:
    fields = {**REQUEST, **MORE}
    gone = data.draw(st.sets(st.sampled_from(sorted(fields.keys() - {"model", "messages"}))))
    body = data.draw(replaced(json.dumps({name: value for name, value in fields.items() if name not in gone}).encode()))
    try:
        call = read_call(Operation.CHAT, body, id="chatcmpl-1", created=1)
    except GatewayError:
        return
    try:
        request = ADAPTER.request(call, target_of(protocol="anthropic", model=model))
    except Unsupported as refusal:
        assert refusal.param.partition(".")[0].partition("[")[0] in fields
        return
    made = json.loads(request.body)
    assert made["model"] == model
    assert made["max_tokens"] >= 1
    ADAPTER.stream(call, target_of(protocol="anthropic", model=model), SSE)


@given(conversation=turns(), model=MODELS, has_cache=st.booleans())
def test_any_conversation_keeps_to_the_protocols_rules(conversation: list[Any], model: str, has_cache: bool) -> None:
    made = _made(conversation, model, has_cache=has_cache)
    messages = made["messages"]
    assert messages[0]["role"] == "user"
    assert all(first["role"] != second["role"] for first, second in pairwise(messages))
    if model not in ("claude-3-haiku-20240307", "claude-sonnet-4-5", "tiny"):
        assert messages[-1]["role"] != "assistant"
    ids: list[str] = []
    for index, message in enumerate(messages):
        blocks = message["content"]
        assert blocks
        blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        kinds = [block["type"] for block in blocks]
        assert kinds == sorted(kinds, key=["tool_result", "text", "tool_use"].index)
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        ids += calls
        if calls:
            answers = messages[index + 1]["content"]
            assert [block["tool_use_id"] for block in answers if block["type"] == "tool_result"] == calls
    assert len(ids) == len(set(ids))
    assert json.dumps(made).count('"cache_control"') <= 4


@given(conversation=turns(), model=MODELS)
def test_a_conversation_only_grows(conversation: list[Any], model: str) -> None:
    answered = [*conversation, {"role": "user", "content": "now"}]
    longer = [*answered, {"role": "assistant", "content": "so"}, {"role": "user", "content": "and"}]
    first, second = (_made(each, model, has_cache=False) for each in (answered, longer))
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert first.get("system") == second.get("system")


def _made(conversation: list[Any], model: str, *, has_cache: bool) -> dict[str, Any]:
    body = json.dumps({"model": "p/m", "messages": conversation, "tools": [TOOL]}).encode()
    call = read_call(Operation.CHAT, body, id="chatcmpl-1", created=1)
    target = target_of(protocol="anthropic", model=model, options={"prompt_cache": has_cache})
    made: dict[str, Any] = json.loads(ADAPTER.request(call, target).body)
    return made
