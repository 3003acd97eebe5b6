"""What the client gets of Ollama's answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import FailureKind
from adapters.types import Head, Operation, Usage
from tests.adapters.ollama.asking import ADAPTER, TOOL, call, target
from tests.adapters.recorded import events, run

HEAD = Head(200, {"content-type": "application/x-ndjson"})
RUN = {"type": "custom", "custom": {"name": "run"}}
DONE = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", "eval_count": 3}


def line(content: Any = "", **more: Any) -> dict[str, Any]:
    return {"model": "llama3", "message": {"role": "assistant", "content": content, **more}, "done": False}


def replied(answer: Any, operation: Operation = Operation.CHAT, **fields: Any) -> dict[str, Any]:
    reply = ADAPTER.reply(call(operation, **fields), target(), Head(200), json.dumps(answer).encode())
    return json.loads(reply.body)


def streamed(*lines: Any, **fields: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Returns the decoder, and the first choice of every frame."""
    decoder = ADAPTER.stream(call(stream=True, **fields), target(), HEAD)
    data = b"".join(json.dumps(each).encode() + b"\n" for each in lines)
    frames = [event for event in events(run(decoder, [data])) if event != "[DONE]"]
    return decoder, [frame["choices"][0] for frame in frames if frame["choices"]]


def test_reasoning_and_text_of_one_line_are_told_in_this_order() -> None:
    _, choices = streamed(line("b", thinking="a"), DONE)
    assert [choice["delta"] for choice in choices[1:3]] == [{"reasoning_content": "a"}, {"content": "b"}]


def test_a_call_without_an_id_gets_the_same_one_every_time() -> None:
    calls = [{"function": {"name": "get_weather", "arguments": {"a": 1}}}]
    _, choices = streamed(line(tool_calls=calls), DONE, tools=[TOOL])
    ids = [call["id"] for choice in choices for call in choice["delta"].get("tool_calls", []) if "id" in call]
    whole = replied({**DONE, "message": {"content": "", "tool_calls": calls}}, tools=[TOOL])["choices"][0]
    assert ids == [whole["message"]["tool_calls"][0]["id"]] == ["call_abc0"]
    assert whole["message"]["content"] is None
    assert (choices[-1]["finish_reason"], whole["finish_reason"]) == ("tool_calls", "tool_calls")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"a": 1}, '{"a": 1}'), (None, "{}"), ({}, "{}"), ('{"a":1}', '{"a":1}'), ("", "{}"), ([1], "[1]")],
)
def test_arguments_are_text_whatever_they_were(arguments: Any, text: str) -> None:
    calls = [{"function": {"name": "f", "arguments": arguments}}]
    message = replied({**DONE, "message": {"tool_calls": calls}})["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["arguments"] == text


@pytest.mark.parametrize(("arguments", "text"), [({"input": "1+1"}, "1+1"), ({"x": 1}, '{"x":1}'), ("plain", "plain")])
def test_a_custom_tool_gets_its_text_back(arguments: Any, text: str) -> None:
    calls = [{"id": "call_9", "function": {"name": "run", "arguments": arguments}}]
    told = replied({**DONE, "message": {"tool_calls": calls}}, tools=[RUN])["choices"][0]["message"]["tool_calls"]
    assert told == [{"id": "call_9", "type": "custom", "custom": {"name": "run", "input": text}}]
    _, choices = streamed(line(tool_calls=calls), DONE, tools=[RUN])
    pieces = [each["custom"]["input"] for choice in choices for each in choice["delta"].get("tool_calls", [])]
    assert "".join(pieces) == text


@pytest.mark.parametrize(
    ("reason", "finish"), [("stop", "stop"), ("length", "length"), ("load", "stop"), ("unload", "stop"), ("x", "stop")]
)
def test_why_an_answer_ended_is_told_in_openais_words(reason: str, finish: str) -> None:
    assert replied({**DONE, "done_reason": reason})["choices"][0]["finish_reason"] == finish
    _, choices = streamed({**DONE, "done_reason": reason})
    assert choices[-1]["finish_reason"] == finish


def test_a_limit_stays_a_limit_beside_tool_calls() -> None:
    calls = [{"function": {"name": "f", "arguments": {}}}]
    answer = {**DONE, "done_reason": "length", "message": {"tool_calls": calls}}
    assert replied(answer)["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_eval_count": 5, "eval_count": 3}, Usage(5, 3)),
        ({"eval_count": 3}, Usage(0, 3)),
        ({"prompt_eval_count": 5}, Usage(5, 0)),
        ({}, None),
        ({"prompt_eval_count": None, "eval_count": -1}, None),
        ({"prompt_eval_count": "5", "eval_count": 10**30}, None),
        ({"prompt_eval_count": 1.5, "eval_count": 3}, Usage(0, 3)),
    ],
)
def test_counts_that_make_no_sense_are_not_told(counts: dict[str, Any], usage: Usage | None) -> None:
    last = {"message": {"content": "a"}, "done": True, **counts}
    assert ADAPTER.reply(call(), target(), Head(200), json.dumps(last).encode()).usage == usage
    decoder, _ = streamed(last)
    assert decoder.usage == usage


