"""OpenAI's messages, read once into turns that every protocol of its own can be built from.

Theory. The same conversation can be written in many ways: content as a string or as parts, tools as `tool_calls` or
as the older `function_call`, reasoning under four names. Each translator would have to know all of them, and would
forget some, so they are read here, and `Turn` has one place for each thing. Nothing is lost: what a protocol cannot
take it finds in a field and reports.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from adapters.codec import JSON, as_list, as_object, as_text, decode
from adapters.contents import Media, Part, Text, read_parts
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.plain import PlainCall, PlainMessage, decode_plain
from adapters.types import Call

Object = dict[str, Any]
Role = Literal["system", "user", "assistant", "tool"]
_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_decode_object: Final = msgspec.json.Decoder(Object).decode


class ToolCall(Struct, frozen=True):
    """A call that the model made in an earlier turn."""

    id: str
    name: str
    arguments: str
    """JSON text as the model wrote it, or free text for a custom tool."""
    is_custom: bool = False
    extra: JSON = None
    """`extra_content`, where vendors keep what must come back unchanged."""

    def input(self) -> Object:
        """Returns the arguments as an object, whatever the model wrote; never raises."""
        try:
            return {"input": self.arguments} if self.is_custom else _decode_object(self.arguments)
        except (msgspec.DecodeError, RecursionError):
            return self._odd_input()

    def _odd_input(self) -> Object:
        if not self.arguments.strip():
            return {}
        try:
            return {"value": decode(self.arguments)}
        except (msgspec.DecodeError, RecursionError):
            return {"_raw_arguments": self.arguments}


class Thinking(Struct, frozen=True):
    """Reasoning of an earlier turn: readable text, a signature over it, or data that only its vendor can read."""

    text: str = ""
    signature: str = ""
    data: str = ""
    format: str = ""
    """Who made it, in OpenRouter's words: `anthropic-claude-v1`, `google-gemini-v1`; empty if nobody said."""
    member: str = "reasoning_content"
    """The member of the message that it was read from, for reports."""


class Turn(Struct, frozen=True):
    """One message."""

    role: Role
    index: int
    """Its place in `messages`."""
    words: str | None = None
    """The text of a turn that has nothing beside it but calls or the id of one, as most have; None for any other."""
    calls: tuple[ToolCall, ...] = ()
    rich: tuple[Part, ...] = ()
    """What was said, where `words` is None."""
    thinking: tuple[Thinking, ...] = ()
    call_id: str = ""
    """Of a tool turn: the call that it answers."""
    tool_name: str = ""
    """Of a tool turn: the function's name, as far as it is known."""
    is_error: bool = False
    """Of a tool turn: there is no real result."""
    name: str = ""
    cache: JSON = None
    """`cache_control` on the message itself."""
    is_prefix: bool = False
    """An assistant turn that the model shall go on with (Mistral's and DeepSeek's `prefix`)."""
    extra: JSON = None
    """`extra_content` of the message itself: what its vendor wants back unchanged."""
    audio_id: str = ""
    """OpenAI's `audio.id`: an answer that was spoken, and that only its vendor still has."""

    @property
    def where(self) -> str:
        """`messages[3]`, for errors."""
        return f"messages[{self.index}]"

    @property
    def parts(self) -> tuple[Part, ...]:
        """What was said: text and media."""
        if self.words is None:
            return self.rich
        return (Text(self.words),) if self.words else ()

    @property
    def text(self) -> str:
        """The text parts, joined without a separator."""
        if self.words is not None:
            return self.words
        return "".join([part.text for part in self.rich if isinstance(part, Text)])

    @property
    def media(self) -> tuple[Media, ...]:
        """The parts that are no text."""
        return () if self.words is not None else tuple([part for part in self.rich if isinstance(part, Media)])


def read_turns(call: Call, report: Report | None = None) -> list[Turn]:
    """Returns the messages of a chat; raises Unsupported naming the part that cannot be read.

    Members of a message that no protocol knows are told to `report`: no turn has a place for them.
    """
    member = call.fields.get("messages")
    if member is None:
        return []
    try:
        messages = decode_plain(member)
    except (msgspec.MsgspecError, RecursionError):
        reader = _Reader(report)
        return [reader.turn(as_object(message), index) for index, message in enumerate(as_list(decode(member)))]
    return _plain_turns(messages)


