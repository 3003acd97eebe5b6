"""What the gateway demands of the messages of a chat: roles, content, and tool results that answer a call.

A long agent conversation has hundreds of messages, and most have plain ones only: texts, calls of functions and their
results. Those are read by one typed decoding, which leaves nothing that would have to be scanned. Whatever has a member
more, or is wrong in any way, is read again and closely: the loop looks at each value's first byte and no further where
it can, and everything that is no string is scanned together at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from adapters.codec import decode, is_null
from adapters.plain import decode_plain
from gateway.errors import InvalidRequest
from gateway.http.api import jsonscan

MAX_MESSAGES: Final = 20_000
MAX_PIECES: Final = 20 * MAX_MESSAGES
"""Objects and commas of all messages, counted before each becomes an object of ours that is thirty times as large."""
MAX_TEXT_BYTES: Final = 10_000_000
_MAX_PLAIN_BYTES: Final = 256 * 1024
"""Of longer conversations most is some long text, of which no copy should be made."""
ROLES: Final = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
PART_TYPES: Final = frozenset(
    {
        "text",
        "image_url",
        "input_audio",
        "file",
        "file_url",  # Perplexity
        "refusal",
        "input_text",
        "input_image",
        "input_file",
        "output_text",
        "image",
        "audio",
        "audio_url",
        "video",
        "video_url",  # vLLM, Qwen
        "document",
        "document_url",  # Mistral
        "thinking",
        "redacted_thinking",
        "reference",  # Mistral
    }
)
_ROLE_OF: Final = {b'"' + role.encode() + b'"': role for role in ROLES}
_QUOTE: Final = 0x22
_OPENING: Final = 0x5B
_ABSENT = Raw()
_DEPTH: Final = 3
"""Levels above a message's members: the body, the array, the message."""
_NOTHING_SAID: Final = (b"", b"null", b'""', b"[]")
_SAYING: Final = ("tool_calls", "function_call", "refusal", "audio", "reasoning_content", "reasoning_details")


class _ToolCall(Struct):
    id: str | None = None


class _Part(Struct):
    type: str
    text: Raw = _ABSENT


class _Spoken(Struct):
    role: Raw


Message = dict[str, Raw]
_messages = msgspec.json.Decoder(list[Message])
_text = msgspec.json.Decoder(str)
_tool_calls = msgspec.json.Decoder(list[_ToolCall] | None)
_parts = msgspec.json.Decoder(list[_Part])
_spoken = msgspec.json.Decoder(list[_Spoken])


def check_messages(member: Raw | None) -> None:
    """Raises InvalidRequest, naming the message and its field, unless `member` is a conversation."""
    if member is None or is_null(member):
        raise InvalidRequest(
            "missing required parameter: 'messages'", code="missing_required_parameter", param="messages"
        )
    if memoryview(member)[0] != _OPENING:
        raise InvalidRequest("messages must be an array of messages", code="invalid_type", param="messages")
    size = memoryview(member).nbytes
    if size <= _MAX_PLAIN_BYTES and _is_plain(member):
        return
    if size > MAX_PIECES:
        _check_pieces(bytes(member))
    try:
        messages = _messages.decode(member)
    except msgspec.ValidationError:
        raise _not_an_object(member) from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deep", code="json_too_deep", param="messages") from None
    if not messages:
        raise InvalidRequest("messages must not be empty", code="empty_array", param="messages")
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequest(
            f"messages may hold at most {MAX_MESSAGES} items, got {len(messages)}",
            code="array_above_max_length",
            param="messages",
        )
    _Conversation().read(messages)


def _is_plain(member: Raw) -> bool:
    """True for a conversation of plain messages in which nothing is wrong; any other one needs a closer look."""
    try:
        messages = decode_plain(member)
    except (msgspec.MsgspecError, RecursionError):
        return False
    known_ids: set[str] = set()
    for message in messages:
        role, content = message.role, message.content
        if role == "assistant" and message.tool_calls:
            known_ids.update([call.id for call in message.tool_calls if call.id])
        elif (not content and content != "") or (role == "tool" and message.tool_call_id not in known_ids):
            return False
    return 0 < len(messages) <= MAX_MESSAGES and _spells_roles(member)


def _spells_roles(member: Raw) -> bool:
    """True unless a role is written with escapes, which rules of rows that look for it in the bytes would miss."""
    return b"\\u" not in bytes(member) or all(bytes(each.role) in _ROLE_OF for each in _spoken.decode(member))


def _check_pieces(messages: bytes) -> None:
    if jsonscan.is_sparse(messages):
        messages = jsonscan.outside_strings(messages)
    for json in (messages, jsonscan.outside_strings(messages)):  # the cheap count first: text has commas, too
        if json.count(b"{") + json.count(b",") <= MAX_PIECES:
            return
    raise InvalidRequest(
        f"messages may hold at most {MAX_PIECES} objects and members in all", code="too_many_items", param="messages"
    )


