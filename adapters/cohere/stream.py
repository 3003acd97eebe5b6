"""Cohere's chat stream -> OpenAI's (docs.cohere.com/v2/docs/streaming, read 2026-08-20).

Each event's data names its type, so that the `event:` lines, which older servers leave out, are not needed. The stream
ends with message-end; `[DONE]` may follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.codec import as_object, decode
from adapters.cohere.citations import annotations_of, is_of_text
from adapters.cohere.failures import broken_finish, said_failure
from adapters.cohere.logprobs import read_logprobs
from adapters.cohere.names import given_names
from adapters.cohere.reply import BROKEN, call_id, finish_reason, read_chat
from adapters.cohere.usage import read_usage
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import describe
from adapters.framing.sse import DONE, DataSplitter
from adapters.translated import TranslatedStream, raw_string
from adapters.types import MAX_EVENT_BYTES, Call, Head, Target

_ABSENT = Raw()
_EMPTY_OBJECT: Final = b'"{}"'
_NULL: Final = b'"null"'


class _Content(Struct, gc=False):
    type: str | None = None
    text: Raw = _ABSENT
    thinking: Raw = _ABSENT


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: Raw = _ABSENT


class _ToolCall(Struct, gc=False):
    id: str | None = None
    function: _Function | None = None


class _Message(Struct, gc=False):
    content: _Content | list[Any] | str | None = None
    tool_plan: Raw = _ABSENT
    tool_calls: _ToolCall | list[_ToolCall] | None = None
    citations: Raw = _ABSENT


class _Delta(Struct, gc=False):
    message: _Message | None = None
    finish_reason: str | None = None
    error: Raw = _ABSENT
    error_type: str | None = None
    usage: Raw = _ABSENT


class _Event(Struct, gc=False):
    type: str = ""
    index: int | None = None
    delta: _Delta | None = None
    logprobs: Raw = _ABSENT


_event = msgspec.json.Decoder(_Event)
_NOTHING: Final = _Message()


class _OpenCall:
    """A tool call whose arguments are still coming."""

    __slots__ = ("has_arguments", "held", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.has_arguments = False
        self.held = b""
        """A first piece `null`, which alone means that there are no arguments."""


class CohereStream(TranslatedStream[bytes]):
    """Decodes one chat stream."""

    def __init__(self, call: Call, target: Target, head: Head) -> None:
        super().__init__(call, target, head, DataSplitter(MAX_EVENT_BYTES), whole=read_chat)
        self._calls: dict[int, _OpenCall] = {}
        self._names: Mapping[str, str] | None = None
        self._text_block: int | None = None
        """Index of the first block of text: the only one whose place in the answer is known."""
        self._citations = self._annotations = 0

    def event(self, event: bytes) -> None:
        """Reads the data of one event."""
        if event == DONE:
            return
        if not event.isascii():
            event.decode()
        read = _event.decode(event)
        kind, delta = read.type, read.delta
        said = (delta.message if delta is not None else None) or _NOTHING
        if kind in ("content-delta", "content-start"):
            self._content(read, said.content)
        elif kind == "tool-plan-delta":
            self.think(raw_string(said.tool_plan))
        elif kind.startswith("tool-call-"):
            self._tool(kind, read.index, said.tool_calls)
        elif kind == "citation-start":
            self._citation(said.citations)
        elif kind == "message-end":
            self._end(delta or _Delta())
        elif kind in ("", "error"):
            self._error(event)

    def _content(self, event: _Event, content: object) -> None:
        if not isinstance(content, _Content):
            return
        if content.text:
            if self._text_block is None:
                self._text_block = event.index or 0
            self.say(raw_string(content.text))
            if event.logprobs and (found := read_logprobs([decode(event.logprobs)])) is not None:
                self.add_logprobs(found)
        if content.thinking:
            self.think(raw_string(content.thinking))

    def _tool(self, kind: str, index: int | None, calls: _ToolCall | list[_ToolCall] | None) -> None:
        if kind == "tool-call-start":
            self._begin_tool(index, calls)
        elif kind == "tool-call-delta":
            self._arguments(self._open(index), calls)
        elif kind == "tool-call-end":
            self._end_tool(self._open(index))

    def _begin_tool(self, index: int | None, calls: _ToolCall | list[_ToolCall] | None) -> None:
        for call in calls if isinstance(calls, list) else [calls or _ToolCall()]:
            name = call.function.name if call.function else None
            if not name:
                raise Malformed("a tool call of the upstream's stream has no name")
            if self._names is None:
                self._names = given_names(self._call)
            number = self.tool_count
            place = number if index is None else index
            if place in self._calls:  # the same index again: the call before it is over
                self._end_tool(self._calls.pop(place))
            opened = _OpenCall(self.open_tool(call.id or call_id(self._call, number), self._names.get(name, name)))
            self._calls[place] = opened
            self._arguments(opened, call)

    def _open(self, index: int | None) -> _OpenCall:
        found = next(reversed(self._calls.values()), None) if index is None else self._calls.get(index)
        if found is None:
            raise Malformed("the upstream's stream goes on with a tool call that has not begun")
        return found

    def _arguments(self, opened: _OpenCall, calls: _ToolCall | list[_ToolCall] | None) -> None:
        for call in calls if isinstance(calls, list) else [calls or _ToolCall()]:
            raw = raw_string(call.function.arguments) if call.function else b""
            if not raw:
                continue
            if raw == _NULL and not opened.has_arguments and not opened.held:
                opened.held = raw
                continue
            if opened.held:
                self.add_arguments(opened.index, opened.held)
                opened.held = b""
            opened.has_arguments = True
            self.add_arguments(opened.index, raw)

    def _end_tool(self, opened: _OpenCall) -> None:
        if not opened.has_arguments:
            opened.has_arguments = True
            opened.held = b""
            self.add_arguments(opened.index, _EMPTY_OBJECT)

    def _citation(self, citations: Raw) -> None:
        citation = as_object(decode(citations)) if citations else {}
        if not citation or not is_of_text(citation):
            return
        is_placed = citation.get("content_index") in (None, self._text_block)
        found = annotations_of(citation) if is_placed else []
        # Without an index, the OpenAI SDK's accumulator raises at the second one.
        annotations = [{"index": index, **each} for index, each in enumerate(found, self._annotations)]
        self.add(
            citations=[{"index": self._citations, **citation}],
            **({"annotations": annotations} if annotations else {}),
        )
        self._citations += 1
        self._annotations += len(annotations)

    def _end(self, delta: _Delta) -> None:
        if delta.usage:
            self.usage = read_usage(decode(delta.usage))
        word = delta.finish_reason or ""
        error = decode(delta.error) if delta.error else None
        if error or word in BROKEN:
            text = error if isinstance(error, str) else describe(error).message
            code = delta.error_type or ""
            raise UpstreamSaid(broken_finish(self._target, self._head, word, text, code))
        for opened in self._calls.values():
            self._end_tool(opened)
        self.end(finish_reason(word, self.tool_count > 0))
        self.complete()

    def _error(self, event: bytes) -> None:
        """An error that took the place of an event, often without a type; anything else without one means nothing."""
        members = as_object(decode(event))
        if isinstance(members.get("message"), str) or members.get("error"):
            raise UpstreamSaid(said_failure(self._target, self._head, describe(members)))
