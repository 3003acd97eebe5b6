"""Upstream answers in OpenAI's shape, as small as they can be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tests.upstreams.scripted import Answer, json_response

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
Object = dict[str, Any]


def completion(content: str | None = "Hello there", **message: Any) -> Object:
    """Returns a whole chat completion; `finish_reason` may be among the members."""
    finish = message.pop("finish_reason", "stop")
    return {
        "id": "chatcmpl-upstream",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "quick-2026",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "finish_reason": finish,
                "logprobs": None,
            }
        ],
        "usage": USAGE,
    }


def chunk(delta: Object | None = None, finish: str | None = None, **more: Any) -> Object:
    """Returns one chunk of a chat stream; without a delta and a finish it has no choices."""
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {
        "id": "chatcmpl-upstream",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "quick-2026",
        "choices": choices,
        **more,
    }


def text_chunks(*pieces: str, finish: str = "stop") -> list[Object]:
    """Returns the chunks of a stream that says `pieces`, with usage at the end."""
    first = chunk({"role": "assistant", "content": ""})
    return [first, *(chunk({"content": piece}) for piece in pieces), chunk({}, finish), chunk(usage=USAGE)]


def tool_delta(index: int, arguments: str, *, id: str | None = None, name: str | None = None) -> Object:
    """Returns the delta of one tool call; with an id and a name it begins the call."""
    call: Object = {"index": index, "function": {"arguments": arguments}}
    if id is not None:
        call = {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [call]}


def vectors(embeddings: Iterable[Sequence[float] | str]) -> Answer:
    """Returns an embeddings answer, each vector as it is given."""
    data = [{"object": "embedding", "index": index, "embedding": value} for index, value in enumerate(embeddings)]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return json_response({"object": "list", "model": "embed-2026", "data": data, "usage": usage})


def error(status: int, message: str, *, code: str | None = None, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Returns an error answer in OpenAI's shape."""
    body = {"error": {"message": message, "type": "some_error", "param": None, "code": code}}
    return json_response(body, status, headers)


def sse(events: Iterable[Object]) -> bytes:
    """Returns events as bytes of a stream with LF line ends and the final [DONE]."""
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"
