"""What a vendor wants back unchanged survives the reading of a conversation, under whatever name it comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.codec import raw
from adapters.conversation import Turn, read_turns
from adapters.errors import Unsupported
from adapters.tools import read_tools
from adapters.types import Operation
from gateway.http.api.inbound import read_call

KEPT = {"google": {"thought_signature": "c2ln"}}


def turns(*messages: Any) -> list[Turn]:
    body = json.dumps({"model": "p/m", "messages": [{"role": "user", "content": "x"}, *messages]}).encode()
    return read_turns(read_call(Operation.CHAT, body, id="chatcmpl-1", created=1))


@pytest.mark.parametrize(
    "members",
    [{"extra_content": KEPT}, {"provider_specific_fields": {"thought_signature": "c2ln"}}],
    ids=["extra_content", "provider_specific_fields"],
)
def test_a_signature_is_found_on_the_call_and_on_the_message(members: dict[str, Any]) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, **members}
    turn = turns({"role": "assistant", "content": "hi", "tool_calls": [call], **members})[1]
    assert turn.calls[0].extra == turn.extra == KEPT


def test_what_is_no_signature_is_nothing() -> None:
    turn = turns({"role": "assistant", "content": "hi", "provider_specific_fields": {"thought_signature": 5}})[1]
    assert turn.extra is None


def test_a_spoken_answer_is_known_by_its_id() -> None:
    assert turns({"role": "assistant", "content": "hi", "audio": {"id": "audio_1"}})[1].audio_id == "audio_1"
    assert turns({"role": "assistant", "content": "hi", "audio": None})[1].audio_id == ""


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"tool_calls": [{"id": "c", "function": {"arguments": "{}"}}]}, "messages[1].tool_calls[0].function.name"),
        ({"tool_calls": [{"id": "c", "custom": {"name": 5, "input": ""}}]}, "messages[1].tool_calls[0].custom.name"),
        ({"function_call": {"name": "", "arguments": "{}"}}, "messages[1].function_call.name"),
    ],
)
def test_a_call_without_a_name_is_refused_by_its_place(members: dict[str, Any], param: str) -> None:
    with pytest.raises(Unsupported) as refused:
        turns({"role": "assistant", "content": "hi", **members})
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call"),
        ({"functions": [{"name": "f"}], "function_call": "perhaps"}, "function_call"),
        ({"functions": [{"name": "f"}], "tool_choice": "perhaps"}, "tool_choice"),
    ],
)
def test_a_choice_that_is_none_is_refused_by_the_name_that_the_client_wrote(fields: Any, param: str) -> None:
    with pytest.raises(Unsupported) as refused:
        read_tools({name: raw(value) for name, value in fields.items()})
    assert refused.value.param == param
    assert refused.value.message.startswith(param)


def test_old_results_belong_to_the_calls_of_their_function_in_order_however_many_there_are() -> None:
    names = ["a", "b", "a"] * 3_000
    calls = [{"role": "assistant", "content": None, "function_call": {"name": each, "arguments": ""}} for each in names]
    results = [{"role": "function", "name": each, "content": "x"} for each in ["a"] * 6_001 + ["b", "c"]]
    read = turns(*calls, *results)
    made = [turn.calls[0].id for turn in read[1 : len(calls) + 1]]
    answered = [turn.call_id for turn in read[len(calls) + 1 :]]
    assert answered[:6_000] == [id for id, name in zip(made, names, strict=True) if name == "a"]
    assert answered[6_000:] == ["", made[1], ""]


def test_allowed_tools_are_found_of_either_kind_and_must_be_among_the_tools() -> None:
    def choice(*allowed: Any) -> dict[str, None]:
        tools = [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "c"}}]
        wanted = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [*allowed]}}
        found = read_tools({"tools": raw(tools), "tool_choice": raw(wanted)}).choice
        return dict(found.allowed) if found else {}

    assert choice({"type": "custom", "custom": {"name": "c"}}, {"type": "function", "name": "f"}) == {
        "c": None,
        "f": None,
    }
    for nothing in ((), ({"type": "function", "function": {"name": "g"}},)):
        with pytest.raises(Unsupported, match="allows none of the tools"):
            choice(*nothing)