def test_an_error_in_the_middle_is_an_error_and_no_end() -> None:
    decoder, choices = streamed(line("Hi"), {"error": "cuda oom"})
    assert [choice["finish_reason"] for choice in choices] == [None, None]
    assert (decoder.failure.kind, decoder.failure.message) == (FailureKind.SERVER, "cuda oom")
    assert not decoder.is_done


def test_a_stream_without_its_last_line_is_cut_off() -> None:
    decoder, _ = streamed(line("Hi"))
    assert decoder.failure.code == "upstream_truncated"
    decoder, _ = streamed()
    assert decoder.failure.code == "upstream_empty_response"


def test_lines_without_content_begin_nothing() -> None:
    decoder, choices = streamed(line(""), line(None), line("", thinking=""))
    assert choices == []
    assert not decoder.has_content


@pytest.mark.parametrize("broken", [{"message": 5}, {"message": {"content": 5}}, [1], 7, {"done": "yes"}])
def test_a_line_that_is_not_as_promised_ends_the_stream(broken: Any) -> None:
    decoder, _ = streamed(line("Hi"), broken)
    assert decoder.failure.kind is FailureKind.MALFORMED


def test_a_letter_may_be_cut_in_two_but_not_broken() -> None:
    data = json.dumps(line("漢"), ensure_ascii=False).encode() + b"\n"
    decoder = ADAPTER.stream(call(stream=True), target(), HEAD)
    assert "漢".encode() in b"".join(decoder.feed(data[at : at + 1]) for at in range(len(data)))
    broken = ADAPTER.stream(call(stream=True), target(), HEAD)
    broken.feed(data.replace("漢".encode(), b"\xe6\xbc"))
    assert broken.failure is not None
    with pytest.raises(Malformed):
        ADAPTER.reply(call(), target(), Head(200), data.replace("漢".encode(), b"\xe6\xbc"))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({}, "upstream_empty_response"),
        ({"message": {"content": ""}, "done": False}, "upstream_empty_response"),
        ({"message": {"content": 5}, "done": True}, "upstream_invalid_event"),
        ({"message": {"tool_calls": [{}]}, "done": True}, "upstream_invalid_response"),
        ([1], "upstream_invalid_response"),
    ],
)
def test_an_answer_without_an_answer_is_no_success(answer: Any, code: str) -> None:
    with pytest.raises(Malformed) as raised:
        replied(answer)
    assert raised.value.code == code


@pytest.mark.parametrize(
    "answer",
    [{"error": "no"}, {"error": {"message": "no"}}, {"message": "no"}, {"detail": "no", "message": ["x"]}],
)
def test_an_error_under_200_is_an_error_in_any_shape(answer: dict[str, Any]) -> None:
    with pytest.raises(UpstreamSaid) as raised:
        replied(answer)
    assert raised.value.failure.message == "no"


def test_an_empty_answer_that_ended_well_is_an_answer() -> None:
    assert replied(DONE)["choices"][0]["message"]["content"] == ""


