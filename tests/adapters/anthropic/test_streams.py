"""Streams of the Messages API as frames of a chat completion."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.anthropic.custom import CustomInput
from adapters.anthropic.fence import Fence, unfenced
from adapters.failures import FailureKind
from adapters.types import Head
from tests.adapters.anthropic.asking import (
    ADAPTER,
    SSE,
    START,
    STOP,
    TOOL,
    Streamed,
    call_of,
    closed,
    ended,
    opened,
    piece,
    tool_blocks,
)
from tests.adapters.recorded import run, target_of

HI = [opened(0, text=""), piece(0, text="hi"), closed(0)]


def test_text_comes_as_it_was_said_and_ends_with_reason_usage_and_done() -> None:
    streamed = Streamed(START, *HI, ended("end_turn", {"output_tokens": 7}), STOP)
    assert streamed.deltas == [{"role": "assistant", "content": ""}, {"content": "hi"}, {}]
    assert streamed.finishes == ["stop"]
    assert streamed.events[-2]["usage"]["completion_tokens"] == 7
    assert streamed.events[-2]["usage"]["prompt_tokens"] == 3
    assert streamed.events[-1] == "[DONE]"
    assert (streamed.decoder.model, streamed.decoder.finish) == ("claude-x", "stop")


def test_calls_are_numbered_among_calls_and_not_among_blocks() -> None:
    streamed = Streamed(
        START,
        *HI,
        *tool_blocks(1, "a", "f", "", '{"x":', "1}"),
        *tool_blocks(2, "b", "g", "{}"),
        ended("tool_use"),
        STOP,
    )
    heads = [(call["index"], call["id"], call["function"]["name"]) for call in streamed.tool_deltas if "id" in call]
    assert heads == [(0, "a", "f"), (1, "b", "g")]
    assert (streamed.arguments(0), streamed.arguments(1)) == ('{"x":1}', "{}")
    assert streamed.finishes == ["tool_calls"]


def test_a_call_without_pieces_has_the_input_of_its_start_or_none() -> None:
    whole = opened(1, "tool_use", id="b", name="g", input={"x": 1})
    streamed = Streamed(START, *tool_blocks(0, "a", "f"), whole, closed(1), ended("tool_use"), STOP)
    assert (streamed.arguments(0), streamed.arguments(1)) == ("{}", '{"x":1}')
    unclosed = Streamed(START, opened(0, "tool_use", id="a", name="f"), ended("tool_use"), STOP)
    assert unclosed.arguments(0) == "{}"


def test_arguments_go_out_piece_by_piece() -> None:
    streamed = Streamed(START, *tool_blocks(0, "a", "f", '{"x"', ":", "1}"), ended("tool_use"), STOP)
    assert [call["function"]["arguments"] for call in streamed.tool_deltas[1:]] == ['{"x"', ":", "1}"]


def test_calls_cut_by_the_limit_keep_what_came() -> None:
    streamed = Streamed(START, *tool_blocks(0, "a", "f", '{"x":'), ended("max_tokens"), STOP)
    assert (streamed.arguments(0), streamed.finishes) == ('{"x":', ["length"])


def test_the_end_is_told_once_and_the_last_counts_win() -> None:
    streamed = Streamed(
        START,
        *HI,
        ended("end_turn", {"output_tokens": 1, "input_tokens": 9}),
        ended("end_turn", {"output_tokens": 5, "input_tokens": None, "cache_read_input_tokens": 4}),
        STOP,
    )
    assert streamed.finishes == ["stop"]
    usage = streamed.events[-2]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (13, 5)


def test_pings_keep_the_connection_alive_once_there_is_something_to_lose() -> None:
    ping = {"type": "ping"}
    streamed = Streamed(START, ping, *HI[:2], ping, closed(0), ended("end_turn"), STOP)
    assert streamed.output.startswith(b"data: ")
    assert streamed.output.count(b": ping\n\n") == 1
    assert streamed.events == Streamed(START, *HI, ended("end_turn"), STOP).events


def test_an_error_in_the_middle_is_a_failure_and_no_end() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    streamed = Streamed(START, *HI, error, ended("end_turn"), STOP)
    assert streamed.text == "hi" and streamed.finishes == [] and "[DONE]" not in streamed.events
    assert streamed.decoder.failure is not None
    assert streamed.decoder.failure.kind is FailureKind.OVERLOADED


COUNTED = ended(None, {"output_tokens": 1})


@pytest.mark.parametrize("told", [[], [START], [START, *HI[:2]], [START, *HI], [START, *HI, COUNTED], [START, STOP]])
def test_a_stream_that_is_cut_or_empty_is_a_failure(told: list[Any]) -> None:
    streamed = Streamed(*told)
    assert streamed.decoder.failure is not None
    assert streamed.finishes == []


def test_a_natural_end_without_words_is_an_empty_answer() -> None:
    streamed = Streamed(START, ended("end_turn"), STOP)
    assert streamed.deltas == [{"role": "assistant", "content": ""}, {}]
    assert (streamed.finishes, streamed.events[-1], streamed.decoder.failure) == (["stop"], "[DONE]", None)


def test_an_end_of_file_behind_the_reason_is_an_end() -> None:
    assert Streamed(START, *HI, ended("end_turn")).events[-1] == "[DONE]"


def test_the_end_of_other_protocols_ends_an_answer_that_is_finished_and_no_other() -> None:
    def told(*events: Any) -> Any:
        decoder = ADAPTER.stream(call_of(stream=True), target_of(protocol="anthropic"), SSE)
        data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
        run(decoder, [data + b"data: [DONE]\n\n"])
        return decoder

    assert told(START, *HI, ended("end_turn")).is_done
    assert told(START, *HI).failure.code == "upstream_truncated"


def test_an_error_without_a_type_is_an_error() -> None:
    streamed = Streamed(START, {"error": {"code": 500, "message": "out of memory", "type": "server_error"}})
    assert streamed.decoder.failure is not None
    assert streamed.decoder.failure.message == "out of memory"


def test_a_refusal_is_told_in_its_own_place() -> None:
    details = {"type": "refusal", "explanation": "No."}
    streamed = Streamed(START, ended("refusal", stop_details=details), STOP)
    assert {"refusal": "No."} in streamed.deltas
    assert streamed.finishes == ["content_filter"]


@pytest.mark.parametrize("message", [None, {}, {"usage": None, "model": None}, {"usage": "x", "model": 5}])
def test_a_start_may_say_nothing(message: Any) -> None:
    streamed = Streamed({"type": "message_start", "message": message}, *HI, ended("end_turn"), STOP)
    assert streamed.text == "hi"
    assert streamed.decoder.usage is None
    assert streamed.decoder.model == "claude-haiku-4-5"


def test_what_means_nothing_to_the_client_is_passed_over() -> None:
    streamed = Streamed(
        START,
        {"type": "novelty"},
        opened(0, "server_tool_use", id="s", name="web_search", input={}),
        piece(0, "input_json_delta", partial_json='{"q":1}'),
        closed(0),
        opened(1, "web_search_tool_result", content=[]),
        closed(1),
        opened(2, text="so: "),
        piece(2, "citations_delta", citation={"url": "https://x/"}),
        piece(2, text="hi"),
        closed(2),
        ended("end_turn"),
        STOP,
    )
    assert streamed.text == "so: hi" and streamed.tool_deltas == []


def test_pieces_of_nothing_mean_nothing() -> None:
    streamed = Streamed(
        START,
        opened(0, "thinking", thinking=None),
        piece(0, "thinking_delta", thinking=None),
        piece(0, "thinking_delta"),
        piece(0, "signature_delta", signature=None),
        piece(0, "signature_delta", signature="sig"),
        closed(0),
        opened(1, text=None),
        piece(1, text=None),
        *HI,
        ended("end_turn"),
        STOP,
    )
    assert streamed.text == "hi"
    assert [each["text"] for delta in streamed.deltas for each in delta.get("reasoning_details", ())] == [""]


def test_a_piece_that_is_no_text_is_a_failure() -> None:
    assert Streamed(START, opened(0), piece(0, text=5)).decoder.failure is not None
    assert Streamed(START, opened(0, "tool_use", id="a")).decoder.failure is not None


def test_old_functions_stream_a_function_call() -> None:
    streamed = Streamed(START, *tool_blocks(0, "a", "f", "{}"), ended("tool_use"), STOP, functions=[TOOL["function"]])
    told = [delta["function_call"] for delta in streamed.deltas if "function_call" in delta]
    assert told == [{"name": "f", "arguments": ""}, {"arguments": "{}"}]
    assert streamed.finishes == ["function_call"]


def test_an_answer_through_a_tool_streams_as_text() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object", "properties": {}}}}
    streamed = Streamed(
        START,
        *tool_blocks(0, "a", "s", '{"a"', ":1}"),
        ended("tool_use"),
        STOP,
        model="claude-opus-4-1",
        response_format=schema,
    )
    assert (streamed.text, streamed.finishes, streamed.tool_deltas) == ('{"a":1}', ["stop"], [])


@pytest.mark.parametrize("is_called", [True, False])
def test_of_an_answer_through_a_tool_the_first_call_counts_and_no_words_beside_it(is_called: bool) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object", "properties": {}}}}
    twice = [*tool_blocks(1, "a", "s", '{"a":1}'), *tool_blocks(2, "b", "s", '{"a":2}')] if is_called else []
    streamed = Streamed(START, *HI, *twice, ended("tool_use"), STOP, model="claude-opus-4-1", response_format=schema)
    assert streamed.text == ('{"a":1}' if is_called else "hi")
    assert streamed.finishes == ["stop"]


def test_json_asked_for_in_words_streams_without_its_fence() -> None:
    said = [piece(0, text=text) for text in ("`", "``json\n{", '"a": "``', '`"}\n', "``", "`\n")]
    streamed = Streamed(
        START, opened(0), *said, closed(0), ended("end_turn"), STOP, response_format={"type": "json_object"}
    )
    assert streamed.text == '{"a": "```"}'


def test_a_custom_tool_streams_its_text() -> None:
    text = 'SELECT "é🙂"\\\n'
    whole = json.dumps({"input": text})
    pieces = [whole[at : at + 3] for at in range(0, len(whole), 3)]
    custom = {"type": "custom", "custom": {"name": "sql"}}
    streamed = Streamed(START, *tool_blocks(0, "a", "sql", *pieces), ended("tool_use"), STOP, tools=[custom])
    assert streamed.arguments(0, "custom", "input") == text
    assert len(streamed.tool_deltas) > 5
    silent = Streamed(START, *tool_blocks(0, "a", "sql"), ended("tool_use"), STOP, tools=[custom])
    assert silent.tool_deltas[-1]["custom"] == {"input": "{}"}


def test_plain_json_to_a_stream_is_told_as_a_stream() -> None:
    body = b'{"type":"message","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn"}'
    decoder = ADAPTER.stream(
        call_of(stream=True), target_of(protocol="anthropic"), Head(200, {"content-type": "application/json"})
    )
    output = run(decoder, [body])
    assert b'"content":"hi"' in output and output.endswith(b"data: [DONE]\n\n")


@given(st.text(), st.lists(st.integers(1, 6), min_size=1, max_size=8), st.booleans())
def test_the_text_of_a_custom_tool_is_whole_however_it_is_cut(text: str, sizes: list[int], is_ascii: bool) -> None:
    whole = json.dumps({"input": text}, ensure_ascii=is_ascii)
    assert "".join(_unwrapped(whole, sizes)) == text


@given(st.text(alphabet='{}"input: \\uD83d\n', max_size=30), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_what_is_no_custom_input_is_told_as_valid_json(text: str, sizes: list[int]) -> None:
    assert all(isinstance(told, str) for told in _unwrapped(text, sizes))


def _unwrapped(whole: str, sizes: list[int]) -> list[str]:
    custom = CustomInput()
    found: list[bytes] = []
    at = 0
    for number in range(len(whole)):
        size = sizes[number % len(sizes)]
        found.append(custom.feed(whole[at : at + size]))
        at += size
    return [json.loads(told) for told in [*found, custom.close()] if told]


@given(st.text(alphabet="`\n {}ajson", max_size=40), st.lists(st.integers(1, 6), min_size=1, max_size=8))
def test_a_fence_is_taken_away_alike_however_it_is_cut(text: str, sizes: list[int]) -> None:
    fence = Fence()
    out = ""
    at = 0
    for number in range(len(text)):
        size = sizes[number % len(sizes)]
        out += fence.feed(text[at : at + size])
        at += size
    assert out + fence.close() == unfenced(text)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("{}", "{}"), ("```json\n{}\n```", "{}"), ("\n```\n{}```\n", "{}"), ("```json\n{}", "{}"), ("", ""),
        ("a ```json\n{}\n```", "a ```json\n{}\n```"), ("```", "```"), ("```\n{}\n``` b", "{}\n``` b"),
    ],
)  # fmt: skip
def test_a_fence_around_everything_is_taken_away(text: str, bare: str) -> None:
    assert unfenced(text) == bare
