"""The conversation that Converse gets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unsupported
from tests.adapters.bedrock.asking import (
    CLAUDE,
    CLAUDE_3,
    LLAMA,
    MISTRAL,
    NOVA,
    OPUS_46,
    TOOL,
    USER,
    asked,
    assistant,
    request,
    result,
    said,
    tool_call,
)

HELLO = ("user", [{"text": "hello"}])


def part(**members: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": "see"}, members]}


def test_the_whole_model_id_is_one_part_of_the_path() -> None:
    assert request().url.endswith("/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse")
    arn = "arn:aws:bedrock:us-east-1:012345678901:inference-profile/us.anthropic.claude-3-7-sonnet-20250219-v1:0"
    url = request(model=arn, stream=True).url
    assert url.endswith(
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A012345678901%3Ainference-profile"
        "%2Fus.anthropic.claude-3-7-sonnet-20250219-v1%3A0/converse-stream"
    )


def test_system_messages_at_the_head_become_system_and_later_ones_are_told_by_the_user() -> None:
    body, dropped = asked({"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, USER)
    assert body["system"] == [{"text": "a"}, {"text": "b"}]
    assert dropped == ()
    body, dropped = asked(USER, assistant("hi"), {"role": "system", "content": "c"})
    assert body["messages"][-1] == {"role": "user", "content": [{"text": "c"}]}
    assert dropped == ("messages.role",)


def test_a_blank_system_is_left_out() -> None:
    assert "system" not in asked({"role": "system", "content": " "}, USER)[0]


def test_system_alone_gets_a_turn_of_the_user() -> None:
    body, _ = asked({"role": "system", "content": "a"})
    assert body == {"system": [{"text": "a"}], "messages": [{"role": "user", "content": [{"text": "."}]}]}


def test_neighbours_of_one_role_are_laid_together() -> None:
    assert said(USER, USER, assistant("a"), assistant("b"), USER) == [
        ("user", [{"text": "hello"}, {"text": "hello"}]),
        ("assistant", [{"text": "a"}, {"text": "b"}]),
        HELLO,
    ]


def test_blank_text_is_never_sent() -> None:
    assert said({"role": "user", "content": " \n"}) == [("user", [{"text": "."}])]
    assert said(USER, assistant(""), USER) == [("user", [{"text": "hello"}, {"text": "hello"}])]
    assert said({"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "x"}]}) == [
        ("user", [{"text": "x"}])
    ]


def test_a_conversation_begins_with_the_user() -> None:
    assert said(assistant("hi"), USER)[0] == ("user", [{"text": "."}])


def test_the_end_of_a_prefill_is_trimmed() -> None:
    assert said(USER, assistant("It is: \n"), model=CLAUDE_3)[-1] == ("assistant", [{"text": "It is:"}])


def test_a_model_that_takes_no_prefill_is_asked_to_go_on() -> None:
    assert said(USER, assistant("It is "), model=OPUS_46)[1:] == [
        ("assistant", [{"text": "It is "}]),
        ("user", [{"text": "Continue."}]),
    ]


def test_a_model_that_thinks_takes_no_prefill() -> None:
    found = said(USER, assistant("It is ", prefix=True), reasoning_effort="low")
    assert found[-1] == ("user", [{"text": "Continue."}])
    assert asked(USER, assistant("It is ", prefix=True), reasoning_effort="low")[1] == ("messages.prefix",)
    assert asked(USER, assistant("It is ", prefix=True))[1] == ()


def test_what_an_answer_held_beside_text_is_named() -> None:
    png = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
    body, dropped = asked(USER, {"role": "assistant", "content": [png, {"type": "text", "text": "see"}]}, USER)
    assert body["messages"][1]["content"] == [{"text": "(image, not shown again)"}, {"text": "see"}]
    assert dropped == ("messages.content",)


def test_three_results_of_one_turn_are_one_message() -> None:
    calls = [tool_call(f"c{number}") for number in range(3)]
    found = said(USER, assistant(tool_calls=calls), *(result(f"c{number}") for number in (2, 0, 1)), tools=[TOOL])
    assert [role for role, _ in found] == ["user", "assistant", "user"]
    assert [block["toolResult"]["toolUseId"] for block in found[2][1]] == ["c0", "c1", "c2"]


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    found = said(USER, assistant(tool_calls=[tool_call()]), USER, tools=[TOOL])
    told = found[2][1][0]["toolResult"]
    assert told["status"] == "error"
    assert "not carried out" in told["content"][0]["text"]
    assert (
        "status"
        not in said(USER, assistant(tool_calls=[tool_call()]), USER, tools=[TOOL], model=LLAMA)[2][1][0]["toolResult"]
    )


@pytest.mark.parametrize(
    ("arguments", "input"),
    [('{"a":1}', {"a": 1}), ("", {}), ('{"a":', {"_raw_arguments": '{"a":'}), ("[1]", {"value": [1]})],
)
def test_arguments_are_always_an_object(arguments: str, input: Any) -> None:
    found = said(USER, assistant(tool_calls=[tool_call(arguments=arguments)]), result(), tools=[TOOL])
    assert found[1][1] == [{"toolUse": {"toolUseId": "call_1", "name": "f", "input": input}}]


@pytest.mark.parametrize("fields", [{}, {"tools": [TOOL], "tool_choice": "none"}], ids=["no tools", "none"])
def test_without_tools_calls_and_results_are_told_as_text(fields: Any) -> None:
    body, _ = asked(USER, assistant(tool_calls=[tool_call()]), result(), **fields)
    assert "toolConfig" not in body
    assert body["messages"][1:] == [
        {"role": "assistant", "content": [{"text": "Called the tool f with {}"}]},
        {"role": "user", "content": [{"text": "Result of the tool f: "}, {"text": "done"}]},
    ]


def test_mistral_gets_ids_of_nine_letters_the_same_in_call_and_result() -> None:
    ids = ["call_abc-123456789", "call_abc-987654321", "D681PevKs"]
    calls = [tool_call(id) for id in ids]
    found = said(USER, assistant(tool_calls=calls), *map(result, ids), tools=[TOOL], model=MISTRAL)
    sent = [block["toolUse"]["toolUseId"] for block in found[1][1]]
    assert sent == [block["toolResult"]["toolUseId"] for block in found[2][1]]
    assert all(len(id) == 9 and id.isalnum() for id in sent)
    assert len(set(sent)) == 3
    assert sent[2] == "D681PevKs"


@pytest.mark.parametrize("model", [CLAUDE, MISTRAL])
def test_an_id_that_is_used_twice_becomes_two(model: str) -> None:
    turn = (assistant(tool_calls=[tool_call()]), result())
    found = said(USER, *turn, *turn, USER, tools=[TOOL], model=model)
    called = [block["toolUse"]["toolUseId"] for _, blocks in found for block in blocks if "toolUse" in block]
    answered = [block["toolResult"]["toolUseId"] for _, blocks in found for block in blocks if "toolResult" in block]
    assert called == answered
    assert len(set(called)) == 2
    assert found[:2] == said(USER, *turn, tools=[TOOL], model=model)[:2]


@given(id=st.text(min_size=1, max_size=80))
def test_any_id_and_name_fit_and_are_the_same_each_time(id: str) -> None:
    messages = (USER, assistant(tool_calls=[tool_call(id, name=id)]), result(id))
    found = said(*messages, tools=[TOOL])
    use = found[1][1][0]["toolUse"]
    assert use["toolUseId"] == found[2][1][0]["toolResult"]["toolUseId"]
    assert 1 <= len(use["toolUseId"]) <= 64 >= len(use["name"]) >= 1
    assert (use["name"] + use["toolUseId"]).isascii()
    assert found == said(*messages, tools=[TOOL])


def test_results_may_hold_images_but_no_sounds() -> None:
    png = {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,iVBO"}}
    calls = assistant(tool_calls=[tool_call()])
    found = said(USER, calls, result(content=[{"type": "text", "text": "a"}, png]), tools=[TOOL])
    assert found[2][1][0]["toolResult"]["content"] == [
        {"text": "a"},
        {"image": {"format": "jpeg", "source": {"bytes": "iVBO"}}},
    ]
    sound = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}
    with pytest.raises(Unsupported, match="cannot hold sounds"):
        asked(USER, calls, result(content=[sound]), tools=[TOOL])


@pytest.mark.parametrize(
    ("given_part", "block"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/WEBP;base64,AA=="}}, {"image": {"format": "webp"}}),
        ({"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}}, {"audio": {"format": "mp3"}}),
        ({"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AA=="}}, {"video": {"format": "mp4"}}),
        (
            {"type": "file", "file": {"filename": "Sales: Q1_(v2).csv", "file_data": "data:text/csv;base64,AA=="}},
            {"document": {"format": "csv", "name": "Sales Q1 (v2)"}},
        ),
        ({"type": "file", "file": {"file_data": "data:image/png;base64,AA=="}}, {"image": {"format": "png"}}),
    ],
    ids=["image", "sound", "film", "document", "image as a file"],
)
def test_media_are_sent_as_bytes(given_part: Any, block: Any) -> None:
    ((_, blocks),) = said(part(**given_part))
    (kind,) = block
    assert blocks == [{"text": "see"}, {kind: {**block[kind], "source": {"bytes": "AA=="}}}]


def test_media_may_lie_in_s3() -> None:
    ((_, blocks),) = said(part(type="image_url", image_url={"url": "s3://bucket/a.png"}))
    assert blocks[1] == {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://bucket/a.png"}}}}


@pytest.mark.parametrize(
    "given_part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA=="}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"filename": "a.zip", "file_data": "data:application/zip;base64,AA=="}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
    ],
    ids=["web address", "unknown image", "foreign id", "unknown file", "no data"],
)
def test_media_that_cannot_be_sent_are_refused_by_their_place(given_part: Any) -> None:
    with pytest.raises(Unsupported) as refused:
        asked(part(**given_part))
    assert refused.value.param == "messages[0].content[1]"


def test_a_document_never_goes_without_text() -> None:
    pdf = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}
    ((_, blocks),) = said({"role": "user", "content": [pdf, pdf]})
    assert blocks[0] == {"text": "The attached document:"}
    assert [block["document"]["name"] for block in blocks[1:]] == ["a", "a (2)"]


def test_reasoning_goes_back_only_where_it_can_be_verified() -> None:
    details = [
        {"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1"},
        {"type": "reasoning.encrypted", "data": "ZGF0YQ==", "format": "bedrock-converse-v1"},
        {"type": "reasoning.text", "text": "foreign", "signature": "x", "format": "google-gemini-v1"},
    ]
    messages = (USER, assistant("hi", reasoning_details=details), USER)
    assert said(*messages)[1][1] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": "ZGF0YQ=="}},
        {"text": "hi"},
    ]
    assert asked(*messages)[1] == ("messages.reasoning_details",)
    assert said(*messages, model=LLAMA)[1][1] == [
        {"reasoningContent": {"redactedContent": "ZGF0YQ=="}},
        {"text": "hi"},
    ]
    assert asked(USER, assistant("hi", reasoning_content="hm"), USER)[1] == ("messages.reasoning_content",)


CACHED = {"type": "text", "text": "much", "cache_control": {"type": "ephemeral", "ttl": "1h"}}


def test_cache_marks_become_cache_points_behind_what_they_mark() -> None:
    body, dropped = asked(
        {"role": "system", "content": [CACHED]},
        {"role": "user", "content": [CACHED, {"type": "text", "text": "x"}]},
        tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}],
    )
    assert body["system"] == [{"text": "much"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert body["toolConfig"]["tools"][1] == {"cachePoint": {"type": "default"}}
    assert [list(block) for block in body["messages"][0]["content"]] == [["text"], ["cachePoint"], ["text"]]
    assert dropped == ()


@pytest.mark.parametrize("model", [LLAMA, CLAUDE_3])
def test_models_without_a_cache_get_no_cache_points(model: str) -> None:
    body, dropped = asked({"role": "user", "content": [CACHED]}, model=model)
    assert body["messages"][0]["content"] == [{"text": "much"}]
    assert dropped == ("messages.cache_control",)


def test_there_are_at_most_four_cache_points() -> None:
    body, dropped = asked({"role": "user", "content": [CACHED] * 6})
    assert sum("cachePoint" in block for block in body["messages"][0]["content"]) == 4
    assert dropped == ("messages.cache_control",)


def test_nova_caches_for_its_own_time_and_no_tools() -> None:
    body, dropped = asked(
        {"role": "user", "content": [CACHED]}, tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}], model=NOVA
    )
    assert body["messages"][0]["content"][1] == {"cachePoint": {"type": "default"}}
    assert len(body["toolConfig"]["tools"]) == 1
    assert dropped == ("tools.cache_control", "messages.cache_control.ttl")


@pytest.mark.parametrize("model", [CLAUDE, NOVA, MISTRAL])
def test_a_longer_conversation_begins_with_the_same_bytes(model: str) -> None:
    history = [
        {"role": "system", "content": "be kind"},
        USER,
        assistant("hm", tool_calls=[tool_call("call_a.b/c", arguments='{"b":1,"a":2}')]),
        result("call_a.b/c"),
    ]
    short = request(*history, tools=[TOOL], temperature=0.5, model=model).body
    long = request(*history, assistant("done"), USER, tools=[TOOL], temperature=0.5, model=model).body
    assert short.endswith(b"}]}")
    assert long.startswith(short[:-3])


def test_names_and_sounds_of_messages_are_reported() -> None:
    dropped = asked({**USER, "name": "ann"}, assistant("hi", audio={"id": "audio_1"}), USER)[1]
    assert dropped == ("messages.name", "messages.audio")
