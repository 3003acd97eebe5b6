"""OpenAI-compatible stream -> OpenAI stream: relayed byte for byte, watched event by event.

Each event is decoded far enough to know what it is (half a microsecond): that decides the commit, the finish, the
usage, and whether the event may reach the client at all. An event is written anew only if something in it must
change; otherwise the bytes that came in go out, and a packet in which nothing changed goes out as the same object.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from adapters.chunks import usage_object
from adapters.codec import JSON, as_list, as_object, decode, encode, is_null
from adapters.failures import Description, Failure, FailureKind, describe, from_description
from adapters.framing import FramingError
from adapters.framing.sse import DONE, DONE_FRAME, Splitter, frame, parse
from adapters.openai.choice import ChoiceState
from adapters.openai.event import Choice, Chunk, Constants, Delta, read_chunk, read_constants
from adapters.openai.ordinary import OrdinaryEvents
from adapters.openai.reply import is_refusal, read_reply
from adapters.openai.shapes import BROKEN_FINISH, STANDARD_FINISH
from adapters.openai.usage import read_usage
from adapters.types import MAX_EVENT_BYTES, Call, Head, Operation, Target, Usage
from adapters.whole import WholeAnswer, is_plain_json

Object = dict[str, Any]
_QUOTE: Final = 0x22
_EMPTY_STRINGS: Final = (b"", b'""', b"null", b"[]")
_REPEATED_ROLE: Final = re.compile(rb'"role"\s*:\s*"assistant"\s*,\s*|,\s*"role"\s*:\s*"assistant"')
_NULL_USAGE: Final = re.compile(rb',\s*"usage"\s*:\s*null')


class _Stop(Exception):
    """The stream cannot go on; carries why."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