def test_lines_for_a_whole_answer_are_put_together() -> None:
    """Some proxies stream whatever they are asked for."""
    data = b"\n".join(json.dumps(each).encode() for each in (line("It "), line("rains"), DONE))
    reply = ADAPTER.reply(call(), target(), HEAD, data)
    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "It rains"
    with pytest.raises(Malformed) as raised:
        ADAPTER.reply(call(), target(), HEAD, data.rpartition(b"\n")[0])
    assert raised.value.code == "upstream_truncated"


def test_the_model_is_the_one_that_answered() -> None:
    assert replied({**DONE, "model": "qwen3:8b"})["model"] == "qwen3:8b"
    assert replied(DONE)["model"] == "llama3"


@given(st.lists(st.text(max_size=8), max_size=6), st.sampled_from([Operation.CHAT, Operation.COMPLETIONS]))
def test_no_text_is_lost_or_changed(texts: list[str], operation: Operation) -> None:
    fields = {"messages": [{"role": "user", "content": "x"}]} if operation is Operation.CHAT else {"prompt": "x"}
    decoder = ADAPTER.stream(call(operation, stream=True, **fields), target(), HEAD)
    lines = [line(text) if operation is Operation.CHAT else {"response": text} for text in texts]
    data = b"".join(json.dumps(each).encode() + b"\n" for each in (*lines, DONE))
    said = ""
    for event in events(run(decoder, [data])):
        for choice in event["choices"] if event != "[DONE]" else ():
            said += choice.get("text", "") + choice.get("delta", {}).get("content", "")
    assert said == "".join(texts)


def test_vectors_must_be_as_many_as_the_texts() -> None:
    answer = {"model": "m", "embeddings": [[0.5]], "prompt_eval_count": 2}
    assert replied(answer, Operation.EMBEDDINGS, input="a")["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    for wrong in ({"embeddings": []}, {"embeddings": [[0.5], [1.0]]}, {"embeddings": [[]]}, {}, {"embeddings": ["x"]}):
        with pytest.raises(Malformed):
            replied(wrong, Operation.EMBEDDINGS, input="a")
    with pytest.raises(UpstreamSaid):
        replied({"error": "no"}, Operation.EMBEDDINGS, input="a")


@pytest.mark.parametrize("count", [None, -1, "3", True, 10**30, 1.5])
def test_counts_of_embeddings_that_make_no_sense_are_not_told(count: Any) -> None:
    reply = ADAPTER.reply(
        call(Operation.EMBEDDINGS, input="a"),
        target(),
        Head(200),
        json.dumps({"embeddings": [[0.5]], "prompt_eval_count": count}).encode(),
    )
    assert reply.usage is None


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, '"llama3" does not support thinking', FailureKind.BAD_REQUEST),
        (400, "the input length exceeds the context length", FailureKind.CONTEXT_LENGTH),
        (401, "unauthorized", FailureKind.AUTH),
        (402, "pay", FailureKind.QUOTA),
        (403, "this model requires a subscription, upgrade for access", FailureKind.QUOTA),
        (404, "model 'x' not found", FailureKind.MODEL_MISSING),
        (404, 'model "x" not found, try pulling it first', FailureKind.MODEL_MISSING),
        (404, "404 page not found", FailureKind.BAD_REQUEST),
        (429, "too many requests", FailureKind.RATE_LIMIT),
        (429, "you (ann) have reached your weekly usage limit, upgrade for higher limits", FailureKind.QUOTA),
        (499, "context canceled", FailureKind.SERVER),
        (500, "llama runner process has terminated", FailureKind.SERVER),
        (502, "cloud unreachable", FailureKind.SERVER),
        (503, "server busy, please try again. maximum pending requests exceeded", FailureKind.OVERLOADED),
    ],
)
def test_a_failure_is_what_its_words_say(status: int, message: str, kind: FailureKind) -> None:
    body = json.dumps({"error": message, "signin_url": "https://ollama.com/connect"}).encode()
    failure = ADAPTER.failure(target(), Head(status), body)
    assert (failure.kind, failure.message) == (kind, message)
