"""Names that must differ within one request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.distinct import Distinct
from adapters.types import Operation
from gateway.http.api.inbound import read_call
from gateway.registry.adapters import ADAPTERS
from tests.adapters.recorded import target_of

MANY = 9_000
"""Equal names: looking through all before for each of them would take minutes."""


@given(st.lists(st.sampled_from(["a", "a-1", "a-2", "b", "a-1-1"])))
def test_no_name_is_given_twice_and_the_first_free_number_is_taken(names: list[str]) -> None:
    distinct, given_before = Distinct(), set[str]()
    for name in names:
        found = distinct.give(name, lambda count, name=name: f"{name}-{count}")
        free = (
            name
            if name not in given_before
            else next(n for i in range(1, 99) if (n := f"{name}-{i}") not in given_before)
        )
        assert found == free
        given_before.add(found)


@pytest.mark.parametrize(
    ("protocol", "model"),
    [
        ("anthropic", "claude-sonnet-4-5"),
        ("vertex", "claude-sonnet-4-5"),
        ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("bedrock", "mistral.mistral-large-2407-v1:0"),
        ("cohere", "command-a-03-2025"),
    ],
)
def test_thousands_of_calls_with_one_id_get_ids_of_their_own_in_one_pass(protocol: str, model: str) -> None:
    call: dict[str, Any] = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ]
    ids = _ids(_sent(protocol, model, [{"role": "user", "content": "hi"}, *(turn * MANY)]))
    assert (len(ids), len(set(ids))) == (MANY, MANY)


def test_thousands_of_files_with_one_name_get_names_of_their_own_in_one_pass() -> None:
    file = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,YQ=="}}
    body = _sent("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", [{"role": "user", "content": [file] * MANY}])
    names = [block["document"]["name"] for block in body["messages"][0]["content"] if "document" in block]
    assert (names[:3], len(set(names))) == (["a", "a (2)", "a (3)"], MANY)


def _sent(protocol: str, model: str, messages: list[Any]) -> Any:
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = json.dumps({"model": model, "messages": messages, "tools": tools}).encode()
    call = read_call(Operation.CHAT, body, id="chatcmpl-1", created=1)
    adapter = ADAPTERS[protocol]
    return json.loads(adapter.request(call, target_of(protocol=protocol, model=model)).body)


def _ids(body: Any) -> list[str]:
    found: list[str] = []
    for message in body["messages"]:
        found += [call["id"] for call in message.get("tool_calls", ())]
        for block in message.get("content") or () if not isinstance(message.get("content"), str) else ():
            if "toolUse" in block:
                found.append(block["toolUse"]["toolUseId"])
            elif block.get("type") == "tool_use":
                found.append(block["id"])
    return found


@given(st.lists(st.tuples(st.sampled_from(["a", "a-1", "b"]), st.booleans())))
def test_names_that_were_taken_as_they_are_are_given_to_nobody_else(names: list[tuple[str, bool]]) -> None:
    distinct, out = Distinct(), list[str]()
    for name, is_taken in names:
        if not is_taken:
            out.append(distinct.give(name, lambda count, name=name: f"{name}-{count}"))
        elif distinct.take(name):
            out.append(name)
        else:
            assert name in out
    assert len(out) == len(set(out))
