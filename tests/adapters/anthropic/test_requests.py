"""What the Messages API is sent: turns, tools, media, fields."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from adapters.anthropic.host import Host
from adapters.anthropic.request import API_VERSION, build_body
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.options import Options
from adapters.types import Operation
from tests.adapters.anthropic.asking import ADAPTER, NO_CACHE, SYSTEM, TOOL, USER, body, call_of, calls, request, result
from tests.adapters.recorded import target_of

GO = {"role": "user", "content": "go"}


def contents(made: dict[str, Any]) -> list[Any]:
    return [message["content"] for message in made["messages"]]


def test_system_messages_in_front_become_the_system_prompt() -> None:
    made = body(SYSTEM, {"role": "developer", "content": "be brief"}, USER)
    assert made["system"] == [{"type": "text", "text": "be kind"}, {"type": "text", "text": "be brief"}]
    assert body(SYSTEM, USER)["system"] == "be kind"
    assert made["messages"] == [USER]


def test_results_come_first_in_one_turn_in_the_order_of_the_calls() -> None:
    for order in (("a", "b"), ("b", "a")):
        made = body(USER, calls("a", "b"), *(result(id, id) for id in order), GO)
        assert contents(made)[2] == [
            {"type": "tool_result", "tool_use_id": "a", "content": "a"},
            {"type": "tool_result", "tool_use_id": "b", "content": "b"},
            {"type": "text", "text": "go"},
        ]


def test_words_between_results_come_after_them() -> None:
    made = body(USER, calls("a", "b"), result("a"), GO, result("b"))
    assert [block["type"] for block in contents(made)[2]] == ["tool_result", "tool_result", "text"]


def test_an_empty_text_beside_calls_is_not_sent() -> None:
    assert contents(body(USER, calls("a"), result("a")))[1] == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    ]


@pytest.mark.parametrize(
    ("arguments", "input"),
    [
        ("", {}),
        ("[1]", {"value": [1]}),
        ("{bad", {"_raw_arguments": "{bad"}),
        ('{"a":{"b":1}}', {"a": {"b": 1}}),
    ],
)
def test_arguments_become_an_object_whatever_the_model_wrote(arguments: str, input: Any) -> None:
    assert contents(body(USER, calls("a", arguments=arguments), result("a")))[1][0]["input"] == input


def test_ids_in_other_characters_are_replaced_alike_in_call_and_result_and_stay_different() -> None:
    ids = ["call:1/ä", "a.b", "a_b", "a:b"]
    made = contents(body(USER, calls(*ids), *(result(id) for id in ids)))
    sent = [block["id"] for block in made[1]]
    assert sent == [block["tool_use_id"] for block in made[2]]
    assert len(set(sent)) == 4 and sent[2] == "a_b"
    assert all(character.isalnum() or character in "_-" for id in sent for character in id)


def test_an_id_used_again_in_a_later_turn_is_made_different() -> None:
    made = contents(body(USER, calls("call_0"), result("call_0", "1"), calls("call_0"), result("call_0", "2")))
    assert [made[1][0]["id"], made[3][0]["id"]] == ["call_0", "call_0-1"]
    assert [made[2][0]["tool_use_id"], made[4][0]["tool_use_id"]] == ["call_0", "call_0-1"]
    assert [made[2][0]["content"], made[4][0]["content"]] == ["1", "2"]


def test_a_call_without_a_result_and_a_result_without_a_call_are_told_truthfully() -> None:
    made = contents(body(USER, calls("a"), GO, {"role": "function", "name": "g", "content": "lost"}))
    assert made[2][0]["is_error"] is True
    assert made[2][1:] == [
        {"type": "text", "text": "go"},
        {"type": "text", "text": "Result of the tool g: "},
        {"type": "text", "text": "lost"},
    ]


def test_results_hold_texts_and_images() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    made = contents(
        body(
            USER,
            calls("a", "b", "c"),
            result("a", [{"type": "text", "text": "x"}, image]),
            result("b", ""),
            result("c", " "),
        )
    )
    assert [block["type"] for block in made[2][0]["content"]] == ["text", "image"]
    assert "content" not in made[2][1] and "content" not in made[2][2]


def test_the_answers_length_is_always_sent_and_never_above_the_models_own() -> None:
    assert body(USER)["max_tokens"] == 8192
    assert body(USER, options=Options(default_max_tokens=100_000))["max_tokens"] == 64_000
    assert body(USER, max_tokens=200_000)["max_tokens"] == 64_000
    assert request(USER, max_tokens=200_000).dropped == ("max_tokens",)
    assert body(USER, max_completion_tokens=7, max_tokens=9)["max_tokens"] == 7
    assert body(USER, model="someone-elses", max_tokens=200_000)["max_tokens"] == 200_000


def test_sampling_goes_as_far_as_the_model_takes_it() -> None:
    assert body(USER, model="claude-sonnet-4-5", temperature=1.5)["temperature"] == 1
    assert "temperature" not in body(USER, model="claude-opus-5", temperature=0.3)
    assert request(USER, model="claude-opus-5", temperature=0.3, top_p=0.5, top_k=4).dropped == (
        "temperature",
        "top_p",
        "top_k",
    )
    assert request(USER, model="claude-opus-5", temperature=1, top_p=1).dropped == ()
    both = request(USER, temperature=0.2, top_p=0.9)
    assert json.loads(both.body)["temperature"] == 0.2 and "top_p" not in json.loads(both.body)
    assert both.dropped == ("top_p",)
    assert body(USER, temperature=1, top_p=0.9)["top_p"] == 0.9
    assert body(USER, model="claude-3-haiku-20240307", temperature=0.2, top_p=0.9, top_k=5)["top_k"] == 5


def test_blank_stop_strings_are_left_out() -> None:
    made = request(USER, stop=["\n", "END"])
    assert json.loads(made.body)["stop_sequences"] == ["END"]
    assert made.dropped == ("stop",)
    assert "stop_sequences" not in body(USER, stop="\n")


def test_images_are_data_or_addresses_of_four_kinds() -> None:
    def image(url: str, **members: Any) -> dict[str, Any]:
        return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, **members}}]}

    assert contents(body(image("data:image/jpg;base64,AA==")))[0][0]["source"]["media_type"] == "image/jpeg"
    assert contents(body(image("https://x/a.png")))[0][0]["source"] == {"type": "url", "url": "https://x/a.png"}
    assert request(image("https://x/a.png", detail="high")).dropped == ("messages.content.image_url.detail",)
    for url in ("data:image/svg+xml;base64,AA==", "file:///etc/passwd", "gs://bucket/a.png"):
        with pytest.raises(Unsupported):
            request(image(url))


def test_documents_are_pdf_or_text_or_the_vendors_own_files() -> None:
    def file(**members: str) -> dict[str, Any]:
        return {"role": "user", "content": [{"type": "file", "file": members}]}

    text = base64.b64encode("é".encode()).decode()
    pdf = contents(body(file(filename="a.pdf", file_data="data:application/pdf;base64,AA==")))[0][0]
    assert pdf == {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
        "title": "a.pdf",
    }
    assert contents(body(file(file_data=f"data:text/csv;base64,{text}")))[0][0]["source"]["data"] == "é"
    own = request(file(file_id="file_011CNha8iCJcU1wXNR6q4V8w"))
    assert dict(own.headers)["anthropic-beta"] == "files-api-2025-04-14"
    for bad in (
        {"file_id": "file-abc"},
        {"file_data": "data:application/zip;base64,AA=="},
        {"file_data": "data:text/plain;base64,!"},
        {"file_data": "é", "filename": "a.txt"},
    ):
        with pytest.raises(Unsupported):
            request(file(**bad))


def test_silence_becomes_what_the_protocol_takes() -> None:
    assert contents(body({"role": "user", "content": " "})) == ["."]
    assert contents(body(SYSTEM)) == ["."]
    assert contents(body({"role": "assistant", "content": "hi"}, USER)) == [".", "hi", "hello"]
    merged = body(USER, {"role": "assistant", "content": ""}, GO)
    assert contents(merged) == [[{"type": "text", "text": "hello"}, {"type": "text", "text": "go"}]]


def test_words_of_the_assistant_at_the_end_are_gone_on_with_where_that_is_known() -> None:
    last = {"role": "assistant", "content": "Once upon "}
    assert contents(body(USER, last)) == ["hello", "Once upon"]
    assert contents(body(USER, last, model="claude-opus-4-6")) == ["hello", "Once upon ", "Continue."]
    assert request(USER, {**last, "prefix": True}, model="claude-opus-4-6").dropped == ("messages.prefix",)
    assert contents(body(USER, last, reasoning_effort="low"))[-1] == "Continue."


def test_a_later_system_message_stays_in_its_place() -> None:
    late = {"role": "system", "content": "be brief"}
    told = contents(body(USER, calls("a"), result("a"), late, model="claude-sonnet-4-5"))[2]
    assert [block["type"] for block in told] == ["tool_result", "text"]
    assert told[1]["text"] == "<system>\nbe brief\n</system>"
    known = body(USER, {"role": "assistant", "content": "hi"}, GO, late, model="claude-opus-4-8")
    assert known["messages"][-1] == late
    between = body(USER, late, GO, model="claude-opus-4-8")
    assert [message["role"] for message in between["messages"]] == ["user"]


def test_old_functions_become_tools() -> None:
    turn = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}}
    made = body(USER, turn, {"role": "function", "name": "f", "content": "1"}, functions=[TOOL["function"]])
    assert made["tools"][0]["name"] == "f"
    assert made["messages"][1]["content"][0]["id"] == made["messages"][2]["content"][0]["tool_use_id"]


def test_who_asks_is_told_without_naming_anybody() -> None:
    assert body(USER, user="u1")["metadata"] == {"user_id": "u1"}
    assert body(USER, user="u1", safety_identifier="s1")["metadata"] == {"user_id": "s1"}
    hidden = body(USER, user="ann@example.com")["metadata"]["user_id"]
    assert len(hidden) == 64 and "@" not in hidden
    assert body(USER, metadata={"user_id": "m"})["metadata"] == {"user_id": "m"}
    assert request(USER, metadata={"user_id": "m", "x": "y"}).dropped == ("metadata",)


def test_service_tiers_and_the_protocols_own_fields_travel() -> None:
    assert body(USER, service_tier="default")["service_tier"] == "standard_only"
    assert "service_tier" not in body(USER, service_tier="auto")
    assert request(USER, service_tier="flex").dropped == ("service_tier",)
    assert body(USER, container="c1")["container"] == "c1"
    made = request(USER, betas=["b-2", "a-1"])
    assert dict(made.headers)["anthropic-beta"] == "b-2,a-1"
    with pytest.raises(Unsupported, match="betas"):
        request(USER, betas=["x\r\ny: z"])


@pytest.mark.parametrize(
    ("name", "value"), [("logit_bias", {"1": 1}), ("modalities", ["text", "audio"]), ("reasoning_effort", "silly")]
)
def test_what_would_change_the_meaning_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(Unsupported) as refused:
        request(USER, **{name: value})
    assert refused.value.param == name


def test_what_is_lost_is_reported() -> None:
    made = request(
        {**USER, "name": "ann"}, seed=1, presence_penalty=1, logprobs=True, store=True, odd=1, n=1, logit_bias={}
    )
    assert made.dropped == ("seed", "presence_penalty", "logprobs", "store", "odd", "messages.name")


def test_headers_are_the_version_and_the_rows_own_with_betas_merged() -> None:
    target = replace(
        target_of(protocol="anthropic"),
        headers=(("x-row", "1"), ("anthropic-beta", "a-1, b-2"), ("anthropic-version", "2020-01-01")),
    )
    headers = dict(ADAPTER.request(call_of(USER, betas=["b-2", "c-3"]), target).headers)
    assert headers == {
        "x-row": "1",
        "anthropic-version": "2020-01-01",
        "anthropic-beta": "a-1,b-2,c-3",
        "content-type": "application/json",
    }
    assert dict(request(USER).headers)["anthropic-version"] == API_VERSION


def test_several_choices_become_several_calls() -> None:
    parts = ADAPTER.parts(call_of(n=3), target_of(protocol="anthropic"))
    assert len(parts) == 3 and all("n" not in part.fields for part in parts)


def test_another_host_has_the_version_in_the_body_and_fetches_nothing() -> None:
    host = Host(body_version="vertex-2023-10-16", takes_urls=False)
    target = target_of(protocol="anthropic", model="claude-opus-4-6")
    made = build_body(call_of(USER), target, Report(), host).body
    assert made["anthropic_version"] == "vertex-2023-10-16" and "model" not in made
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}]}
    with pytest.raises(Unsupported, match="inline"):
        build_body(call_of(image), target, Report(), host)


def test_every_field_of_the_table_is_known_by_its_top_level_name_or_below_one() -> None:
    table = ADAPTER.fidelity[Operation.CHAT]
    assert {name.partition(".")[0] for name in table} <= set(table)


LONG = [SYSTEM, USER, calls("a", "b"), result("a"), result("b"), {"role": "assistant", "content": "hm"}, USER]


LONG += [{"role": "assistant", "content": ""}, {"role": "user", "content": ""}, calls("a"), result("a"), GO]


LONG += [calls("call:1/ä", "a.b", "a_b"), result("a_b"), result("call:1/ä"), result("a.b"), GO]


FOREIGN = {"type": "function", "function": {"name": "näme.of/it"}}


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-opus-5-5"])
def test_a_longer_conversation_begins_with_the_same_bytes(model: str) -> None:
    whole = request(*LONG, model=model, tools=[FOREIGN, TOOL]).body
    answered = [index for index, message in enumerate(LONG) if message["role"] == "assistant"]
    for end in answered:
        shorter = request(*LONG[:end], model=model, tools=[FOREIGN, TOOL]).body
        begin = json.loads(shorter)["messages"]
        assert json.loads(whole)["messages"][: len(begin) - 1] == begin[:-1]
        assert whole.startswith(shorter[: shorter.index(b'"messages":')])
    assert request(*LONG, model=model, tools=[FOREIGN, TOOL]).body == whole
    assert NO_CACHE.prompt_cache is False
