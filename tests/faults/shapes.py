"""What a well-behaved upstream says, as the material that faults are made of."""

from __future__ import annotations

import json
from typing import Any

from tests.upstreams.scripted import Answer, json_response

JSON_TYPE = ("content-type", "application/json")
SSE_TYPE = ("content-type", "text/event-stream")
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def completion(text: str = "fine", **more: object) -> dict[str, Any]:
    """Returns a whole chat answer."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]} | {
        "usage": USAGE,
        **more,
    }


def fine(text: str = "fine") -> Answer:
    """Returns the answer of an upstream that works."""
    return json_response(completion(text))


def delta(*, finish: str | None = None, **parts: object) -> dict[str, Any]:
    """Returns one chunk of a chat stream."""
    choice = {"index": 0, "delta": parts, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def event(value: object) -> bytes:
    """Returns one event of a stream; bytes stay as they are."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b"data: " + data + b"\n\n"


ROLE = delta(role="assistant", content="")
WORDS = [delta(content="Hel"), delta(content="lo, "), delta(content="wörld")]
FINISH = delta(finish="stop")
GOOD_STREAM = [ROLE, *WORDS, FINISH]
GOOD_TEXT = "Hello, wörld"
