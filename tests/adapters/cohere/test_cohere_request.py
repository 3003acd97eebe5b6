"""What Cohere is sent: its own names and narrower numbers, and no field that it does not know."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.cohere import CohereAdapter
from adapters.cohere.names import given_names, legal_name, legal_names
from adapters.errors import Unsupported
from adapters.types import Call, HttpRequest, Operation
from gateway.errors import GatewayError
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import target_of
from tests.adapters.test_fuzz import REQUEST, replaced

ADAPTER = CohereAdapter()
USER = {"role": "user", "content": "hello"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def call_of(operation: Operation = Operation.CHAT, **fields: Any) -> Call:
    body = json.dumps({"model": "p/m", **fields}).encode()
    return read_call(operation, body, id="chatcmpl-1", created=1)


def chat(*messages: Any, **fields: Any) -> HttpRequest:
    return ADAPTER.request(call_of(messages=[*messages] or [USER], **fields), target_of(protocol="cohere"))


def body_of(*messages: Any, **fields: Any) -> dict[str, Any]:
    return json.loads(chat(*messages, **fields).body)


def function(name: str = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def refusal(*messages: Any, **fields: Any) -> Unsupported:
    with pytest.raises(Unsupported) as caught:
        chat(*messages, **fields)
    return caught.value


@pytest.mark.parametrize(
    "base", ["https://api.cohere.ai", "https://api.cohere.ai/v1", "https://api.cohere.ai/v2", "https://api.cohere.ai/compatibility/v1"]
)  # fmt: skip
@pytest.mark.parametrize(
    ("operation", "path", "fields"),
    [
        (Operation.CHAT, "/v2/chat", {"messages": [USER]}),
        (Operation.EMBEDDINGS, "/v2/embed", {"input": "a"}),
        (Operation.RERANK, "/v2/rerank", {"query": "a", "documents": ["b"]}),
    ],
)
def test_an_older_base_url_means_version_two(base: str, operation: Operation, path: str, fields: Any) -> None:
    request = ADAPTER.request(call_of(operation, **fields), target_of(protocol="cohere", base_url=base))
    assert request.url == "https://api.cohere.ai" + path


@pytest.mark.parametrize(("top_p", "p"), [(1.0, 0.99), (0, 0.01), (0.5, 0.5), (0.99, 0.99)])
def test_top_p_stays_within_what_cohere_takes(top_p: float, p: float) -> None:
    assert body_of(top_p=top_p)["p"] == p


def test_numbers_beyond_the_range_are_moved_to_its_border_and_reported() -> None:
    request = chat(temperature=1.7, frequency_penalty=-1, presence_penalty=2, seed=-1)
    body = json.loads(request.body)
    assert body["temperature"] == 1
    assert body["presence_penalty"] == 1
    assert not body.keys() & {"frequency_penalty", "seed"}
    assert set(request.dropped) == {"temperature", "frequency_penalty", "presence_penalty", "seed"}


def test_of_two_penalties_one_is_sent() -> None:
    request = chat(frequency_penalty=0.5, presence_penalty=0.25)
    assert json.loads(request.body)["frequency_penalty"] == 0.5
    assert request.dropped == ("presence_penalty",)


def test_a_named_tool_is_sent_alone_and_demanded() -> None:
    tools = [function("f", parameters=SCHEMA), function("g")]
    body = body_of(tools=tools, tool_choice={"type": "function", "function": {"name": "g"}})
    assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == "REQUIRED"
    assert body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_allowed_tools_are_the_only_ones_sent() -> None:
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "g"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    body = body_of(tools=[function("f"), function("g")], tool_choice=choice)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
    assert "tool_choice" not in body


@pytest.mark.parametrize(("word", "sent"), [("auto", None), ("none", "NONE"), ("required", "REQUIRED")])
def test_the_words_of_a_tool_choice_are_coheres(word: str, sent: str | None) -> None:
    assert body_of(tools=[function()], tool_choice=word).get("tool_choice") == sent


def test_a_demanded_tool_that_is_not_there_is_refused() -> None:
    assert refusal(tool_choice="required").param == "tool_choice"


def test_a_name_with_a_hyphen_becomes_legal_and_comes_back() -> None:
    call = call_of(messages=[USER], tools=[function("search-web"), function("plain")])
    body = json.loads(ADAPTER.request(call, target_of(protocol="cohere")).body)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["search_web", "plain"]
    assert given_names(call) == {"search_web": "search-web"}


@given(st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=6))
def test_names_stay_apart_and_are_always_legal(names: list[str]) -> None:
    made = legal_names(names)
    assert len(set(made.values())) == len(names)
    assert all(legal_name(name) == name for name in made.values())
    assert legal_names(names) == made


def test_strict_tools_need_a_required_parameter_in_each() -> None:
    strict = function("f", parameters=SCHEMA, strict=True)
    assert body_of(tools=[strict])["strict_tools"] is True
    request = chat(tools=[strict, function("g")])
    assert "strict_tools" not in json.loads(request.body)
    assert request.dropped == ("tools.function.strict",)


def test_a_custom_tool_is_refused_with_a_way_out() -> None:
    refused = refusal(tools=[{"type": "custom", "custom": {"name": "grep"}}])
    assert refused.param == "tools"
    assert "one string parameter" in refused.message


def test_a_json_schema_loses_its_wrapper() -> None:
    body = body_of(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}})
    assert body["response_format"] == {"type": "json_object", "json_schema": SCHEMA}


@pytest.mark.parametrize("other", [{"tools": [function()]}, {"documents": ["a"]}])
def test_a_json_schema_beside_tools_or_documents_is_asked_for_in_words(other: dict[str, Any]) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    request = chat({"role": "system", "content": "Be kind."}, USER, response_format=wanted, **other)
    body = json.loads(request.body)
    assert "response_format" not in body
    assert body["messages"][0]["content"].startswith("Be kind.\n\nAnswer with one JSON object")
    assert json.dumps(SCHEMA, separators=(",", ":")) in body["messages"][0]["content"]
    assert request.dropped == ("response_format",)


def test_system_messages_become_one_at_the_front() -> None:
    late = [{"role": "developer", "content": "b"}, {"role": "assistant", "content": "c"}]
    messages = body_of({"role": "system", "content": "a"}, USER, *late)["messages"]
    assert messages[0] == {"role": "system", "content": "a\n\nb"}
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]


def test_six_stops_are_refused() -> None:
    assert refusal(stop=list("abcdef")).param == "stop"
    assert body_of(stop=list("abcde"))["stop_sequences"] == list("abcde")
    assert body_of(stop="a")["stop_sequences"] == ["a"]


@pytest.mark.parametrize(
    ("effort", "limit", "thinking"),
    [
        ("none", None, {"type": "disabled"}),
        ("minimal", None, {"type": "enabled", "token_budget": 512}),
        ("low", 10_000, {"type": "enabled", "token_budget": 2048}),
        ("medium", 4_000, {"type": "enabled", "token_budget": 3000}),
        ("low", 1, {"type": "enabled", "token_budget": 1}),
        ("high", 500, {"type": "enabled"}),
    ],
)
def test_an_effort_is_a_budget_that_leaves_room_for_the_answer(effort: str, limit: int | None, thinking: Any) -> None:
    assert body_of(reasoning_effort=effort, max_tokens=limit)["thinking"] == thinking


def test_coheres_own_thinking_wins_and_an_unknown_effort_is_refused() -> None:
    own = {"type": "enabled", "token_budget": 7}
    assert body_of(reasoning_effort="low", thinking=own)["thinking"] == own
    assert refusal(reasoning_effort="enormous").param == "reasoning_effort"


def test_coheres_own_fields_pass() -> None:
    own = {
        "documents": ["a", {"id": "b", "data": {"text": "c"}}],
        "citation_options": {"mode": "FAST"},
        "safety_mode": "STRICT",
        "priority": 3,
        "k": 4,
        "p": 0.3,
    }
    body = body_of(**own, top_k=9, top_p=0.9)
    assert {name: body[name] for name in own} == own


def test_reasoning_goes_back_as_a_plan_beside_calls_and_else_as_thinking() -> None:
    called = {"role": "assistant", "content": "", "reasoning_content": "plan", "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}  # fmt: skip
    thought = {"role": "assistant", "content": "done", "reasoning_content": "hm"}
    messages = body_of(USER, called, {"role": "tool", "tool_call_id": "c", "content": "1"}, thought)["messages"]
    assert messages[1]["tool_plan"] == "plan"
    assert "content" not in messages[1]
    assert messages[3]["content"] == [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "done"}]


def test_reasoning_that_another_vendor_signed_stays_behind() -> None:
    details = [{"type": "reasoning.text", "text": "hm", "signature": "x"}, {"type": "reasoning.encrypted", "data": "y"}]
    request = chat(USER, {"role": "assistant", "content": "a", "reasoning_details": details}, USER)
    assert json.loads(request.body)["messages"][1] == {"role": "assistant", "content": "a"}
    assert request.dropped == ("messages.reasoning_details",)


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [("", "{}"), (" ", "{}"), ('{"a": 1}', '{"a": 1}'), ("[1]", '{"value":[1]}'), ("{", '{"_raw_arguments":"{"}')],
)
def test_arguments_of_earlier_calls_are_always_an_object(arguments: str, sent: str) -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    turn = {"role": "assistant", "content": None, "tool_calls": calls}
    messages = body_of(USER, turn, {"role": "tool", "tool_call_id": "c", "content": "1"})["messages"]
    assert messages[1]["tool_calls"][0]["function"]["arguments"] == sent


def test_a_text_file_becomes_a_document() -> None:
    data = "data:text/markdown;base64," + base64.b64encode("# é".encode()).decode()
    part = {"type": "file", "file": {"filename": "a.md", "file_data": data}}
    body = body_of({"role": "user", "content": [part, {"type": "text", "text": "?"}]}, documents=["given"])
    assert body["documents"] == ["given", {"id": "doc:0", "data": {"title": "a.md", "text": "# é"}}]
    assert body["messages"][0]["content"] == [{"type": "text", "text": "?"}]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,/w=="}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
    ],
)
def test_what_cohere_cannot_read_is_refused_where_it_stands(part: dict[str, Any]) -> None:
    assert refusal({"role": "user", "content": [{"type": "text", "text": "?"}, part]}).param == "messages[0].content[1]"


def test_an_image_in_a_tool_result_is_refused() -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    refused = refusal(
        USER, {"role": "assistant", "tool_calls": calls}, {"role": "tool", "tool_call_id": "c", "content": [image]}
    )
    assert "user messages" in refused.message


def test_a_longer_conversation_begins_with_the_same_bytes() -> None:
    shared = {"tools": [function("f-g", parameters=SCHEMA)], "temperature": 0.5, "max_tokens": 9}
    turns = [{"role": "system", "content": "s"}, USER, {"role": "assistant", "content": "a"}, USER]
    longer = chat(*turns, **shared).body
    assert longer.startswith(chat(*turns[:2], **shared).body.removesuffix(b"]}"))


def test_several_choices_are_several_calls() -> None:
    parts = ADAPTER.parts(call_of(messages=[USER], n=3), target_of(protocol="cohere"))
    assert len(parts) == 3


def test_many_inputs_are_several_calls_in_order() -> None:
    target = target_of(protocol="cohere")
    call = call_of(Operation.EMBEDDINGS, input=[str(number) for number in range(200)])
    sent = [json.loads(ADAPTER.request(part, target).body)["texts"] for part in ADAPTER.parts(call, target)]
    assert [len(texts) for texts in sent] == [96, 96, 8]
    assert [text for texts in sent for text in texts] == [str(number) for number in range(200)]


@pytest.mark.parametrize("given", [[1, 2], [[1], [2]], ["a", ""], ["a", 1]])
def test_tokens_and_empty_texts_are_refused(given: Any) -> None:
    with pytest.raises(Unsupported) as refused:
        ADAPTER.request(call_of(Operation.EMBEDDINGS, input=given), target_of(protocol="cohere"))
    assert refused.value.param == "input"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, "search_document"),
        ("query", "search_query"),
        ("passage", "search_document"),
        ("clustering", "clustering"),
    ],
)
def test_an_input_type_is_always_sent(given: str | None, sent: str) -> None:
    call = call_of(Operation.EMBEDDINGS, input="a", input_type=given)
    assert json.loads(ADAPTER.request(call, target_of(protocol="cohere")).body)["input_type"] == sent


WIDE = {
    **REQUEST,
    "reasoning_effort": "low",
    "documents": ["a"],
    "seed": 5,
    "top_p": 0.5,
    "top_k": 3,
    "frequency_penalty": 0.5,
    "safety_mode": "STRICT",
    "parallel_tool_calls": False,
}
EMBED = {"model": "p/m", "input": ["a", "b"], "dimensions": 8, "input_type": "query", "truncate": "END"}


@given(data=st.data(), operation=st.sampled_from([Operation.CHAT, Operation.EMBEDDINGS]))
def test_any_request_is_made_or_refused(data: st.DataObject, operation: Operation) -> None:
    body = data.draw(replaced(json.dumps(WIDE if operation is Operation.CHAT else EMBED).encode()))
    try:
        call = read_call(operation, body, id="chatcmpl-1", created=1)
    except GatewayError:
        return
    before = dict(call.fields)
    try:
        request = ADAPTER.request(call, target_of(protocol="cohere"))
    except Unsupported as refused:
        assert refused.message
        return
    assert json.loads(request.body)["model"] == "upstream-model"
    assert call.fields == before
