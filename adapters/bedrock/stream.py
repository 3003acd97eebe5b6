"""ConverseStream -> OpenAI's stream.

Blocks are numbered, text, reasoning and calls alike; text may begin without a start of its block. The reason comes
before the counts, and the counts are the last message. (docs.aws.amazon.com/bedrock, ConverseStream, 2026-11-21.)
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.bedrock.failures import classify_message
from adapters.bedrock.reply import (
    SERVER_TOOL,
    Tools,
    answers_by_tool,
    custom_input,
    encrypted,
    finish_reason,
    read_reply,
    read_usage,
    signature_format,
    signed,
)
from adapters.codec import JSON, as_object, decode
from adapters.errors import Malformed, UpstreamSaid
from adapters.framing.eventstream import Message, MessageSplitter
from adapters.translated import BAD_EVENT, TranslatedStream, json_string, raw_string
from adapters.types import MAX_EVENT_BYTES, Call, Head, Target

Object = dict[str, Any]
_ABSENT: Final = Raw()
_EMPTY_OBJECT: Final = b'"{}"'


class _Arguments(Struct):
    input: Raw = _ABSENT


class _Thought(Struct):
    text: Raw = _ABSENT
    signature: str | None = None
    redactedContent: str | None = None


class _Delta(Struct):
    text: Raw = _ABSENT
    toolUse: _Arguments | None = None
    reasoningContent: _Thought | None = None


class _BlockDelta(Struct):
    delta: _Delta
    contentBlockIndex: int = 0


class _ToolStart(Struct):
    toolUseId: str
    name: str
    type: str | None = None


class _Start(Struct):
    toolUse: _ToolStart | None = None


class _BlockStart(Struct):
    start: _Start
    contentBlockIndex: int = 0


class _BlockStop(Struct):
    contentBlockIndex: int = 0


class _MessageStop(Struct):
    stopReason: str


_delta: Final = msgspec.json.Decoder(_BlockDelta).decode
_start: Final = msgspec.json.Decoder(_BlockStart).decode
_block_stop: Final = msgspec.json.Decoder(_BlockStop).decode
_message_stop: Final = msgspec.json.Decoder(_MessageStop).decode


class _Tool:
    """A call that is being made."""

    __slots__ = ("has_arguments", "held", "held_bytes", "index")

    def __init__(self, index: int | None, *, is_custom: bool) -> None:
        self.index = index
        """OpenAI's number; None for the call that is the answer itself."""
        self.has_arguments = False
        self.held: list[Raw] | None = [] if is_custom else None
        """Pieces of a custom tool's arguments: its text can be taken out only when they are whole."""
        self.held_bytes = 0


class _Reasoning:
    """A block of reasoning: what must come back with its signature."""

    __slots__ = ("pieces", "signature", "size")

    def __init__(self) -> None:
        self.pieces: list[Raw] = []
        self.signature = ""
        self.size = 0


