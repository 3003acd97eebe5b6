"""Request and answer bodies. A streamed request says in its text how the upstream shall stream."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

JSON_MODEL = "bench-json"
STREAM_MODEL = "bench-stream"
_ORDER = re.compile(rb"chunks=(\d+) every=(\d+) hold=([01])")
_WORDS = "the quick brown fox jumps over the lazy dog while gateways relay every byte of it "


@dataclass(frozen=True)
class StreamOrder:
    """How many chunks, how many milliseconds apart (0: all at once), and whether to keep the stream open."""

    chunks: int
    every_ms: int = 0
    hold: bool = False

    def __str__(self) -> str:
        return f"chunks={self.chunks} every={self.every_ms} hold={int(self.hold)}"


def read_order(body: bytes) -> StreamOrder | None:
    """Returns the order in a request body, None if it is not a streamed one."""
    found = _ORDER.search(body)
    if found is None:
        return None
    return StreamOrder(int(found[1]), int(found[2]), found[3] == b"1")


def chat_body(size: int) -> bytes:
    """Returns a chat request of about `size` bytes in one user message."""
    empty = _chat([{"role": "user", "content": ""}])
    text = (_WORDS * (size // len(_WORDS) + 1))[: max(size - len(empty), 1)]
    return _chat([{"role": "user", "content": text}])


def agent_body(messages: int = 400) -> bytes:
    """Returns what an agent sends late in its work: many short turns with tool calls, about 58 kB for 400."""
    turns: list[dict[str, object]] = [{"role": "system", "content": "You are a careful agent."}]
    while len(turns) < messages:
        number = len(turns)
        call = {"name": "read_file", "arguments": json.dumps({"path": f"src/{number}.py"})}
        tool_call = {"id": f"call_{number}", "type": "function", "function": call}
        turns += [
            {"role": "user", "content": _WORDS[:70]},
            {"role": "assistant", "content": None, "tool_calls": [tool_call]},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": _WORDS[:80]},
            {"role": "assistant", "content": _WORDS[:80]},
        ]
    return _chat(turns[:messages])


def stream_body(order: StreamOrder) -> bytes:
    """Returns a streamed chat request that carries `order`."""
    return json.dumps(
        {
            "model": STREAM_MODEL,
            "stream": True,
            "messages": [{"role": "user", "content": f"{order}"}],
            "max_tokens": 256,
        }
    ).encode()


def answer_body() -> bytes:
    """Returns the canned answer of 0.6 kB."""
    text = (_WORDS * 4)[:250]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    answer = {
        "id": "chatcmpl-bench00000000000000000000",
        "object": "chat.completion",
        "created": 1700000000,
        "model": JSON_MODEL,
        "choices": [choice],
        "usage": {"prompt_tokens": 200, "completion_tokens": 60, "total_tokens": 260},
        "system_fingerprint": "fp_bench",
    }
    return json.dumps(answer).encode()


def chunk_frame(number: int) -> bytes:
    """Returns one content chunk as an SSE frame.

    The first one has the role and content: a gateway may hold back a chunk without content, because as long as it has
    sent none it can try another upstream.
    """
    delta: dict[str, str] = {"content": f" word{number}"}
    if number == 0:
        delta = {"role": "assistant", **delta}
    return _frame([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])


def end_frames(*, usage: bool) -> bytes:
    """Returns the finish chunk, the usage chunk if it was asked for, and the end mark."""
    finish = _frame([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}])
    counts = {"prompt_tokens": 20, "completion_tokens": 100, "total_tokens": 120}
    last = _frame([], usage=counts) if usage else b""
    return finish + last + b"data: [DONE]\n\n"


def messages_answer() -> bytes:
    """Returns the same canned answer in Anthropic's protocol."""
    answer = {
        "id": "msg_bench00000000000000000000",
        "type": "message",
        "role": "assistant",
        "model": JSON_MODEL,
        "content": [{"type": "text", "text": (_WORDS * 4)[:250]}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 200, "output_tokens": 60},
    }
    return json.dumps(answer).encode()


def messages_head() -> bytes:
    """Returns what a stream of Anthropic's protocol begins with, up to the first piece of text."""
    message = {
        "id": "msg_bench00000000000000000000",
        "type": "message",
        "role": "assistant",
        "model": STREAM_MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 20, "output_tokens": 1},
    }
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return _event({"type": "message_start", "message": message}) + _event(block)


def messages_frame(number: int) -> bytes:
    """Returns one content chunk of Anthropic's protocol, with the same text as `chunk_frame`."""
    delta = {"type": "text_delta", "text": f" word{number}"}
    frame = _event({"type": "content_block_delta", "index": 0, "delta": delta})
    return messages_head() + frame if number == 0 else frame


def messages_end() -> bytes:
    """Returns what a stream of Anthropic's protocol ends with."""
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    usage = {"output_tokens": 100}
    return b"".join(
        _event(event)
        for event in (
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": ended, "usage": usage},
            {"type": "message_stop"},
        )
    )


def _event(data: dict[str, object]) -> bytes:
    return b"event: " + str(data["type"]).encode() + b"\ndata: " + json.dumps(data).encode() + b"\n\n"


def _chat(messages: list[dict[str, object]]) -> bytes:
    return json.dumps({"model": JSON_MODEL, "messages": messages, "max_tokens": 256}).encode()


def _frame(choices: list[object], **more: object) -> bytes:
    chunk = {
        "id": "chatcmpl-bench00000000000000000000",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": STREAM_MODEL,
        "choices": choices,
        **more,
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"
