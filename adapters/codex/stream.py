"""The stream of the Responses API: each event's data names its type, and the last one holds the whole response.

(The SDK openai-python, types/responses/response_stream_event.py, read 2026-11.)
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from adapters.codec import as_object, as_text, decode, encode, is_null
from adapters.codex.reply import Object, call_of, finish_of, raise_for_error, read_chat, usage_of
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import describe, from_description
from adapters.framing.sse import DONE, DataSplitter
from adapters.translated import TranslatedStream, raw_string
from adapters.types import MAX_EVENT_BYTES, Call, Head, Target

_ABSENT: Final = Raw()
_THOUGHTS: Final = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed", "response.done")
_NEXT_PART: Final = b'"\\n\\n"'


class _Event(Struct, gc=False):
    type: str = ""
    delta: Raw = _ABSENT
    output_index: int | None = None
    summary_index: int | None = None
    item: Raw = _ABSENT
    response: Raw = _ABSENT


_read: Final = msgspec.json.Decoder(_Event).decode


class CodexStream(TranslatedStream[bytes]):
    """Decodes one stream of a chat."""

    def __init__(self, call: Call, target: Target, head: Head) -> None:
        super().__init__(call, target, head, DataSplitter(MAX_EVENT_BYTES), whole=read_chat)
        self._calls: dict[int, tuple[int, bool]] = {}
        """Index of an item -> that of its call, and whether arguments have come."""
        self._thought = 0

    def event(self, event: bytes) -> None:
        """Reads one event; raises Malformed or UpstreamSaid."""
        if event == DONE:
            return
        if not event.isascii():
            event.decode()  # msgspec leaves undecoded members unchecked
        read = _read(event)
        kind = read.type
        if kind.endswith(".delta"):
            self._delta(read)
        elif kind.startswith("response.output_item."):
            self._item(read)
        elif kind == "response.created":
            self.begin(as_text(_object(read.response).get("model")))
        elif kind in _ENDS:
            self._end(_object(read.response))
        elif kind in ("", "error"):
            said = describe(decode(event))
            raise UpstreamSaid(
                from_description(said, self._head.status, self._head.headers, self._target.failure_rules)
            )

    def _delta(self, read: _Event) -> None:
        kind = read.type
        if kind == "response.output_text.delta":
            self.say(raw_string(read.delta))
        elif kind == "response.function_call_arguments.delta":
            self._arguments(read)
        elif kind in _THOUGHTS:
            self._think(read)
        elif kind == "response.refusal.delta":
            self.add(refusal=decode(raw_string(read.delta) or b'""'))

    def _think(self, read: _Event) -> None:
        if (read.summary_index or 0) > self._thought:
            self._thought = read.summary_index or 0
            self.think(_NEXT_PART)
        self.think(raw_string(read.delta))

    def _item(self, read: _Event) -> None:
        item = _object(read.item)
        if item.get("type") != "function_call":
            return
        place = read.output_index if read.output_index is not None else -1 - len(self._calls)
        id, name, arguments = call_of(item)
        if place not in self._calls:
            self._calls[place] = self.open_tool(id, name), False
        index, has_arguments = self._calls[place]
        if read.type.endswith(".done") and not has_arguments:
            self._calls[place] = index, True
            self.add_arguments(index, encode(arguments or "{}"))

    def _arguments(self, read: _Event) -> None:
        found = self._calls.get(read.output_index if read.output_index is not None else -1)
        if found is None:
            raise Malformed("arguments of the upstream's stream belong to no call")
        if delta := raw_string(read.delta):
            self._calls[read.output_index if read.output_index is not None else -1] = found[0], True
            self.add_arguments(found[0], delta)

    def _end(self, response: Object) -> None:
        self.usage = usage_of(response) or self.usage
        raise_for_error(self._target, self._head, response)
        if not self.has_content and finish_of(response) is None:
            raise Malformed("the upstream's stream ended without an answer", code="upstream_empty_response")
        self.end(finish_of(response) or ("tool_calls" if self.tool_count else "stop"))
        self.complete()


def _object(raw: Raw) -> Object:
    return {} if is_null(raw) else as_object(decode(raw))
