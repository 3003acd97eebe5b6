"""The lines that Ollama answers with, decoded as far as needed: one for a whole answer, many for a stream."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.codec import as_list, as_object, decode, is_null
from adapters.errors import Malformed
from adapters.translated import raw_string
from adapters.types import Usage

Object = dict[str, Any]
ABSENT: Final = Raw()
_MOST_DIGITS: Final = 15
"""JSON numbers are exact up to here, and longer ones are nobody's tokens."""


class Function(Struct):
    """What a tool call asks for."""

    name: str | None = None
    arguments: Raw = ABSENT


class ToolCall(Struct):
    """One call; servers before 2025-11 give no id."""

    id: str | None = None
    function: Function | None = None


class Message(Struct):
    """A message, or the piece of one."""

    content: Raw = ABSENT
    thinking: Raw = ABSENT
    tool_calls: list[ToolCall] | None = None


class Line(Struct):
    """One object of `/api/chat` or `/api/generate`."""

    message: Message | None = None
    response: Raw = ABSENT
    done: bool | None = None
    done_reason: str | None = None
    model: str | None = None
    error: Raw = ABSENT
    logprobs: Raw = ABSENT
    prompt_eval_count: Raw = ABSENT
    eval_count: Raw = ABSENT


read_line: Final = msgspec.json.Decoder(Line).decode
_string: Final = msgspec.json.Decoder(str).decode


def text_of(raw: Raw) -> str:
    """Returns the text of such a member, empty if there is none; raises Malformed."""
    found = raw_string(raw)
    return _string(found) if found else ""


def said_error(line: Line) -> bool:
    """True for a line that tells an error."""
    return bool(line.error) and bytes(line.error) not in (b"null", b'""', b"false")


def arguments_of(function: Function) -> str:
    """Returns the arguments as JSON text: Ollama writes the object itself, proxies sometimes its text."""
    found = bytes(function.arguments)
    if found[:1] == b'"':
        return _string(found) or "{}"
    return "{}" if found in (b"", b"null") else found.decode()


def name_of(call: ToolCall) -> str:
    """Returns the name of the called function; raises Malformed."""
    name = call.function.name if call.function else None
    if not name:
        raise Malformed("a tool call of the upstream's answer has no name")
    return name


def usage_of(line: Line) -> Usage | None:
    """Returns the counts of the last line, None if it has none.

    A count of zero is left out, as are the prompt's tokens by older servers that found all of them in their cache.
    Reasoning is inside `eval_count` and not counted apart.
    """
    prompt, completion = count_of(line.prompt_eval_count), count_of(line.eval_count)
    if prompt is None and completion is None:
        return None
    return Usage(prompt or 0, completion or 0)


def count_of(raw: Raw) -> int | None:
    """Returns a plausible number of tokens; None for anything else."""
    digits = bytes(raw)
    return int(digits) if digits.isdigit() and len(digits) <= _MOST_DIGITS else None


def finish_of(line: Line, *, has_tools: bool) -> str:
    """Returns OpenAI's word; `load`, `unload` and what nobody knows are a natural end."""
    if line.done_reason == "length":
        return "length"
    return "tool_calls" if has_tools else "stop"


def token_list(raw: Raw) -> list[Object]:
    """Returns the log probabilities of a line as OpenAI writes those of a chat's tokens."""
    if is_null(raw):
        return []
    return [
        {**_token(item), "top_logprobs": [_token(as_object(each)) for each in as_list(item.get("top_logprobs"))]}
        for item in map(as_object, as_list(decode(raw)))
    ]


def _token(item: Object) -> Object:
    return {"token": item.get("token"), "logprob": item.get("logprob"), "bytes": item.get("bytes")}


def completion_logprobs(tokens: list[Object], offset: int) -> Object:
    """Returns them as OpenAI writes those of a text completion; `offset` characters came before."""
    texts = [str(token["token"] or "") for token in tokens]
    offsets = [offset + sum(map(len, texts[:place])) for place in range(len(texts))]
    return {
        "tokens": texts,
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [{str(each["token"]): each["logprob"] for each in token["top_logprobs"]} for token in tokens],
        "text_offset": offsets,
    }
