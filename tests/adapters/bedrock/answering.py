"""Answers of Bedrock, whole and as streams, and what the adapter makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adapters.framing.eventstream import encode
from adapters.types import Head, Reply, StreamDecoder
from tests.adapters.bedrock.asking import ADAPTER, CLAUDE, call_of, target
from tests.adapters.recorded import events

OK = Head(200)
HEAD = Head(200, {"content-type": "application/vnd.amazon.eventstream"})
COUNTS = {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}


def event(name: str, payload: Any, kind: str = "event") -> bytes:
    headers = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    return encode(headers, json.dumps({**payload, "p": "abcd"}, ensure_ascii=False).encode())


def delta(index: int, **members: Any) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": members})


def tool_start(index: int, id: str = "t", name: str = "f", **members: Any) -> bytes:
    use = {"toolUse": {"toolUseId": id, "name": name, **members}}
    return event("contentBlockStart", {"contentBlockIndex": index, "start": use})


def stop(index: int) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": index})


def ended(reason: str = "end_turn", usage: Any = COUNTS) -> bytes:
    return event("messageStop", {"stopReason": reason}) + event("metadata", {"usage": usage, "metrics": {}})


START = event("messageStart", {"role": "assistant"})


def streamed(*parts: bytes, model: str = CLAUDE, **fields: Any) -> tuple[list[Any], StreamDecoder]:
    call = call_of(stream=True, **fields)
    decoder = ADAPTER.stream(call, target(model), HEAD)
    out = decoder.feed(START + b"".join(parts)) + decoder.close()
    return events(out), decoder


def deltas(found: Sequence[Any]) -> list[Any]:
    """Returns what the frames bring, without the role and the end."""
    said = [each["choices"][0]["delta"] for each in found if each != "[DONE]" and each["choices"]]
    return [each for each in said if each and "role" not in each]


def whole(content: Any, reason: Any = "end_turn", usage: Any = COUNTS) -> bytes:
    return json.dumps({"output": {"message": {"content": content}}, "stopReason": reason, "usage": usage}).encode()


def replied(body: bytes, model: str = CLAUDE, head: Head = OK, **fields: Any) -> Reply:
    return ADAPTER.reply(call_of(**fields), target(model), head, body)
