"""A stream of the Messages API -> frames of a chat completion.

Events are told apart by `type` in their data, since proxies strip the `event:` line. Blocks come one after another,
each with a start, deltas and a stop; `index` counts blocks of all kinds. `message_delta` may come more than once, its
counts are totals, and the end is `message_stop`. (platform.claude.com: streaming, 2026-08-22.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.anthropic.counts import Counts
from adapters.anthropic.custom import CustomInput
from adapters.anthropic.failures import said_inside
from adapters.anthropic.fence import Fence
from adapters.anthropic.reply import read_reply
from adapters.anthropic.wording import (
    custom_input,
    finish_of,
    hidden_detail,
    read_reading,
    refusal_of,
    thinking_detail,
)
from adapters.chunks import EMPTY_STRINGS
from adapters.codec import JSON, decode, encode
from adapters.errors import Malformed, UpstreamSaid
from adapters.framing.sse import DONE, DataSplitter
from adapters.translated import EMPTY, TranslatedStream, raw_string
from adapters.types import MAX_EVENT_BYTES, Call, Head, Target

Object = dict[str, Any]
_NONE: Final = Raw(b"")
_PING: Final = b": ping\n\n"


class _Delta(Struct):
    type: str = ""
    text: Raw = _NONE
    thinking: Raw = _NONE
    partial_json: Raw = _NONE
    signature: Raw = _NONE
    stop_reason: JSON = None
    stop_details: JSON = None


class _Message(Struct):
    model: JSON = None
    usage: Raw = _NONE


class _Event(Struct):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None
    content_block: Object | None = None
    message: _Message | None = None
    usage: Raw = _NONE
    error: JSON = None


class _Call:
    """An open block that is a tool call."""

    __slots__ = ("custom", "has_arguments", "input", "is_answer", "tool")

    def __init__(self, input: JSON, tool: int, *, is_answer: bool, custom: CustomInput | None) -> None:
        self.input = input
        """What its start already held."""
        self.tool = tool
        """Its index among the calls; -1 for one whose input is the answer."""
        self.is_answer = is_answer
        self.custom = custom
        self.has_arguments = False


class _Preface:
    """Words before an answer that comes through a tool: told only if that call never comes."""

    __slots__ = ("_size", "held", "is_answered")

    def __init__(self) -> None:
        self.held: list[bytes] = []
        self.is_answered = False
        self._size = 0

    def hold(self, raw: bytes) -> None:
        self._size += len(raw)
        if self._size > MAX_EVENT_BYTES:
            raise Malformed("the upstream's answer is too long")
        self.held.append(raw)


_decode_event: Final = msgspec.json.Decoder(_Event).decode


class AnthropicStream(TranslatedStream[bytes]):
    """Decodes one stream."""

    def __init__(self, call: Call, target: Target, head: Head) -> None:
        super().__init__(call, target, head, DataSplitter(MAX_EVENT_BYTES), whole=read_reply)
        self._reading = read_reading(call, target)
        self._counts = Counts()
        self._calls: dict[int, _Call] = {}
        """Open calls by the index of their block."""
        self._thoughts: list[bytes] = []
        """Reasoning of the open block, for the detail that its signature completes."""
        self._thought_bytes = 0
        self._signature = ""
        self._details = 0
        self._fence = Fence() if self._reading.is_fenced else None
        self._preface = _Preface() if self._reading.answer_tool else None
        self._steps: dict[str, Callable[[_Event], None]] = {
            "content_block_start": self._start,
            "content_block_stop": self._stop,
            "message_start": self._begin,
            "message_delta": self._end,
            "message_stop": self._finish,
            "ping": self._ping,
            "error": self._error,
        }

    def event(self, event: bytes) -> None:
        """Reads one event; kinds that nobody knows mean nothing."""
        if event == DONE:  # of servers that only are compatible
            if self.finish is not None:
                self.complete()
            return
        if not event.isascii():
            event.decode()
        said = _decode_event(event)
        if said.type == "content_block_delta":
            if said.delta is not None:
                self._delta(said.index, said.delta)
        elif step := self._steps.get(said.type):
            step(said)
        elif said.error is not None:
            self._error(said)

    def _delta(self, index: int, delta: _Delta) -> None:
        kind = delta.type
        if kind == "text_delta":
            self._text(raw_string(delta.text))
        elif kind == "thinking_delta":
            raw = raw_string(delta.thinking)
            if not raw:
                return
            self._thought_bytes += len(raw)
            if self._thought_bytes > MAX_EVENT_BYTES:
                raise Malformed("the reasoning of the upstream's answer is too long")
            self._thoughts.append(raw)
            self.think(raw)
        elif kind == "input_json_delta":
            self._arguments(index, raw_string(delta.partial_json))
        elif kind == "signature_delta":
            self._signature += _text(delta.signature)
            if len(self._signature) > MAX_EVENT_BYTES:
                raise Malformed("a signature of the upstream's answer is too long")

    def _text(self, raw: bytes) -> None:
        if self._fence is not None and raw not in EMPTY_STRINGS:
            raw = encode(self._fence.feed(decode(raw)))
        if self._preface is None:
            self.say(raw)
        else:
            self._preface.hold(raw)

    def _arguments(self, index: int, raw: bytes) -> None:
        call = self._calls.get(index)
        if call is None or raw in EMPTY_STRINGS:
            return  # an input of one of the vendor's own tools
        call.has_arguments = True
        if call.is_answer:
            self.say(raw)
        elif call.custom is not None:
            self.add_arguments(call.tool, call.custom.feed(decode(raw)), is_custom=True)
        else:
            self.add_arguments(call.tool, raw)

    def _begin(self, event: _Event) -> None:
        message = event.message
        if message is not None:
            self.begin(message.model if isinstance(message.model, str) else None)
            self._counts.add_raw(message.usage)
            self.usage = self._counts.usage()

    def _start(self, event: _Event) -> None:
        block = event.content_block or {}
        kind = block.get("type")
        if kind == "text":
            text = block.get("text")
            if isinstance(text, str) and text:
                self._text(encode(text))
        elif kind == "thinking":
            text, signature = block.get("thinking"), block.get("signature")
            if isinstance(text, str) and text:
                self._delta(event.index, _Delta(type="thinking_delta", thinking=Raw(encode(text))))
            if isinstance(signature, str):
                self._signature = signature
        elif kind == "redacted_thinking":
            data = block.get("data")
            if isinstance(data, str) and data:
                self.add(reasoning_details=[hidden_detail(data, self._details)])
                self._details += 1
        elif kind == "tool_use":
            self._close_calls()
            self._open(event.index, block)

    def _open(self, index: int, block: Object) -> None:
        name, id = block.get("name"), block.get("id")
        if not isinstance(name, str) or not name:
            raise Malformed("a tool call of the upstream's answer has no name")
        if self._preface is not None and name == self._reading.answer_tool:
            if not self._preface.is_answered:  # of several calls, the first is the answer
                self._preface.is_answered = True
                self._calls[index] = _Call(block.get("input"), -1, is_answer=True, custom=None)
            return
        is_custom = name in self._reading.customs
        made = id if isinstance(id, str) and id else f"call_{self.tool_count}"
        tool = self.open_tool(made, self._reading.name(name), is_custom=is_custom)
        custom = CustomInput() if is_custom else None
        self._calls[index] = _Call(block.get("input"), tool, is_answer=False, custom=custom)

    def _stop(self, event: _Event) -> None:
        call = self._calls.pop(event.index, None)
        if call is not None:
            self._close_call(call)
        if self._signature:
            text = "".join(decode(raw) for raw in self._thoughts)
            self.add(reasoning_details=[thinking_detail(text, self._signature, self._details)])
            self._details += 1
        self._signature = ""
        self._thoughts.clear()
        self._thought_bytes = 0

    def _close_calls(self) -> None:
        """Closes what a server that only is compatible has left open."""
        for call in self._calls.values():
            self._close_call(call)
        self._calls.clear()

    def _close_call(self, call: _Call) -> None:
        """Tells the input that came with a call's start, or that there is none, if no pieces have come."""
        if call.has_arguments:
            if call.custom is not None:
                self.add_arguments(call.tool, call.custom.close(), is_custom=True)
            return
        if call.custom is not None:
            self.add_arguments(call.tool, encode(custom_input(call.input)), is_custom=True)
            return
        text = encode({} if call.input is None else call.input)
        if call.is_answer:
            self.say(encode(text.decode()))
        else:
            self.add_arguments(call.tool, encode(text.decode()))

    def _end(self, event: _Event) -> None:
        self._counts.add_raw(event.usage)
        self.usage = self._counts.usage()
        delta = event.delta
        if delta is None or not isinstance(delta.stop_reason, str):
            return
        self._close_calls()
        if delta.stop_reason == "refusal" and self.finish is None:
            self.add(refusal=refusal_of(delta.stop_details))
        self.end(finish_of(delta.stop_reason, has_calls=self.tool_count > 0))

    def _finish(self, event: _Event) -> None:
        if self.finish is None and not self.has_content:
            raise Malformed("the upstream's stream ended without an answer", code=EMPTY)
        self.complete()

    def complete(self) -> None:
        """Tells what was held back, before the end."""
        self._close_calls()
        if self._fence is not None:
            self._text(encode(self._fence.close()))
        if self._preface is not None and not self._preface.is_answered:
            for raw in self._preface.held:
                self.say(raw)
        super().complete()

    def _ping(self, event: _Event) -> None:
        if self.has_content:
            self._out.append(_PING)

    def _error(self, event: _Event) -> None:
        raise UpstreamSaid(said_inside(self._target, self._head.headers, {"error": event.error}))


def _text(raw: Raw) -> str:
    found = raw_string(raw)
    return decode(found) if found else ""
