"""Ollama's whole answers -> OpenAI's, checked for shape (docs.ollama.com/api, read 2026-08-21)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from adapters.answers import read_json
from adapters.chunks import completion, message, text_completion, tool_call
from adapters.codec import JSON, as_object, decode
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import describe
from adapters.ollama.failures import said_failure
from adapters.ollama.generation import echoed, wanted_logprobs
from adapters.ollama.toolset import custom_input, custom_names
from adapters.ollama.wire import (
    Line,
    ToolCall,
    arguments_of,
    completion_logprobs,
    finish_of,
    name_of,
    read_line,
    said_error,
    text_of,
    token_list,
    usage_of,
)
from adapters.types import Call, Head, Operation, Reply, Target

Object = dict[str, Any]
EMPTY: Final = "upstream_empty_response"


def call_id(call: Call, index: int) -> str:
    """Returns an id for a tool call that came without one."""
    return f"call_{call.id.removeprefix('chatcmpl-')}{index}"


def arguments_for(found: ToolCall, *, is_custom: bool) -> str:
    """Returns the arguments of a call as JSON text, or the free text of a custom tool."""
    text = arguments_of(found.function) if found.function else "{}"
    if not is_custom:
        return text
    try:
        return custom_input(decode(text))
    except (msgspec.DecodeError, RecursionError):
        return text


def read_answer(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    lines = _lines(target, head, body)
    for line in lines:
        if said_error(line):
            raise UpstreamSaid(said_failure(target, head, describe({"error": decode(line.error)})))
    last = lines[-1]
    if len(lines) > 1 and not last.done:
        raise Malformed("the upstream's answer ended before it was finished", code="upstream_truncated")
    model = next((line.model for line in lines if line.model), target.model)
    try:
        read = _read_text if call.operation is Operation.COMPLETIONS else _read_chat
        return read(call, model, lines, last)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Malformed("the upstream's answer is not as its protocol promises") from error


def _lines(target: Target, head: Head, body: bytes) -> Sequence[Line]:
    """Returns the one object of a whole answer, or those of a stream that a proxy did not put together."""
    try:
        if not body.isascii():
            body.decode()
        try:
            return [read_line(body)]
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            lines = [line for line in map(bytes.strip, body.split(b"\n")) if line]
            if len(lines) < 2:
                raise
            return [read_line(line) for line in lines]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _unreadable(target, head, body) from error


def _unreadable(target: Target, head: Head, body: bytes) -> Malformed | UpstreamSaid:
    """Returns what an answer of another shape means: an error that some proxy wrote, or nothing that we know."""
    try:
        members = as_object(read_json(head, body))
    except Malformed as error:
        return error
    said = describe(members)
    if said.message:
        return UpstreamSaid(said_failure(target, head, said))
    return Malformed("the upstream's answer is not as its protocol promises")


def _read_chat(call: Call, model: str, lines: Sequence[Line], last: Line) -> Reply:
    messages = [line.message for line in lines if line.message is not None]
    if not messages:
        raise Malformed("the upstream's answer has no message", code=EMPTY)
    content = "".join(text_of(each.content) for each in messages)
    thinking = "".join(text_of(each.thinking) for each in messages)
    found = [each for said in messages for each in said.tool_calls or ()]
    if not (content or thinking or found or last.done):
        raise Malformed("the upstream's answer is empty", code=EMPTY)
    customs = custom_names(call.fields) if found else frozenset[str]()
    calls = [_call(call, index, each, customs) for index, each in enumerate(found)]
    tokens = [token for line in lines for token in token_list(line.logprobs)]
    logprobs: list[JSON] | None = [{"content": tokens, "refusal": None}] if tokens else None
    made = message(content if content or not calls else None, tool_calls=calls, reasoning=thinking)
    finish = finish_of(last, has_tools=bool(calls))
    return completion(call, model=model, choices=[(made, finish)], usage=usage_of(last), logprobs=logprobs)


def _call(call: Call, index: int, found: ToolCall, customs: frozenset[str]) -> Object:
    name = name_of(found)
    is_custom = name in customs
    arguments = arguments_for(found, is_custom=is_custom)
    return tool_call(found.id or call_id(call, index), name, arguments, is_custom=is_custom)


def _read_text(call: Call, model: str, lines: Sequence[Line], last: Line) -> Reply:
    if not any(line.response for line in lines):
        raise Malformed("the upstream's answer has no text", code=EMPTY)
    echo = echoed(call.fields)
    text = echo + "".join(text_of(line.response) for line in lines)
    tokens = [token for line in lines for token in token_list(line.logprobs)]
    has_logprobs = bool(tokens) and wanted_logprobs(call.fields) > 0
    logprobs = completion_logprobs(tokens, len(echo)) if has_logprobs else None
    finish = finish_of(last, has_tools=False)
    return text_completion(call, model=model, choices=[(text, finish, logprobs)], usage=usage_of(last))
