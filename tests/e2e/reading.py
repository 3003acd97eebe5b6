"""What a careful client gets out of an OpenAI answer, whole or streamed. Shares no code with the product."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(slots=True)
class Reading:
    """The first choice of an answer, its counts, and how it ended."""

    text: str = ""
    thinking: str = ""
    tools: list[list[Any]] = field(default_factory=list[list[Any]])
    """`[name, arguments]`, the arguments parsed."""
    stop: str | None = None
    prompt: int | None = None
    completion: int | None = None
    vectors: list[list[float]] = field(default_factory=list[list[float]])
    scores: list[list[Any]] = field(default_factory=list[list[Any]])
    """`[index, relevance]` of a reranking."""
    error: str | None = None
    """Message of an error answer or error event."""
    fault: str | None = None
    """What is not OpenAI's shape."""
    is_done: bool = False
    """A whole JSON answer, or a stream that came to [DONE]."""


def read(status: int, content_type: str, body: bytes) -> Reading:
    """Returns what an answer says, up to the first thing that is not OpenAI's shape."""
    reading = Reading()
    try:
        _read(reading, status, content_type, body)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        reading.fault = repr(error)
    return reading


def _read(reading: Reading, status: int, content_type: str, body: bytes) -> None:
    if content_type.startswith("text/event-stream"):
        calls: dict[int, list[str]] = {}
        for data in _events(body):
            if data == "[DONE]":
                assert not reading.is_done
                reading.is_done = True
            else:
                _take(reading, json.loads(data), calls)
        reading.tools = [[name, parsed(arguments)] for name, arguments in calls.values()]
        return
    answer: Object = json.loads(body)
    if status >= 400:
        reading.error = _error(answer)
        return
    _take(reading, answer, {})
    reading.is_done = True


def parsed(arguments: str) -> Any:
    """Returns arguments as a value; as they are if they are no JSON."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _events(body: bytes) -> Iterator[str]:
    """Yields the data of each event; the gateway writes one `data:` line each and LF only."""
    assert body.endswith(b"\n\n") or not body, body[-200:]
    for block in body.decode().split("\n\n")[:-1]:
        if block.startswith(":"):
            continue
        assert block.startswith("data: ") and "\n" not in block, block
        yield block.removeprefix("data: ")


def _take(reading: Reading, answer: Object, calls: dict[int, list[str]]) -> None:
    assert not reading.is_done, "nothing follows [DONE]"
    if answer.get("error"):
        reading.error = _error(answer)
        return
    usage: Object = answer.get("usage") or {}
    if usage.get("prompt_tokens") is not None:
        reading.prompt, reading.completion = usage["prompt_tokens"], usage.get("completion_tokens")
    reading.scores += [[item["index"], item["relevance_score"]] for item in answer.get("results", [])]
    reading.vectors += [_floats(item["embedding"]) for item in answer.get("data", [])]
    for choice in answer.get("choices") or []:
        if choice.get("index", 0) == 0:
            _take_choice(reading, choice, calls)


def _error(answer: Object) -> str:
    """Returns the message of an error; what was tried may stand beside OpenAI's four members."""
    error: Object = answer["error"]
    assert set(error) - {"details"} == {"message", "type", "param", "code"}, answer
    for attempt in error.get("details", {"attempts": []})["attempts"]:
        assert set(attempt) - {"status"} == {"deployment", "kind"}, answer
    return error["message"]


def _take_choice(reading: Reading, choice: Object, calls: dict[int, list[str]]) -> None:
    message: Object = choice.get("message") or choice.get("delta") or {}
    reading.text += choice.get("text") or message.get("content") or ""
    reading.thinking += message.get("reasoning_content") or ""
    assert "reasoning" not in message or not isinstance(message["reasoning"], str), "one name for reasoning"
    reading.stop = choice.get("finish_reason") or reading.stop
    for call in message.get("tool_calls") or []:
        function: Object = call.get("function") or {}
        if "message" in choice:
            assert call["id"] and call["type"], call
            if call["type"] == "custom":
                reading.tools.append([call["custom"]["name"], call["custom"]["input"]])
                continue
            reading.tools.append([function["name"], parsed(function["arguments"])])
            continue
        index = call["index"]
        if index not in calls:
            assert index == len(calls) and call["id"] and call["type"] and function["name"], call
            calls[index] = [function["name"], ""]
        else:
            assert not call.get("id") and not function.get("name"), "named once"
        calls[index][1] += function.get("arguments") or ""


def _floats(vector: Any) -> list[float]:
    if isinstance(vector, str):
        data = base64.b64decode(vector)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    return vector