class BedrockStream(TranslatedStream[Message]):
    """Decoder of one ConverseStream answer."""

    def __init__(self, call: Call, target: Target, head: Head) -> None:
        super().__init__(call, target, head, MessageSplitter(MAX_EVENT_BYTES), whole=read_reply)
        self._known: Tools | None = None
        self._open: dict[int, _Tool | None] = {}
        """Number of a block -> its call; None for one that Bedrock carries out itself."""
        self._reasoning: dict[int, _Reasoning] = {}
        self._details = 0
        self._held: list[bytes] | None = [] if answers_by_tool(call, target) else None
        """Words before the call that is the answer itself: told only if that call never comes."""
        self._held_bytes = 0
        self._is_answered = False

    def event(self, event: Message) -> None:
        """Reads one message."""
        heading = event.heading
        if heading.kind != "event":
            raise UpstreamSaid(classify_message(self._target, self._head, event))
        payload = event.payload
        if not payload.isascii():
            payload.decode()
        name = heading.name
        if name == "contentBlockDelta":
            self._on_delta(_delta(payload))
        elif name == "contentBlockStart":
            self._on_start(_start(payload))
        elif name == "contentBlockStop":
            self._close_block(_block_stop(payload).contentBlockIndex)
        elif name == "messageStop":
            self._on_stop(_message_stop(payload).stopReason)
        elif name == "metadata":
            self._on_metadata(decode(payload))

    def _on_delta(self, event: _BlockDelta) -> None:
        delta = event.delta
        if delta.toolUse is not None:
            self._on_arguments(event.contentBlockIndex, delta.toolUse.input)
        elif delta.reasoningContent is not None:
            self._on_thought(event.contentBlockIndex, delta.reasoningContent)
        else:
            self._text(raw_string(delta.text))

    def _text(self, raw: bytes) -> None:
        if self._held is None:
            self.say(raw)
        elif not self._is_answered:
            self._held_bytes = _grown(self._held_bytes, raw)
            self._held.append(raw)

    def _release(self) -> None:
        """Tells what was held back, since no call will be the answer."""
        held, self._held = self._held or [], None
        for raw in held:
            self.say(raw)

    def _on_start(self, event: _BlockStart) -> None:
        started = event.start.toolUse
        if started is None:
            return
        if self._known is None:
            self._known = Tools(self._call)
        known = self._known
        if started.type == SERVER_TOOL:
            self._open[event.contentBlockIndex] = None
        elif known.is_answer(started.name):
            # Of several such calls, the first is the answer.
            self._open[event.contentBlockIndex] = None if self._is_answered else _Tool(None, is_custom=False)
            self._is_answered = True
        else:
            is_custom = known.is_custom(started.name)
            index = self.open_tool(started.toolUseId, known.name(started.name), is_custom=is_custom)
            self._open[event.contentBlockIndex] = _Tool(index, is_custom=is_custom)

    def _on_arguments(self, block: int, piece: Raw) -> None:
        raw = raw_string(piece)
        if block not in self._open:
            raise Malformed("the upstream's stream has arguments of a call that never began", code=BAD_EVENT)
        tool = self._open[block]
        if tool is None or len(raw) <= 2:
            return
        tool.has_arguments = True
        if tool.index is None:
            self.say(raw)
        elif tool.held is None:
            self.add_arguments(tool.index, raw)
        else:
            tool.held.append(Raw(raw))
            tool.held_bytes = _grown(tool.held_bytes, raw)

    def _on_thought(self, block: int, thought: _Thought) -> None:
        if not self._is_answered:
            self._release()  # a model that thinks is not made to call a tool
        if thought.redactedContent:
            self.add(reasoning_details=[encrypted(thought.redactedContent, self._details)])
            self._details += 1
            return
        reasoning = self._reasoning.get(block)
        if reasoning is None:
            reasoning = self._reasoning[block] = _Reasoning()
        if thought.signature:
            reasoning.signature += thought.signature
            reasoning.size = _grown(reasoning.size, thought.signature)
        raw = raw_string(thought.text)
        if raw:
            reasoning.pieces.append(Raw(raw))
            reasoning.size = _grown(reasoning.size, raw)
            self.think(raw)

    def _close_block(self, block: int) -> None:
        reasoning = self._reasoning.pop(block, None)
        if reasoning is not None and reasoning.signature:
            text = "".join(decode(piece) for piece in reasoning.pieces)
            made = signed(text, reasoning.signature, signature_format(self._target), self._details)
            self.add(reasoning_details=[made])
            self._details += 1
        tool = self._open.pop(block, None)
        if tool is None or tool.index is None:
            return
        if tool.held is not None:
            self.add_arguments(tool.index, json_string(_custom_text(tool.held)), is_custom=True)
        elif not tool.has_arguments:
            self.add_arguments(tool.index, _EMPTY_OBJECT)

    def _on_stop(self, reason: str) -> None:
        for block in (*self._reasoning, *self._open):
            self._close_block(block)
        self.end(finish_reason(reason, has_tools=bool(self.tool_count)))

    def _on_metadata(self, value: JSON) -> None:
        self.usage = read_usage(as_object(value).get("usage"))
        if self.finish is not None:
            self.complete()

    def complete(self) -> None:
        """Tells what was held back, before the end."""
        if not self._is_answered:
            self._release()
        super().complete()


def _custom_text(pieces: list[Raw]) -> str:
    written = "".join(decode(piece) for piece in pieces)
    try:
        return custom_input(decode(written)) if written else ""
    except msgspec.DecodeError:
        return written


def _grown(size: int, piece: bytes | str) -> int:
    size += len(piece)
    if size > MAX_EVENT_BYTES:
        raise Malformed("a block of the upstream's answer is too long", code=BAD_EVENT)
    return size