def _plain_turns(messages: Sequence[PlainMessage]) -> list[Turn]:
    """Returns what `_Reader` would, of messages that have nothing rare."""
    turns: list[Turn] = []
    names: dict[str, str] = {}
    for index, message in enumerate(messages):
        role, words = _ROLES[message.role], message.content
        if isinstance(words, str) and role != "tool" and not message.tool_calls and not message.name:
            turns.append(Turn(role, index, words))
            continue
        calls: tuple[ToolCall, ...] = ()
        if role == "assistant" and message.tool_calls:
            calls = _plain_calls(message.tool_calls, index, names)
        rich: tuple[Part, ...] = ()
        if isinstance(words, list):
            rich = tuple([Text(part.text) for part in words])
            words = rich[0].text or None if len(rich) == 1 else None
        elif words is None:
            words = ""
        if role == "tool":
            id = message.tool_call_id or ""
            turns.append(Turn(role, index, words, (), rich, (), id, names.get(id, message.name or "")))
        elif message.name:
            rich = rich or ((Text(words),) if words else ())
            turns.append(Turn(role, index, None, calls, rich, name=message.name))
        else:
            turns.append(Turn(role, index, words, calls, rich))
    return turns


def _plain_calls(calls: Sequence[PlainCall], index: int, names: dict[str, str]) -> tuple[ToolCall, ...]:
    """Returns the calls of one message, and notes in `names` what they call."""
    made: list[ToolCall] = []
    for call in calls:
        id, name = call.id, call.function.name
        if not name:
            raise _nameless(f"messages[{index}].tool_calls[{len(made)}].function")
        names[id] = name
        made.append(ToolCall(id, name, call.function.arguments))
    return tuple(made)


_SIMPLE: Final = frozenset({"role", "content", "tool_calls", "tool_call_id"})
"""What most messages are made of."""
_MEMBERS: Final = (
    _SIMPLE
    | {"name", "refusal", "audio", "function_call", "cache_control", "annotations", "citations"}
    | {"prefix", "extra_content", "provider_specific_fields", "is_error"}
    | {"reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"}
)
"""What a turn is made of. `annotations` and `citations` are words about an answer that the client sends back."""


class _Reader:
    """Remembers the calls made so far: old `function` turns name a function, tool turns only an id."""

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._names: dict[str, str] = {}
        self._open: defaultdict[str, deque[str]] = defaultdict(deque)
        """Function name -> ids of old function calls that have no result yet."""

    def turn(self, message: Object, index: int) -> Turn:
        said = message.get("role")
        role = _ROLES.get(said) if isinstance(said, str) else None
        content = message.get("content")
        if role is not None and (content is None or isinstance(content, str)) and message.keys() <= _SIMPLE:
            return self._simple(role, content or "", message, index)
        if self._report is not None and not message.keys() <= _MEMBERS:
            others = (name for name, value in message.items() if name not in _MEMBERS and value is not None)
            self._report.drop(*(f"messages.{name}" for name in others))
        where = f"messages[{index}]"
        if role is None:
            raise Unsupported(f"{where}.role", f"{where}.role {said!r} is not known")
        parts = read_parts(content, f"{where}.content")
        if role == "tool":
            return self._result(message, index, parts)
        refusal = message.get("refusal")
        if role == "assistant" and isinstance(refusal, str) and refusal and not parts:
            parts = (Text(refusal),)
        return Turn(
            role=role,
            index=index,
            rich=parts,
            calls=self._calls(message, index) if role == "assistant" else (),
            thinking=_thinking(message) if role == "assistant" else (),
            name=as_text(message.get("name")),
            cache=message.get("cache_control"),
            is_prefix=role == "assistant" and message.get("prefix") is True,
            extra=_extra(message),
            audio_id=as_text(as_object(message.get("audio")).get("id")) if role == "assistant" else "",
        )

    def _simple(self, role: Role, words: str, message: Object, index: int) -> Turn:
        """Reads a message that has one text, or none, and nothing that is rare."""
        if role == "tool":
            id = as_text(message.get("tool_call_id"))
            return Turn(role, index, words, call_id=id, tool_name=self._names.get(id, ""))
        if role != "assistant" or "tool_calls" not in message:
            return Turn(role, index, words)
        calls = self._calls(message, index)
        if any([call.extra is not None for call in calls]):
            return Turn(role, index, None, calls, (Text(words),) if words else ())
        return Turn(role, index, words, calls)

    def _calls(self, message: Object, index: int) -> tuple[ToolCall, ...]:
        calls = tuple(
            [
                _tool_call(as_object(item), index, position)
                for position, item in enumerate(as_list(message.get("tool_calls")))
            ]
        )
        old = as_object(message.get("function_call"))
        if old and not calls:
            where = f"messages[{index}]"
            name = _called(old, f"{where}.function_call")
            # A stable id: the same history must give the same bytes each turn, or no prefix cache ever hits.
            id = "call_" + hashlib.sha256(f"{where}:{name}".encode()).hexdigest()[:24]
            self._open[name].append(id)
            calls = (ToolCall(id, name, _arguments(old.get("arguments"))),)
        for each in calls:
            self._names[each.id] = each.name
        return calls

    def _result(self, message: Object, index: int, parts: tuple[Part, ...]) -> Turn:
        id = as_text(message.get("tool_call_id"))
        name = as_text(message.get("name"))
        if not id and (waiting := self._open.get(name)):
            id = waiting.popleft()
        return Turn(
            role="tool",
            index=index,
            rich=parts,
            call_id=id,
            tool_name=self._names.get(id, name),
            is_error=message.get("is_error") is True,
            cache=message.get("cache_control"),
        )


