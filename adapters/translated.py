"""The life of a translated stream, the same for every protocol: what may come when, and how it ends.

Theory. A protocol's decoder says what happened (`say`, `think`, `open_tool`, `add_arguments`, `end`, `complete`), and
the rules of OpenAI's stream are kept here, once:

* the role goes out once, before the first content, and never alone: until there is content nothing is committed;
* a tool call has one index, given in the order in which calls begin, and its id goes out once;
* the finish reason goes out once, after all content, then the usage if the client asked, then `[DONE]`;
* an end of file before the protocol's own end is a failure, unless the upstream has said why it stopped;
* an error inside the stream is a failure: never a finish reason, never `[DONE]`.

Exceptions of a decoder become `failure`; what was complete before is still sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw

from adapters.chunks import DONE_FRAME, EMPTY_STRINGS, Chunks, TextChunks
from adapters.codec import JSON, encode
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.framing import FramingError, Splitter
from adapters.types import Call, Head, Operation, Target, Usage
from adapters.whole import WholeAnswer, WholeReader, is_plain_json

EventT = TypeVar("EventT")
BAD_EVENT = "upstream_invalid_event"
TRUNCATED = "upstream_truncated"
EMPTY = "upstream_empty_response"
_QUOTE = 0x22


class TranslatedStream(ABC, Generic[EventT]):
    """A decoder of one stream of a chat or a text completion; a protocol's own says what an event means.

    `whole` reads a body in one piece: servers that cannot stream, and proxies, answer with plain JSON although a
    stream was asked for.
    """

    def __init__(
        self,
        call: Call,
        target: Target,
        head: Head,
        splitter: Splitter[EventT],
        *,
        whole: WholeReader | None = None,
    ) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.finish: str | None = None
        self.has_content = False
        self.is_done = False
        self.failure: Failure | None = None
        self._call = call
        self._target = target
        self._head = head
        self._splitter = splitter
        self._plain = WholeAnswer(whole, call, target, head) if whole is not None and is_plain_json(head) else None
        self._out: list[bytes] = []
        self._chunks: Chunks | None = None
        self._tools = 0

    @abstractmethod
    def event(self, event: EventT) -> None:
        """Reads one event; raises Malformed or UpstreamSaid, and msgspec's errors for what is not as promised."""

    def feed(self, data: bytes) -> bytes:
        """Returns the frames that `data` completes, up to a failure."""
        if self.failure is not None or self.is_done:
            return b""
        if self._plain is not None:
            self.failure = self._plain.add(data)
            return b""
        try:
            self._read(self._splitter.feed(data))
        except FramingError as error:
            self._read(error.events)
            self._fail(Failure(FailureKind.MALFORMED, error.message, code=BAD_EVENT))
        return self._flush()

    def close(self) -> bytes:
        """Returns the last frames at the end of file; sets `failure` if the stream was cut."""
        if self.failure is not None or self.is_done:
            return b""
        if self._plain is not None:
            return self._tell_whole(self._plain)
        try:
            self._read(self._splitter.close())
        except FramingError as error:
            self._read(error.events)
        if self.failure is not None and self.failure.code == BAD_EVENT:
            self.failure = None  # half an event: the stream was cut inside it
        if self.failure is None and not self.is_done:
            self._end_of_file()
        return self._flush()

    # What a protocol's decoder says.

    def begin(self, model: str | None) -> None:
        """Notes the model that answers; the first one named counts."""
        if model and self.model is None and self._chunks is None:
            self.model = model

    def say(self, raw: bytes) -> None:
        """Sends a piece of text; `raw` is a JSON string."""
        if raw not in EMPTY_STRINGS:
            self._out.append(self._started().text(raw))

    def think(self, raw: bytes) -> None:
        """Sends a piece of reasoning; `raw` is a JSON string."""
        if raw not in EMPTY_STRINGS:
            self._out.append(self._started().reasoning(raw))

    def add(self, **members: JSON) -> None:
        """Sends any other delta: `reasoning_details`, `refusal`, `annotations`."""
        self._out.append(self._started().delta(members))

    def add_logprobs(self, found: JSON) -> None:
        """Sends the log probabilities of what was said, as OpenAI's `logprobs` object."""
        self._out.append(self._started().logprobs(found))

    def open_tool(self, id: str, name: str, extra: JSON = None, *, is_custom: bool = False) -> int:
        """Begins a tool call and returns its index."""
        index = self._tools
        self._tools += 1
        self._out.append(self._started(has_text=False).tool(index, id, name, extra, is_custom=is_custom))
        return index

    def add_arguments(self, index: int, raw: bytes, *, is_custom: bool = False) -> None:
        """Sends a piece of a call's arguments; `raw` is a JSON string."""
        if raw not in EMPTY_STRINGS:
            self._out.append(self._started().arguments(index, raw, is_custom=is_custom))

    def end(self, reason: str) -> None:
        """Notes why the answer ended; it is sent by `complete`, since more may still come."""
        self.finish = reason

    def complete(self) -> None:
        """Sends the finish reason, the usage if asked for, and the last frame."""
        chunks = self._started()
        self._out.append(chunks.finish(self.finish or ("tool_calls" if self._tools else "stop")))
        if self._call.wants_usage and self.usage is not None:
            self._out.append(chunks.usage(self.usage))
        self._out.append(DONE_FRAME)
        self.is_done = True

    @property
    def tool_count(self) -> int:
        """How many tool calls have begun."""
        return self._tools

    # The machine.

    def _started(self, *, has_text: bool = True) -> Chunks:
        chunks = self._chunks
        if chunks is None:
            self.model = self.model or self._target.model
            kind = TextChunks if self._call.operation is Operation.COMPLETIONS else Chunks
            chunks = self._chunks = kind(self._call, self.model)
            self._out.append(chunks.role(has_text=has_text))
            self.has_content = True
        return chunks

    def _read(self, events: Sequence[EventT]) -> None:
        for event in events:
            if self.failure is not None or self.is_done:
                return
            try:
                self.event(event)
            except UpstreamSaid as said:
                self._fail(said.failure)
            except Malformed as error:
                self._fail(Failure(FailureKind.MALFORMED, error.message, code=error.code))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self._fail(
                    Failure(FailureKind.MALFORMED, "an event of the upstream's stream cannot be read", code=BAD_EVENT)
                )

    def _fail(self, failure: Failure) -> None:
        if self.failure is None and not self.is_done:
            self.failure = failure

    def _end_of_file(self) -> None:
        if self.finish is not None:
            self.complete()
        elif self._chunks is None:
            self._fail(Failure(FailureKind.MALFORMED, "the upstream's stream ended without an answer", code=EMPTY))
        else:
            message = "the upstream's stream ended before its answer was finished"
            self._fail(Failure(FailureKind.MALFORMED, message, code=TRUNCATED))

    def _flush(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _tell_whole(self, plain: WholeAnswer) -> bytes:
        told = plain.tell()
        if isinstance(told, Failure):
            self.failure = told
            return b""
        reply, frames = told
        self.usage, self.model, self.finish = reply.usage, reply.model, reply.finish
        self.has_content = self.is_done = True
        return frames


def raw_string(raw: Raw) -> bytes:
    """Returns a member that must be a JSON string as it is; b"" if it is empty, absent or null. Raises Malformed."""
    found = bytes(raw)
    if found in EMPTY_STRINGS:
        return b""
    if found[0] == _QUOTE:
        return found
    raise Malformed("a text of the upstream's answer is no string", code=BAD_EVENT)


def json_string(text: str) -> bytes:
    """Returns `text` as the JSON string that the methods of a stream take."""
    return encode(text)
