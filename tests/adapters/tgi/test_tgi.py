"""TGI's two wires, and the older task, beside the recorded cases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.failures import FailureKind
from adapters.tgi import TgiAdapter
from adapters.types import Call, Head, HttpRequest, Operation
from gateway.http.api.inbound import read_call
from tests.adapters.recorded import events, run, target_of

ADAPTER = TgiAdapter()
BASE = "http://127.0.0.1:8080"
TOOL = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
HEAD = Head(200, {"content-type": "text/event-stream"})


def call_of(operation: Operation, **fields: Any) -> Call:
    chat = {"messages": [{"role": "user", "content": "x"}]}
    given = chat if operation is Operation.CHAT else {"prompt": "Once"}
    return read_call(operation, json.dumps({**given, **fields, "model": "p/m"}).encode(), id="chatcmpl-1", created=1)


def sent(operation: Operation, *, base_url: str = BASE, path: str = "", **fields: Any) -> HttpRequest:
    paths = {"completions": path} if path else {}
    target = target_of(protocol="tgi", model="org/m", base_url=base_url, paths=paths)
    return ADAPTER.request(call_of(operation, **fields), target)


def chat(**fields: Any) -> dict[str, Any]:
    return json.loads(sent(Operation.CHAT, **fields).body)


def parameters(**fields: Any) -> dict[str, Any]:
    return json.loads(sent(Operation.COMPLETIONS, **fields).body)["parameters"]


def refused(operation: Operation, **fields: Any) -> str:
    with pytest.raises(Unsupported) as caught:
        sent(operation, **fields)
    return caught.value.param


def test_a_chat_names_no_model_unless_an_adapter_is_asked_for() -> None:
    assert chat()["model"] == "tgi"
    assert chat(adapter_id="my-lora")["model"] == "my-lora"


def test_a_stop_text_becomes_a_list_and_a_bias_is_reported() -> None:
    request = sent(Operation.CHAT, stop="###", logit_bias={"50256": -100}, presence_penalty=0.5)
    body = json.loads(request.body)
    assert body["stop"] == ["###"]
    assert not {"logit_bias", "presence_penalty"} & body.keys()
    assert set(request.dropped) == {"logit_bias", "presence_penalty"}


def test_one_limit_is_sent_for_two() -> None:
    body = chat(max_tokens=5, max_completion_tokens=7)
    assert body["max_tokens"] == 7
    assert "max_completion_tokens" not in body


def test_a_schema_stands_under_value() -> None:
    assert chat(response_format=SCHEMA)["response_format"] == {"type": "json_object", "value": {"type": "object"}}
    assert chat(response_format={"type": "json_object"})["response_format"]["value"] == {"type": "object"}
    assert "response_format" not in chat(response_format={"type": "text"})


def test_tgis_own_grammar_passes() -> None:
    regex = {"type": "regex", "value": "[a-z]+"}
    assert chat(response_format=regex)["response_format"] == regex


def test_tools_and_a_schema_exclude_each_other() -> None:
    assert refused(Operation.CHAT, tools=[TOOL], response_format=SCHEMA) == "response_format"


def test_calls_are_sent_without_text_beside_them() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    turns = [{"role": "assistant", "content": "wait", "tool_calls": [call]}]
    request = sent(Operation.CHAT, messages=turns)
    first, result = json.loads(request.body)["messages"]
    assert "content" not in first
    assert first["tool_calls"][0]["function"]["arguments"] == "{}"
    assert result["role"] == "tool"
    assert request.dropped == ("messages.content",)


@pytest.mark.parametrize("count", [1, 3])
def test_choices_are_made_by_as_many_requests(count: int) -> None:
    for operation in ADAPTER.operations:
        assert len(ADAPTER.parts(call_of(operation, n=count), target_of(protocol="tgi"))) == count


@pytest.mark.parametrize("base_url", [BASE, BASE + "/v1"])
def test_the_native_paths_stand_at_the_root(base_url: str) -> None:
    assert sent(Operation.COMPLETIONS, base_url=base_url).url == f"{BASE}/generate"
    assert sent(Operation.COMPLETIONS, base_url=base_url, stream=True).url == f"{BASE}/generate_stream"


def test_other_paths_get_the_stream_flag() -> None:
    request = sent(Operation.COMPLETIONS, path="/", stream=True)
    assert request.url == BASE + "/"
    assert json.loads(request.body)["stream"] is True


def test_the_older_task_has_the_model_in_its_path_and_options() -> None:
    request = sent(Operation.COMPLETIONS, path="/models/{model}", options={"wait_for_model": True})
    assert request.url == f"{BASE}/models/org/m"
    assert json.loads(request.body)["options"] == {"wait_for_model": True}
    assert sent(Operation.COMPLETIONS, options={"wait_for_model": True}).dropped == ("options",)


def test_the_older_task_has_no_chats() -> None:
    assert refused(Operation.CHAT, path="/models/{model}") == "messages"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 0}, {"do_sample": False}),
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"top_p": 1}, {}),
        ({"top_p": 1.0}, {}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"stop": "a"}, {"stop": ["a"]}),
        ({"seed": 5}, {"seed": 5}),
        ({"logprobs": 3}, {"top_n_tokens": 3}),
        ({"logprobs": 0}, {}),
        ({"max_tokens": 9}, {"max_new_tokens": 9}),
        ({"echo": True}, {"return_full_text": True}),
        ({"best_of": 2, "top_k": 3, "frequency_penalty": 0.1}, {"top_k": 3, "frequency_penalty": 0.1, "best_of": 2}),
    ],
)
def test_parameters_have_tgis_names_and_borders(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert parameters(**fields) == {"return_full_text": False, "details": True, **expected}


@pytest.mark.parametrize(("fields", "name"), [({"seed": 0}, "seed"), ({"top_p": 0}, "top_p"), ({"user": "u"}, "user")])
def test_what_tgi_does_not_take_is_reported(fields: dict[str, Any], name: str) -> None:
    assert sent(Operation.COMPLETIONS, **fields).dropped == (name,)


def test_infill_and_several_prompts_are_refused() -> None:
    assert refused(Operation.COMPLETIONS, suffix="x") == "suffix"
    assert refused(Operation.COMPLETIONS, prompt=["a", "b"]) == "prompt"


def replied(answer: Any, operation: Operation = Operation.COMPLETIONS, **fields: Any) -> dict[str, Any]:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return json.loads(ADAPTER.reply(call_of(operation, **fields), target_of(protocol="tgi"), Head(200), body).body)


@pytest.mark.parametrize(
    ("text", "expected"), [("Once upon", " upon"), (" upon", " upon"), ("once upon", "once upon"), ("Once", "")]
)
def test_a_prompt_is_taken_off_only_if_it_is_repeated_exactly(text: str, expected: str) -> None:
    assert replied([{"generated_text": text}])["choices"][0]["text"] == expected


def test_old_tasks_have_other_names_for_the_text() -> None:
    assert replied([{"summary_text": "a"}])["choices"][0]["text"] == "a"
    assert replied([{"translation_text": "a"}, {"generated_text": "b"}])["choices"][1]["text"] == "b"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        [{}],
        {"generated_text": None},
        b"",
        b"x",
        b"[1]",
        {"generated_text": 5},
        [[]],
        b'{"generated_text":"\xff"}',
    ],
)
def test_an_answer_without_text_is_no_success(answer: Any) -> None:
    with pytest.raises(Malformed):
        replied(answer)


def test_an_error_under_200_is_told() -> None:
    with pytest.raises(UpstreamSaid) as said:
        replied({"error": "Request failed", "error_type": "generation"})
    assert said.value.failure.kind is FailureKind.SERVER


@pytest.mark.parametrize("count", [-1, "5", None, 10**30, 1.5])
def test_counts_that_make_no_sense_are_not_told(count: Any) -> None:
    assert "usage" not in replied({"generated_text": "a", "details": {"generated_tokens": count}})


@pytest.mark.parametrize("word", ["stop_sequence", "eos_token", "stop"])
def test_a_chunks_finish_is_openais(word: str) -> None:
    answer = {"id": "", "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": word}]}
    assert replied(answer, Operation.CHAT)["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("word", ["stop_sequence", "eos_token", "stop"])
def test_a_streams_finish_name_and_id_are_those_that_the_client_knows(word: str) -> None:
    chunks = [
        {"id": "", "model": "tgi", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": why}]}
        for text, why in (("Hi", None), ("", word))
    ]
    data = b"".join(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n" for chunk in chunks)
    target = target_of(protocol="tgi", model="mistral-7b")
    decoder = ADAPTER.stream(call_of(Operation.CHAT, stream=True), target, HEAD)
    first, last, done = events(run(decoder, [data + b"data: [DONE]\n\n"]))
    assert [(each["id"], each["model"]) for each in (first, last)] == [("chatcmpl-1", "mistral-7b")] * 2
    assert (last["choices"][0]["finish_reason"], decoder.finish, done) == ("stop", "stop", "[DONE]")


@pytest.mark.parametrize("word", ["stop_sequence", "eos_token", "stop"])
def test_an_answer_with_calls_ends_with_them_whatever_tgi_calls_its_end(word: str) -> None:
    call = {"id": "0", "type": "function", "function": {"name": "f", "arguments": {"city": "Oslo"}}}
    answer = {"id": "", "choices": [{"index": 0, "message": {"tool_calls": [call]}, "finish_reason": word}]}
    (choice,) = replied(answer, Operation.CHAT, tools=[TOOL])["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"city": "Oslo"}
    piece = {"index": 0, "id": "0", "type": "function", "function": {"name": "f", "arguments": '{"city":"Oslo"}'}}
    chunks = [
        {"id": "", "choices": [{"index": 0, "delta": delta, "finish_reason": why}]}
        for delta, why in (({"tool_calls": [piece]}, None), ({"content": ""}, word))
    ]
    data = b"".join(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n" for chunk in chunks)
    decoder = ADAPTER.stream(call_of(Operation.CHAT, stream=True, tools=[TOOL]), target_of(protocol="tgi"), HEAD)
    found = events(run(decoder, [data + b"data: [DONE]\n\n"]))
    assert (found[-2]["choices"][0]["finish_reason"], decoder.finish) == ("tool_calls", "tool_calls")


def test_a_name_inside_a_text_is_left_alone() -> None:
    text = '"id":"" "model":"tgi"'
    answer = {
        "choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}],
        "id": "",
        "model": "tgi",
    }
    assert replied(answer, Operation.CHAT)["choices"][0]["message"]["content"] == text


def streamed(*tokens: Any, **fields: Any) -> tuple[str, Any]:
    lines = [token if isinstance(token, bytes) else b"data:" + json.dumps(token).encode() + b"\n\n" for token in tokens]
    decoder = ADAPTER.stream(call_of(Operation.COMPLETIONS, stream=True, **fields), target_of(protocol="tgi"), HEAD)
    found = [event for event in events(run(decoder, lines)) if event != "[DONE]" and event["choices"]]
    return "".join(event["choices"][0]["text"] for event in found), decoder


def token(text: str, *, special: bool = False, why: str = "") -> dict[str, Any]:
    details = {"finish_reason": why, "generated_tokens": 2, "input_length": 3} if why else None
    last = "all" if why else None
    return {"token": {"id": 1, "text": text, "special": special}, "generated_text": last, "details": details}


def test_a_special_token_is_not_told() -> None:
    text, decoder = streamed(token("a"), token("</s>", special=True, why="eos_token"))
    assert (text, decoder.finish, decoder.is_done) == ("a", "stop", True)
    assert (decoder.usage.prompt, decoder.usage.completion) == (3, 2)


def test_an_error_behind_the_first_token_is_no_end() -> None:
    text, decoder = streamed(token("a"), {"error": "Model is overloaded", "error_type": "overloaded"})
    assert (text, decoder.failure.kind, decoder.is_done) == ("a", FailureKind.OVERLOADED, False)


@given(st.lists(st.text("ENDx", max_size=4), max_size=6), st.booleans())
def test_a_stop_is_taken_off_however_it_comes(pieces: list[str], is_stop: bool) -> None:
    whole = "".join(pieces)
    ends = is_stop and whole.endswith("END") and "END" not in whole[:-1]
    why = "stop_sequence" if ends else "length"
    text, _ = streamed(*map(token, pieces), token("", special=True, why=why), stop=["END"])
    assert text == (whole.removesuffix("END") if ends else whole)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (422, b'{"error":"Input validation error: `top_p` must be > 0.0","error_type":"validation"}', "bad_request"),
        (
            422,
            b'{"error":"`inputs` tokens + `max_new_tokens` must be <= 4096","error_type":"validation"}',
            "context_length",
        ),
        (422, b"Failed to deserialize the JSON body into the target type", "bad_request"),
        (422, b'{"error":"Tool error: mutually exclusive","error_type":"tool_error"}', "bad_request"),
        (422, b'{"error":"Template error","error_type":"template_error"}', "bad_request"),
        (424, b'{"error":"Request failed during generation","error_type":"generation"}', "server"),
        (500, b'{"error":"Incomplete generation","error_type":"incomplete_generation"}', "server"),
        (429, b'{"error":"Model is overloaded","error_type":"overloaded"}', "overloaded"),
        (503, b'{"error":"unhealthy","error_type":"healthcheck"}', "overloaded"),
        (503, b'{"error":"Model x is currently loading","estimated_time":20.0}', "overloaded"),
        (401, b"", "auth"),
    ],
)
def test_an_error_is_understood(status: int, body: bytes, kind: str) -> None:
    assert ADAPTER.failure(target_of(protocol="tgi"), Head(status), body).kind == kind


def test_the_older_tasks_list_of_errors_is_one_message() -> None:
    body = b'{"error":["first","second"],"warnings":["w"]}'
    assert ADAPTER.failure(target_of(protocol="tgi"), Head(422), body).message == "first; second"