def _extra(item: Object) -> JSON:
    """What a vendor wants back unchanged; some clients keep Google's signature under a name of their own (LiteLLM)."""
    extra: JSON = item.get("extra_content")
    if extra is None:
        signature = as_object(item.get("provider_specific_fields")).get("thought_signature")
        if isinstance(signature, str) and signature:
            return {"google": {"thought_signature": signature}}
    return extra


_RARE: Final = ("custom", "extra_content", "provider_specific_fields")
"""Members of a call that few calls have."""


def _tool_call(item: Object, index: int, position: int) -> ToolCall:
    id, function = item.get("id"), as_object(item.get("function"))
    name, arguments = function.get("name"), function.get("arguments")
    is_rare = not name or not item.keys().isdisjoint(_RARE)
    if not is_rare and isinstance(id, str) and isinstance(name, str) and isinstance(arguments, str):
        return ToolCall(id, name, arguments)
    where = f"messages[{index}].tool_calls[{position}]"
    extra = _extra(item)
    custom = as_object(item.get("custom"))
    if custom:
        text = as_text(custom.get("input"))
        name = _called(custom, f"{where}.custom")
        return ToolCall(as_text(id), name, text, is_custom=True, extra=extra)
    name = _called(function, f"{where}.function")
    return ToolCall(as_text(id), name, _arguments(arguments), extra=extra)


def _called(item: Object, where: str) -> str:
    """Returns the name of what was called, without which no provider takes a call."""
    name = as_text(item.get("name"))
    if not name:
        raise _nameless(where)
    return name


def _nameless(where: str) -> Unsupported:
    return Unsupported(f"{where}.name", f"{where}.name is missing")


def _arguments(value: JSON) -> str:
    """JSON text; some clients send the object itself."""
    if isinstance(value, str) or value is None:
        return value or ""
    return msgspec.json.encode(value).decode()


def _thinking(message: Object) -> tuple[Thinking, ...]:
    """Reads reasoning from the richest of the places where clients send it back."""
    found = [_detail(as_object(item)) for item in as_list(message.get("reasoning_details"))]
    if not found:
        found = [_block(as_object(item), "thinking_blocks") for item in as_list(message.get("thinking_blocks"))]
    if not found:
        items = map(as_object, as_list(message.get("content")))
        found = [_block(item, "content") for item in items if item.get("type") in ("thinking", "redacted_thinking")]
    if not found:
        plain = message.get("reasoning_content") or message.get("reasoning")
        found = [Thinking(plain)] if isinstance(plain, str) else []
    return tuple(found)


def _detail(item: Object) -> Thinking:
    return Thinking(
        text=as_text(item.get("text")) or as_text(item.get("summary")),
        signature=as_text(item.get("signature")),
        data=as_text(item.get("data")),
        format=as_text(item.get("format")),
        member="reasoning_details",
    )


def _block(item: Object, member: str) -> Thinking:
    inner: JSON = item.get("thinking")
    if isinstance(inner, list):  # Mistral's own parts
        inner = "".join(as_text(as_object(piece).get("text")) for piece in as_list(inner))
    return Thinking(as_text(inner), as_text(item.get("signature")), as_text(item.get("data")), member=member)


def leading_system(turns: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    """Returns the system turns that the conversation begins with, and the rest."""
    count = 0
    while count < len(turns) and turns[count].role == "system":
        count += 1
    return list(turns[:count]), list(turns[count:])
