"""Conversations as Gemini reads them: turns, calls and their results, signatures, media."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unsupported
from adapters.types import Operation
from gateway.errors import GatewayError
from gateway.http.api.inbound import read_call
from tests.adapters.gemini.asking import ADAPTER, NEWEST, USER, asked, body_of, called, contents_of, result, target
from tests.adapters.test_fuzz import REQUEST, replaced

SIGNED = {"extra_content": {"google": {"thought_signature": "c2lnbmVk"}}}
STAND_IN = "skip_thought_signature_validator"
OLD = "gemini-2.5-flash"


def test_leading_system_messages_are_the_instruction_and_later_ones_stay_in_their_place() -> None:
    first, later = {"role": "system", "content": "A"}, {"role": "developer", "content": "B"}
    body = body_of(first, USER, later, {"role": "user", "content": "c"})
    assert body["systemInstruction"] == {"parts": [{"text": "A"}]}
    assert [content["parts"][0]["text"] for content in body["contents"]] == ["hello", "B", "c"]
    assert {content["role"] for content in body["contents"]} == {"user"}
    assert asked(first, USER, later, USER).dropped == ("messages.role",)


def test_results_stand_together_in_the_order_of_their_calls_with_names_and_ids() -> None:
    contents = contents_of(USER, called("a", "b"), result("b", "2"), result("a", "1"))
    assert [part["functionCall"]["id"] for part in contents[1]["parts"]] == ["a", "b"]
    assert contents[2] == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "a", "name": "look", "response": {"output": "1"}}},
            {"functionResponse": {"id": "b", "name": "look", "response": {"output": "2"}}},
        ],
    }


@pytest.mark.parametrize(
    ("content", "response"),
    [
        ("42", {"output": "42"}),
        ('{"a":1}', {"a": 1}),
        ("[1]", {"output": "[1]"}),
        ("{broken", {"output": "{broken"}),
        ("", {"output": ""}),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {"output": "ab"}),
    ],
)
def test_a_result_is_an_object(content: Any, response: dict[str, Any]) -> None:
    part = contents_of(USER, called("a"), result("a", content))[2]["parts"][0]
    assert part["functionResponse"]["response"] == response


def test_a_result_may_be_nested_as_deeply_as_it_likes() -> None:
    for depth in range(900, 1010):
        try:
            asked(USER, called("a"), result("a", '{"a":' * depth + "1" + "}" * depth))
        except Unsupported as refused:
            assert refused.param == "messages"


def test_a_result_that_failed_or_is_missing_is_told_as_an_error() -> None:
    failed = contents_of(USER, called("a"), result("a", "no such file", is_error=True))[2]["parts"][0]
    assert failed["functionResponse"]["response"] == {"error": "no such file"}
    missing = contents_of(USER, called("a"), USER)[2]["parts"][0]
    assert set(missing["functionResponse"]["response"]) == {"error"}


@pytest.mark.parametrize(
    ("arguments", "args"),
    [("", {}), ('{"b":[1]}', {"b": [1]}), ("nonsense", {"_raw_arguments": "nonsense"}), ("[1]", {"value": [1]})],
)
def test_arguments_are_an_object_whatever_the_model_wrote(arguments: str, args: dict[str, Any]) -> None:
    turn = called("a")
    turn["tool_calls"][0]["function"]["arguments"] = arguments
    assert contents_of(USER, turn, result("a"))[1]["parts"][0]["functionCall"]["args"] == args


def test_a_user_who_speaks_behind_results_has_a_content_of_his_own() -> None:
    contents = contents_of(USER, called("a"), result("a"), {"role": "user", "content": "and?"})
    assert contents[3] == {"role": "user", "parts": [{"text": "and?"}]}


def signatures(model: str, *messages: Any) -> list[str | None]:
    contents = contents_of(*messages, model=model)
    calls = [part for content in contents for part in content["parts"] if "functionCall" in part]
    return [part.get("thoughtSignature") for part in calls]


def test_a_step_without_a_signature_gets_the_stand_in_on_its_first_call_only() -> None:
    steps = (USER, called("a", "b"), result("a"), result("b"), called("c"), result("c"))
    assert signatures(NEWEST, *steps) == [STAND_IN, None, STAND_IN]
    assert signatures("gemini-4-argon", *steps) == [STAND_IN, None, STAND_IN]
    assert signatures(OLD, *steps) == [None, None, None]


def test_a_signature_goes_back_as_it_came() -> None:
    turn = called("a", "b")
    turn["tool_calls"][0] |= SIGNED
    assert signatures(NEWEST, USER, turn, result("a"), result("b")) == ["c2lnbmVk", None]
    other = called("a")
    other["tool_calls"][0]["provider_specific_fields"] = {"thought_signature": "b3RoZXI="}
    assert signatures(OLD, USER, other, result("a")) == ["b3RoZXI="]


def said(**members: Any) -> list[dict[str, Any]]:
    return contents_of(USER, {"role": "assistant", "content": "hi", **members}, USER)[1]["parts"]


def detail(data: str, **members: Any) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": data, "format": "google-gemini-v1", **members}


def test_the_signature_of_a_text_stands_beside_the_text() -> None:
    assert said(reasoning_details=[detail("c2ln")]) == [{"text": "hi", "thoughtSignature": "c2ln"}]
    assert said(**SIGNED) == [{"text": "hi", "thoughtSignature": "c2lnbmVk"}]
    assert said(**SIGNED, reasoning_details=[detail("c2lnbmVk")]) == [{"text": "hi", "thoughtSignature": "c2lnbmVk"}]


def test_several_signatures_are_never_merged() -> None:
    assert said(reasoning_details=[detail("b25l"), detail("dHdv")]) == [
        {"text": "", "thoughtSignature": "b25l"},
        {"text": "hi", "thoughtSignature": "dHdv"},
    ]


def test_a_signed_thought_goes_back_as_a_thought() -> None:
    thought = {"type": "reasoning.text", "text": "hm", "signature": "c2ln", "format": "google-gemini-v1"}
    assert said(reasoning_details=[thought]) == [
        {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "hi"},
    ]


@pytest.mark.parametrize(
    ("members", "lost"),
    [
        ({"reasoning_content": "hm"}, "messages.reasoning_content"),
        ({"reasoning_details": [{**detail("c2ln"), "format": "anthropic-claude-v1"}]}, "messages.reasoning_details"),
        ({"reasoning_details": [{**detail(""), "text": "hm"}]}, "messages.reasoning_details"),
    ],
)
def test_reasoning_of_others_is_left_out_and_named(members: dict[str, Any], lost: str) -> None:
    turn = {"role": "assistant", "content": "hi", **members}
    assert contents_of(USER, turn, USER)[1]["parts"] == [{"text": "hi"}]
    assert asked(USER, turn, USER).dropped == (lost,)


@pytest.mark.parametrize(
    ("model", "last"), [("gemini-3-flash-preview", "model"), ("gemini-3.8-flash", "user"), ("gemini-4-neon", "user")]
)
def test_a_conversation_ends_with_the_model_only_where_it_may(model: str, last: str) -> None:
    request = asked(USER, {"role": "assistant", "content": "The answer is"}, model=model)
    contents = json.loads(request.body)["contents"]
    assert contents[-1]["role"] == last
    assert request.dropped == (("messages.prefix",) if last == "user" else ())


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "only"}],
        [{"role": "user", "content": ""}],
        [{"role": "assistant", "content": "hi"}, USER],
        [USER, {"role": "assistant", "content": "hi"}, {"role": "user", "content": ""}],
        [USER, called("a"), result("a", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}])],
    ],
    ids=["system alone", "empty user", "assistant first", "empty user last", "an image as result"],
)
def test_every_conversation_begins_and_ends_as_the_protocol_demands(messages: list[Any]) -> None:
    for model in (NEWEST, OLD):
        contents = contents_of(*messages, model=model)
        assert contents[0]["role"] == contents[-1]["role"] == "user"
        assert all(content["parts"] for content in contents)
        assert any(part.get("text") or "functionResponse" in part for part in contents[-1]["parts"])


def test_an_image_in_a_result_stands_inside_it_or_behind_it() -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    inline = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}
    new = contents_of(USER, called("a"), result("a", image))
    assert new[2]["parts"][0]["functionResponse"]["parts"] == [inline]
    old = contents_of(USER, called("a"), result("a", image), model=OLD)
    assert "parts" not in old[2]["parts"][0]["functionResponse"]
    assert old[3]["parts"][0] == inline


def shown(part: dict[str, Any], model: str = NEWEST) -> dict[str, Any]:
    return contents_of({"role": "user", "content": [part]}, model=model)[0]["parts"][0]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data:image/webp;base64,AA==", {"inlineData": {"mimeType": "image/webp", "data": "AA=="}}),
        ("https://x/a.PNG?b", {"fileData": {"mimeType": "image/png", "fileUri": "https://x/a.PNG?b"}}),
        ("https://x/picture", {"fileData": {"fileUri": "https://x/picture"}}),
        ("gs://bucket/a.jpg", {"fileData": {"mimeType": "image/jpeg", "fileUri": "gs://bucket/a.jpg"}}),
    ],
)
def test_an_image_is_data_or_an_address(url: str, expected: dict[str, Any]) -> None:
    assert shown({"type": "image_url", "image_url": {"url": url}}) == expected


@pytest.mark.parametrize("url", ["ftp://x/a.png", "file:///etc/passwd", "javascript:x", "//x/a.png", "https:///a"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(Unsupported) as refused:
        shown({"type": "image_url", "image_url": {"url": url}})
    assert refused.value.param == "messages[0].content[0]"


def test_old_models_take_googles_own_addresses_only() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    with pytest.raises(Unsupported, match="base64 data URL"):
        shown(part, "gemini-2.0-flash")
    video = {"type": "video_url", "video_url": {"url": "https://youtu.be/x"}}
    assert shown(video, "gemini-2.0-flash") == {"fileData": {"fileUri": "https://youtu.be/x"}}


def test_a_file_may_be_named_by_googles_id() -> None:
    root = "https://generativelanguage.googleapis.com/v1beta/files/abc"
    assert shown({"type": "file", "file": {"file_id": "files/abc"}}) == {"fileData": {"fileUri": root}}
    with pytest.raises(Unsupported, match="other providers"):
        shown({"type": "file", "file": {"file_id": "file-123"}})


def test_what_has_no_place_is_named() -> None:
    message = {"role": "user", "name": "ann", "cache_control": {"type": "ephemeral"}, "content": "x"}
    assert asked(message).dropped == ("messages.name", "messages.cache_control")


def test_a_longer_conversation_begins_with_the_bytes_of_the_shorter() -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    turns = [USER, called("a", "b"), result("a"), result("b"), {"role": "assistant", "content": "hi"}, USER]
    system = {"role": "system", "content": "be kind"}
    long = asked(system, *turns, tools=tools, temperature=0.5).body
    for length in (1, 4, 6):
        short = asked(system, *turns[:length], tools=tools, temperature=0.5).body
        assert long.startswith(short.removesuffix(b"]}")), length


@given(data=st.data(), model=st.sampled_from([NEWEST, OLD, "gemini-2.0-flash", "gemini-4-argon", "tuned"]))
def test_any_request_is_made_or_refused(data: st.DataObject, model: str) -> None:
    body = data.draw(replaced(json.dumps(REQUEST).encode()))
    try:
        call = read_call(Operation.CHAT, body, id="chatcmpl-1", created=1)
    except GatewayError:
        return
    try:
        made = [ADAPTER.request(part, target(model)) for part in ADAPTER.parts(call, target(model))]
    except Unsupported as refusal:
        assert refusal.message
        return
    for request in made:
        contents = json.loads(request.body)["contents"]
        assert contents[0]["role"] == "user"
        assert all(content["parts"] for content in contents)
