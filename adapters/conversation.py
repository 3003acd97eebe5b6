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
from adapters.errors import Unsupported
from adapters.fidelity import Report
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


class Text(Struct, frozen=True):
    """A piece of text."""

    text: str
    cache: JSON = None
    """`cache_control`, as the client wrote it on the part; OpenAI's `prompt_cache_breakpoint` in the same words."""


class Media(Struct, frozen=True):
    """An image, a sound, a video or a file: inline data, an address, or an id at some provider."""

    kind: Literal["image", "audio", "video", "file"]
    where: str
    """Path of the part, for errors: `messages[2].content[0]`."""
    data: str = ""
    """Base64, without the `data:` head."""
    media_type: str = ""
    """Lower case, such as `image/png`; empty if nobody said."""
    url: str = ""
    file_id: str = ""
    name: str = ""
    detail: str = ""
    """OpenAI's `image_url.detail`."""
    cache: JSON = None


Part = Text | Media


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
        if self.is_custom:
            return {"input": self.arguments}
        if not self.arguments.strip():
            return {}
        try:
            found: JSON = decode(self.arguments)
        except (msgspec.DecodeError, RecursionError):
            return {"_raw_arguments": self.arguments}
        return as_object(found) if isinstance(found, dict) else {"value": found}


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
    where: str
    """`messages[3]`, for errors."""
    parts: tuple[Part, ...] = ()
    calls: tuple[ToolCall, ...] = ()
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
    def text(self) -> str:
        """The text parts, joined without a separator."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def media(self) -> tuple[Media, ...]:
        """The parts that are no text."""
        return tuple(part for part in self.parts if isinstance(part, Media))


def read_turns(call: Call, report: Report | None = None) -> list[Turn]:
    """Returns the messages of a chat; raises Unsupported naming the part that cannot be read.

    Members of a message that no protocol knows are told to `report`: no turn has a place for them.
    """
    messages = as_list(decode(call.fields["messages"])) if "messages" in call.fields else []
    reader = _Reader(report)
    return [reader.turn(as_object(message), f"messages[{index}]") for index, message in enumerate(messages)]


_MEMBERS: Final = frozenset(
    {"role", "content", "name", "refusal", "audio", "tool_calls", "tool_call_id", "function_call", "cache_control"}
    | {"prefix", "extra_content", "provider_specific_fields", "is_error", "annotations", "citations"}
    | {"reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"}
)
"""What a turn is made of. `annotations` and `citations` are words about an answer that the client sends back."""
_PLAIN: Final = frozenset({"user", "assistant", "system", "developer"})


class _Reader:
    """Remembers the calls made so far: old `function` turns name a function, tool turns only an id."""

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._names: dict[str, str] = {}
        self._open: defaultdict[str, deque[str]] = defaultdict(deque)
        """Function name -> ids of old function calls that have no result yet."""

    def turn(self, message: Object, where: str) -> Turn:
        role = _ROLES.get(str(message.get("role")))
        content = message.get("content")
        if len(message) == 2 and isinstance(content, str) and role in _PLAIN:  # most messages are nothing else
            return Turn(role, where, (Text(content),) if content else ())
        if self._report is not None and not message.keys() <= _MEMBERS:
            others = (name for name, value in message.items() if name not in _MEMBERS and value is not None)
            self._report.drop(*(f"messages.{name}" for name in others))
        if role is None:
            raise Unsupported(f"{where}.role", f"{where}.role {message.get('role')!r} is not known")
        parts = _parts(message.get("content"), f"{where}.content")
        if role == "tool":
            return self._result(message, where, parts)
        refusal = message.get("refusal")
        if role == "assistant" and isinstance(refusal, str) and refusal and not parts:
            parts = (Text(refusal),)
        return Turn(
            role=role,
            where=where,
            parts=parts,
            calls=self._calls(message, where) if role == "assistant" else (),
            thinking=_thinking(message) if role == "assistant" else (),
            name=as_text(message.get("name")),
            cache=message.get("cache_control"),
            is_prefix=role == "assistant" and message.get("prefix") is True,
            extra=_extra(message),
            audio_id=as_text(as_object(message.get("audio")).get("id")) if role == "assistant" else "",
        )

    def _calls(self, message: Object, where: str) -> tuple[ToolCall, ...]:
        calls = tuple(
            _tool_call(as_object(item), f"{where}.tool_calls[{index}]")
            for index, item in enumerate(as_list(message.get("tool_calls")))
        )
        old = as_object(message.get("function_call"))
        if old and not calls:
            name = _called(old, f"{where}.function_call")
            # A stable id: the same history must give the same bytes each turn, or no prefix cache ever hits.
            id = "call_" + hashlib.sha256(f"{where}:{name}".encode()).hexdigest()[:24]
            self._open[name].append(id)
            calls = (ToolCall(id, name, _arguments(old.get("arguments"))),)
        self._names.update((each.id, each.name) for each in calls)
        return calls

    def _result(self, message: Object, where: str, parts: tuple[Part, ...]) -> Turn:
        id = as_text(message.get("tool_call_id"))
        name = as_text(message.get("name"))
        if not id and (waiting := self._open.get(name)):
            id = waiting.popleft()
        return Turn(
            role="tool",
            where=where,
            parts=parts,
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


def _tool_call(item: Object, where: str) -> ToolCall:
    extra = _extra(item)
    custom = as_object(item.get("custom"))
    if custom:
        text = as_text(custom.get("input"))
        name = _called(custom, f"{where}.custom")
        return ToolCall(as_text(item.get("id")), name, text, is_custom=True, extra=extra)
    function = as_object(item.get("function"))
    name = _called(function, f"{where}.function")
    return ToolCall(as_text(item.get("id")), name, _arguments(function.get("arguments")), extra=extra)


def _called(item: Object, where: str) -> str:
    """Returns the name of what was called, without which no provider takes a call."""
    name = as_text(item.get("name"))
    if not name:
        raise Unsupported(f"{where}.name", f"{where}.name is missing")
    return name


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


def _parts(content: JSON, where: str) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),) if content else ()
    found = [_part(as_object(item), f"{where}[{index}]") for index, item in enumerate(as_list(content))]
    return tuple(part for part in found if part is not None)


_BREAKPOINT: Final = {"type": "ephemeral"}


def _part(item: Object, where: str) -> Part | None:
    kind = item.get("type")
    cache: JSON = item.get("cache_control") or (_BREAKPOINT if item.get("prompt_cache_breakpoint") else None)
    if kind in ("text", "input_text", "output_text"):
        return Text(as_text(item.get("text")), cache)
    if kind == "refusal":
        return Text(as_text(item.get("refusal")), cache)
    if kind in ("thinking", "redacted_thinking", "reference"):
        return None  # reasoning is read from the message; references point into a document that is not sent back
    reader = _MEDIA.get(str(kind))
    if reader is None:
        raise Unsupported(where, f"{where}: parts of type {kind!r} cannot be sent to this provider")
    return msgspec.structs.replace(reader(item, where), cache=cache)


def _image(item: Object, where: str) -> Media:
    inner: JSON = item.get("image_url") or item.get("image") or item.get("url")
    members = as_object(inner)
    url = as_text(inner) or as_text(members.get("url"))
    detail = as_text(members.get("detail")) or as_text(item.get("detail"))
    return _addressed(Media("image", where, detail=detail, file_id=as_text(item.get("file_id"))), url)


def _video(item: Object, where: str) -> Media:
    inner: JSON = item.get("video_url") or item.get("video")
    return _addressed(Media("video", where), as_text(inner) or as_text(as_object(inner).get("url")))


def _audio(item: Object, where: str) -> Media:
    inner = as_object(item.get("input_audio") or item.get("audio") or item.get("audio_url"))
    if url := as_text(inner.get("url")):
        return _addressed(Media("audio", where), url)
    format = as_text(inner.get("format")).lower() or "wav"
    return Media("audio", where, data=as_text(inner.get("data")), media_type=_SOUNDS.get(format, f"audio/{format}"))


def _file(item: Object, where: str) -> Media:
    inner = as_object(item.get("file")) or item
    url = as_text(inner.get("file_url")) or as_text(inner.get("url")) or as_text(inner.get("document_url"))
    data = as_text(inner.get("file_data"))
    name = as_text(inner.get("filename")) or as_text(inner.get("name")) or as_text(inner.get("document_name"))
    file = Media("file", where, file_id=as_text(inner.get("file_id")), name=name)
    if data and not data.startswith("data:"):
        return msgspec.structs.replace(file, data=data, media_type=_type_of_name(name))
    return _addressed(file, data or url)


_MEDIA: Final = {
    "image_url": _image,
    "input_image": _image,
    "image": _image,
    "video_url": _video,
    "video": _video,
    "input_audio": _audio,
    "audio": _audio,
    "audio_url": _audio,
    "file": _file,
    "input_file": _file,
    "file_url": _file,
    "document_url": _file,
}
_SOUNDS: Final = {"mp3": "audio/mpeg", "wav": "audio/wav"}
_TYPES: Final = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
}


def _type_of_name(name: str) -> str:
    return _TYPES.get(name.rpartition(".")[2].lower(), "application/pdf" if not name else "")


def _addressed(media: Media, url: str) -> Media:
    """Returns `media` at an address, or with the data that a `data:` URL holds."""
    if not url and not media.file_id:
        raise Unsupported(media.where, f"{media.where} has neither data nor an address")
    if not url.startswith("data:"):
        return msgspec.structs.replace(media, url=url)
    head, comma, data = url[5:].partition(",")
    media_type, _, encoding = head.partition(";")
    if not comma or not encoding.endswith("base64"):
        raise Unsupported(media.where, f"{media.where}: a data URL must be `data:TYPE;base64,DATA`")
    return msgspec.structs.replace(media, data=data, media_type=media_type.strip().lower())


def leading_system(turns: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    """Returns the system turns that the conversation begins with, and the rest."""
    count = next((index for index, turn in enumerate(turns) if turn.role != "system"), len(turns))
    return list(turns[:count]), list(turns[count:])