class OpenAIStream:
    """Decoder of one OpenAI-compatible stream (adapters.types.StreamDecoder)."""

    def __init__(self, call: Call, target: Target, head: Head) -> None:
        self._call = call
        self._target = target
        self._head = head
        self._splitter = Splitter(MAX_EVENT_BYTES)
        self._choices: dict[int, ChoiceState] = {}
        self._sent_usage = False
        self._sample = b""
        self._is_json = is_plain_json(head)
        self._json = WholeAnswer(read_reply, call, target, head)
        self._ordinary = OrdinaryEvents()
        # What we asked for and the client did not is taken out; what an upstream sends unasked is the client's.
        self._strips_usage = not call.wants_usage and target.rules.stream_usage == "opt_in"
        self._recounts = target.rules.reasoning_excluded
        self._watches_text = target.rules.reasoning_out == "think_tags"
        self.usage: Usage | None = None
        self.model: str | None = None
        self.finish: str | None = None
        self.has_content = False
        self.is_done = False
        self.failure: Failure | None = None

    def feed(self, data: bytes) -> bytes:
        """Returns the frames that `data` completes; `data` itself where nothing had to change."""
        if self.failure or self.is_done:
            return b""
        if self._is_json:
            return self._feed_json(data)
        was_between = self._splitter.is_between_events
        if was_between and self._ordinary.is_all_of(data):
            self.has_content = True
            return data
        try:
            out, is_changed = self._relay(self._splitter.feed(data))
        except FramingError as error:
            out, is_changed = self._relay(list(error.events))
            if not self.is_done and self.failure is None:
                self.failure = _malformed("an event of the upstream is too long", _BAD)
        if not is_changed and was_between and self._splitter.is_between_events:
            return data
        return b"".join(out)

    def close(self) -> bytes:
        """Returns what the end of file completes; sets `failure` if the stream was cut."""
        if self.failure or self.is_done:
            return b""
        if self._is_json:
            return self._close_json()
        out: list[bytes] = []
        if block := self._splitter.close():
            out, _ = self._relay([block])
            if self.failure and self.failure.code == _BAD:
                self.failure = None  # half an event: the stream was cut inside it
        if self.failure or self.is_done:
            return b"".join(out)
        if not self._is_finished():
            self.failure = _malformed(
                "the upstream's stream ended before its answer was finished", "upstream_truncated"
            )
            return b"".join(out)
        self.is_done = True
        return b"".join([*out, self._missing_usage(), DONE_FRAME])

    def _relay(self, blocks: list[bytes]) -> tuple[list[bytes], bool]:
        """Returns the frames to send, and whether they differ from what came."""
        out: list[bytes] = []
        is_changed = False
        for block in blocks:
            if not block or block[0] == 10 or block[-1] == 10:  # stray empty lines between events
                block = block.strip(b"\n")
                is_changed = True
                if not block:
                    continue
            try:
                instead = self._event(block)
            except _Stop as stop:
                self.failure = stop.failure
                return out, True
            if instead is None:
                out.append(block)
                out.append(b"\n\n")
                continue
            is_changed = True
            out.append(instead)
            if self.is_done:
                break
        return out, is_changed

    def _event(self, block: bytes) -> bytes | None:
        """Returns None to relay the block as it is, else what is sent instead of it (b"" for nothing)."""
        if self._ordinary.knows(block):
            self.has_content = True
            return None
        event = parse(block)
        data = event.data
        if data is None:
            # A block without data other than a comment makes the OpenAI SDKs raise a JSON error.
            return None if event.is_comment else b""
        if data[:6] == DONE or data.strip() == DONE:
            return self._done()
        if not data.strip():
            return b""
        try:
            chunk = self._decoded(data, event.name)
            instead = self._chunk(chunk, data)
        except (msgspec.DecodeError, RecursionError) as error:
            # Found only where the whole event is decoded: numbers beyond a double, nesting beyond the stack.
            raise _Stop(_malformed("an event of the upstream's stream holds what cannot be read", _BAD)) from error
        if instead is None and event.name is not None:
            return frame(data) if b"\n" not in data else block
        if instead is None:
            self._learn(block, chunk)
        return instead

    def _learn(self, block: bytes, chunk: Chunk) -> None:
        """Remembers an event that brought text of one choice and nothing else."""
        if chunk.choices is None or len(chunk.choices) != 1 or not is_null(chunk.usage):
            return
        choice = chunk.choices[0]
        delta = choice.delta
        if delta is None or choice.finish_reason is not None or delta.tool_calls or not is_null(delta.role):
            return
        content = bytes(delta.content)
        others = (delta.reasoning_content, delta.refusal, delta.function_call, delta.audio, choice.text)
        if len(content) > 2 and content[0] == _QUOTE and all(bytes(other) in _EMPTY_STRINGS for other in others):
            self._ordinary.learn(block, content)

    def _decoded(self, data: bytes, name: str | None) -> Chunk:
        try:
            chunk = read_chunk(data)
            if not data.isascii():
                data.decode()
        except (msgspec.ValidationError, UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
            said = self._error_in(data)
            raise _Stop(said or _malformed("an event of the upstream's stream cannot be read", _BAD)) from error
        if name == "error" or chunk.object == "error" or not is_null(chunk.error):
            self._tap_usage(chunk)
            if not self._is_finished():
                raise _Stop(self._error_in(data) or _malformed("the upstream reported an error", _BAD))
            # The answer is whole. OpenRouter adds an error after `length`, with the usage; only that is of use.
            chunk = Chunk()
        if not is_null(chunk.x_groq) and b'"error"' in bytes(chunk.x_groq):
            raise _Stop(self._error_in(bytes(chunk.x_groq)) or _malformed("the upstream reported an error", _BAD))
        return chunk

    def _error_in(self, data: bytes) -> Failure | None:
        try:
            value: JSON = decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        members = as_object(value)
        if members.get("choices") and not members.get("error"):
            return None
        said = describe(value)
        if said == Description():
            return None
        head = self._head
        return from_description(said, head.status, head.headers, self._target.failure_rules)

    def _chunk(self, chunk: Chunk, data: bytes) -> bytes | None:
        if not self.model:
            self.model = chunk.model
        if chunk.choices is None and is_null(chunk.usage):
            if is_refusal(as_object(decode(data))) and not self._is_finished():
                raise _Stop(self._error_in(data) or _malformed("the upstream reported an error", _BAD))
            return b""  # vendor chatter that would crash clients that index `choices`
        self._tap_usage(chunk)
        if not chunk.choices:
            return self._bare(chunk, data)
        if not self._sample:
            self._sample = data
        needs_repair = self._recounts and not is_null(chunk.usage)
        for choice in chunk.choices:
            needs_repair = self._watch(choice) or needs_repair
        if needs_repair or chunk.object == "chat.completion.done":
            return self._repaired(data)
        cut = self._without_roles(chunk.choices, data)
        if cut is None:
            return self._repaired(data)
        stripped = self._strip_usage(chunk, cut)
        return frame(cut) if stripped is None and cut is not data else stripped

    def _without_roles(self, choices: list[Choice], data: bytes) -> bytes | None:
        """Returns the event without the roles that were said before, `data` if there are none; None if they hide.

        They are cut out of the text, which costs a tenth of writing it anew: inside a string the quotes would be
        escaped.
        """
        repeating = [state for choice in choices if (state := self._choices[choice.index]).repeats_role]
        if not repeating:
            return data
        cut, count = _REPEATED_ROLE.subn(b"", data)
        if count != len(repeating):
            return None
        for state in repeating:
            state.repeats_role = False
        return cut

    def _strip_usage(self, chunk: Chunk, data: bytes) -> bytes | None:
        """Returns the event without the usage that the client did not ask for, None if there is none to take out."""
        if self._strips_usage and b'"usage"' in data:
            return frame(_NULL_USAGE.sub(b"", data)) if is_null(chunk.usage) else self._repaired(data)
        return None

    def _bare(self, chunk: Chunk, data: bytes) -> bytes | None:
        """A chunk without choices: usage, or a content filter's preamble (Azure), which indexing clients trip on."""
        if is_null(chunk.usage):
            return None if self.has_content else b""
        if not self._call.wants_usage or chunk.choices is None or not self._is_finished():
            return b""  # without `choices` it would crash clients, and usage comes last: it is told at the end
        self._sent_usage = True
        return self._repaired(data) if self._recounts else None

    def _tap_usage(self, chunk: Chunk) -> None:
        raw = chunk.usage
        if is_null(raw) and not is_null(chunk.x_groq):
            self._set_usage(encode(as_object(decode(chunk.x_groq)).get("usage")))
        elif is_null(raw) and chunk.choices:
            raw = chunk.choices[0].usage
        if not is_null(raw):
            self._set_usage(raw)

    def _set_usage(self, value: Raw | bytes) -> None:
        usage = read_usage(value, self._target.rules)
        if usage is not None:
            self.usage = usage

    def _state(self, index: int) -> ChoiceState:
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = ChoiceState(index, self._call, self._target.rules)
        return state

    def _watch(self, choice: Choice) -> bool:
        """Notes what the choice brings and returns whether it must be written anew."""
        state = self._state(choice.index)
        state.begun_now.clear()
        repair = bytes(choice.message) not in _EMPTY_STRINGS
        delta = choice.delta
        if delta is not None:
            repair = self._watch_delta(delta, state) or repair
        elif bytes(choice.text) not in _EMPTY_STRINGS:
            self.has_content = True
        word = choice.finish_reason
        if word is not None:
            if word in BROKEN_FINISH:
                raise _Stop(Failure(FailureKind.SERVER, f"the upstream ended its answer with {word!r}", code=word))
            repair = repair or word not in STANDARD_FINISH or state.lacks_arguments
            repair = repair or self._watches_text or state.wants_function_call
            if word or state.tool_calls:
                state.is_finished = True
                self.has_content = True
                self.finish = word or "tool_calls"
        return repair

    def _watch_delta(self, delta: Delta, state: ChoiceState) -> bool:
        content = bytes(delta.content)
        repair = state.watch_role(not is_null(delta.role)) or content[:1] == b"["
        if content not in _EMPTY_STRINGS:
            self.has_content = True
            repair = repair or self._watches_text
        if bytes(delta.reasoning_content) not in _EMPTY_STRINGS:
            self.has_content = True
        for lifted in (delta.reasoning, delta.reasoning_details, delta.annotations):
            if lifted and bytes(lifted) not in (b"", b"null"):
                repair = True
                self.has_content = self.has_content or bytes(lifted) not in _EMPTY_STRINGS
        if delta.tool_calls:
            self.has_content = True
            for call in delta.tool_calls:
                repair = state.watch_call(call.index, call.id, call.type, bytes(call.function)) or repair
        for other in (delta.refusal, delta.function_call, delta.audio):
            if bytes(other) not in _EMPTY_STRINGS:
                self.has_content = True
        return repair

    def _repaired(self, data: bytes) -> bytes:
        chunk = as_object(decode(data))
        before: list[bytes] = []
        for choice in map(as_object, as_list(chunk.get("choices"))):
            state = self._state(choice.get("index", 0))
            extra = state.repair(choice)
            if extra is not None:
                before.append(frame(encode({**chunk, "choices": [extra]})))
            if choice.get("finish_reason") is not None:
                state.is_finished = self.has_content = True
                self.finish = choice["finish_reason"]
        if chunk.get("object") == "chat.completion.done":  # Perplexity's last chunk
            chunk["object"] = "chat.completion.chunk"
        if self._strips_usage:
            chunk.pop("usage", None)
        elif self._recounts and self.usage is not None and chunk.get("usage"):
            chunk["usage"]["completion_tokens"] = self.usage.completion
        return b"".join([*before, frame(encode(chunk))])

    def _is_finished(self) -> bool:
        return bool(self._choices) and all(state.is_finished for state in self._choices.values())

    def _done(self) -> bytes:
        if not self._choices:
            raise _Stop(_malformed("the upstream's stream ended without an answer", "upstream_empty_response"))
        if not self._is_finished() and self.usage is None:
            # A last word without a finish reason is how some gateways close a broken stream. Only an upstream
            # that has counted the whole answer (OpenRouter, Snowflake) is believed.
            raise _Stop(_malformed("the upstream's stream ended without a finish reason", "upstream_truncated"))
        self.is_done = True
        return self._missing_finishes() + self._missing_usage() + DONE_FRAME

    def _missing_finishes(self) -> bytes:
        """The ends of choices that got none although the answer is whole: SDKs demand one for each."""
        nothing: Object = {"delta": {}} if self._call.operation is Operation.CHAT else {"text": ""}
        ends = [
            {"index": state.index, **nothing, "finish_reason": "tool_calls" if state.tool_calls else "stop"}
            for state in self._choices.values()
            if not state.is_finished
        ]
        if not ends:
            return b""
        for state in self._choices.values():
            state.begun_now.clear()
        return self._repaired(encode({**self._constant(), "choices": ends}))

    def _constant(self) -> Object:
        """What is the same in every chunk of this stream."""
        found = read_constants(self._sample)
        members = {name: getattr(found, name) for name in Constants.__struct_fields__}
        return {name: value for name, value in members.items() if bytes(value)}

    def _missing_usage(self) -> bytes:
        """The usage frame for a client that asked, from an upstream that counts in other places."""
        usage = self.usage
        if not self._call.wants_usage or self._sent_usage or usage is None:
            return b""
        counts = {**usage_object(usage), "completion_tokens_details": {"reasoning_tokens": usage.reasoning}}
        return frame(encode({**self._constant(), "choices": [], "usage": counts}))

    def _feed_json(self, data: bytes) -> bytes:
        self.failure = self._json.add(data)
        return b""

    def _close_json(self) -> bytes:
        """A whole JSON answer although a stream was asked for: checked, then told as a stream."""
        told = self._json.tell()
        if isinstance(told, Failure):
            self.failure = told
            return b""
        reply, frames = told
        self.usage, self.model, self.finish = reply.usage, reply.model, reply.finish
        self.has_content = self.is_done = True
        return frames


_BAD = "upstream_invalid_event"


def _malformed(message: str, code: str) -> Failure:
    return Failure(FailureKind.MALFORMED, message, code=code)