class _Conversation:
    __slots__ = ("_known_ids", "_others")

    def __init__(self) -> None:
        self._known_ids: set[str] = set()
        self._others: list[Raw] = []
        """Values that are neither role, content text nor another string."""

    def read(self, messages: Sequence[Message]) -> None:
        for index, message in enumerate(messages):
            role = _ROLE_OF.get(bytes(message.get("role", _ABSENT)))
            if role is None:
                raise _wrong(index, "role", f"must be one of {', '.join(sorted(ROLES))}")
            content = message.get("content", _ABSENT)
            view = memoryview(content)
            if view.nbytes and view[0] == _QUOTE:
                if view.nbytes >= MAX_TEXT_BYTES:
                    raise _too_long(index)
            else:
                self._read_other_content(message, role, content, index)
            if len(message) > 2 or role == "tool" or "content" not in message:
                self._read_rest(message, role, index)
        self._scan_others(messages)

    def _read_other_content(self, message: Message, role: str, content: Raw, index: int) -> None:
        if not is_null(content):
            # Mistral's own SDK writes `[]` beside tool calls, and Mistral takes it (recorded 2026-02).
            if not (role == "assistant" and _says_something(message) and _is_empty_list(content)):
                _check_parts(content, index)
        elif role != "function" and not (role == "assistant" and _says_something(message)):
            unless = " unless it has tool_calls" if role == "assistant" else ""
            raise _wrong(index, "content", f"is missing; a message of role {role!r} needs it{unless}")

    def _read_rest(self, message: Message, role: str, index: int) -> None:
        for name, value in message.items():
            if name != "content" and memoryview(value)[0] != _QUOTE:
                self._others.append(value)
        if role == "assistant" and "tool_calls" in message:
            try:
                calls = _tool_calls.decode(message["tool_calls"])
            except msgspec.ValidationError:
                raise _wrong(
                    index, "tool_calls", "must be an array of tool calls with string ids", "invalid_type"
                ) from None
            for call in calls or ():
                if call.id:
                    self._known_ids.add(call.id)
        elif role == "tool":
            id = message.get("tool_call_id", _ABSENT)
            if bytes(id)[:1] != b'"' or _text.decode(id) not in self._known_ids:
                raise _wrong(index, "tool_call_id", "must be the id of a tool call in an earlier assistant message")

    def _scan_others(self, messages: Sequence[Message]) -> None:
        if not self._others:
            return
        try:
            jsonscan.check_value(Raw(b"[" + b",".join(self._others) + b"]"), depth=_DEPTH - 1)
        except jsonscan.BadJson:
            _find_bad_value(messages)
            raise


def _find_bad_value(messages: Sequence[Message]) -> None:
    """Raises InvalidRequest for the value that is at fault; runs only once it is known that one is."""
    for index, message in enumerate(messages):
        for name, value in message.items():
            try:
                jsonscan.check_value(value, depth=_DEPTH)
            except jsonscan.BadJson as error:
                raise InvalidRequest(error.message, code=error.code, param=f"messages[{index}].{name}") from None


def _not_an_object(member: Raw) -> InvalidRequest:
    index = next((i for i, value in enumerate(decode(member)) if not isinstance(value, dict)), 0)
    return InvalidRequest(
        f"messages[{index}] must be an object with a role", code="invalid_value", param=f"messages[{index}].role"
    )


def _wrong(index: int, name: str, what: str, code: str = "invalid_value") -> InvalidRequest:
    where = f"messages[{index}].{name}"
    return InvalidRequest(f"{where} {what}", code=code, param=where)


def _too_long(index: int) -> InvalidRequest:
    return _wrong(index, "content", f"is longer than {MAX_TEXT_BYTES} bytes", "string_above_max_length")


def _says_something(message: Mapping[str, Raw]) -> bool:
    for name in _SAYING:
        value = message.get(name)
        if value is not None and (memoryview(value).nbytes > 4 or bytes(value) not in _NOTHING_SAID):
            return True
    return False


def _is_empty_list(content: Raw) -> bool:
    return memoryview(content).nbytes < 16 and bytes(content).replace(b" ", b"") == b"[]"


def _check_parts(content: Raw, index: int) -> None:
    try:
        jsonscan.check_value(content, depth=_DEPTH)
        parts = _parts.decode(content)
    except jsonscan.BadJson as error:
        raise InvalidRequest(error.message, code=error.code, param=f"messages[{index}].content") from None
    except msgspec.ValidationError:
        raise _wrong(
            index, "content", "must be a string or an array of content parts, each with a type", "invalid_type"
        ) from None
    if not parts:
        raise _wrong(index, "content", "must not be an empty array", "empty_array")
    for position, part in enumerate(parts):
        if part.type not in PART_TYPES:
            raise _wrong(
                index, "content", f"[{position}].type {part.type[:64]!r} is not a known part type", "invalid_type"
            )
        if memoryview(part.text).nbytes >= MAX_TEXT_BYTES:
            raise _too_long(index)
