"""What the gateway itself demands of a request, before an upstream may see it.

Only what we act on, what every provider refuses, and what would make two readers understand different things. The
rest of the parameters are the upstream's to judge on the pass-through path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.codec import decode, is_null, split_object
from adapters.types import Call, Operation
from gateway.errors import BodyTooLarge, InvalidRequest
from gateway.http import jsonscan

MAX_FIELDS: Final = 1_000
MAX_MESSAGES: Final = 20_000
MAX_TEXT_BYTES: Final = 10_000_000
MAX_MODEL_CHARS: Final = 512
ROLES: Final = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
PART_TYPES: Final = frozenset(
    {
        "text",
        "image_url",
        "input_audio",
        "file",
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
_NOTHING_SAID: Final = (b"", b"null", b'""', b"[]")
_MODEL_BREAKERS: Final = ("\n", "\r", "\x00", "..", "{{", "${", "\\")


class _ToolCall(Struct):
    id: str | None = None


class _Part(Struct):
    type: str
    text: Raw = _ABSENT


class _StreamOptions(Struct):
    include_usage: bool | None = None


_messages = msgspec.json.Decoder(list[dict[str, Raw]])
_text = msgspec.json.Decoder(str)
_tool_calls = msgspec.json.Decoder(list[_ToolCall] | None)
_parts = msgspec.json.Decoder(list[_Part])
_stream_options = msgspec.json.Decoder(_StreamOptions | None)


def read_call(operation: Operation, body: bytes, *, id: str, created: int) -> Call:
    """Returns the request as a Call; raises InvalidRequest naming the field that is wrong."""
    fields = split(body)
    model = _model(fields)
    stream = False
    wants_usage = False
    if operation is not Operation.EMBEDDINGS:
        stream = _boolean(fields, "stream")
        wants_usage = _wants_usage(fields, stream)
    _CHECKS[operation](fields)
    return Call(
        operation=operation,
        body=body,
        fields=fields,
        model=model,
        stream=stream,
        wants_usage=wants_usage,
        id=id,
        created=created,
    )


def split(body: bytes) -> dict[str, Raw]:
    """Returns the members of a JSON object; raises InvalidRequest with OpenAI's code for anything else."""
    if not body or body.isspace():
        raise InvalidRequest("the body is empty; send a JSON object", code="empty_body")
    try:
        jsonscan.check_text(body)
        fields = split_object(body)
        if len(fields) > MAX_FIELDS:
            raise jsonscan.BadJson("too_many_items", f"the body has more than {MAX_FIELDS} fields")
        jsonscan.check_unique_keys(body, fields)
        for name, value in fields.items():
            if name != "messages":
                jsonscan.check_value(value)
    except jsonscan.BadJson as error:
        raise InvalidRequest(error.message, code=error.code, param=error.param) from None
    except msgspec.ValidationError:
        raise InvalidRequest("the body must be a JSON object", code="invalid_type") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deep", code="json_too_deep") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}", code="invalid_json") from None
    return fields


def _model(fields: Mapping[str, Raw]) -> str:
    value = _member(fields, "model")
    if not isinstance(value, str):
        raise _wrong_type("model", "a string")
    if not value.strip():
        raise InvalidRequest("model must not be empty", code="missing_required_parameter", param="model")
    if len(value) > MAX_MODEL_CHARS or any(part in value for part in _MODEL_BREAKERS):
        raise InvalidRequest("model is not a plausible model name", code="invalid_value", param="model")
    return value


def _member(fields: Mapping[str, Raw], name: str) -> Any:
    member = fields.get(name)
    if member is None:
        raise InvalidRequest(f"missing required parameter: {name!r}", code="missing_required_parameter", param=name)
    return decode(member)


def _wrong_type(name: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"{name} must be {wanted}", code="invalid_type", param=name)


def _boolean(fields: Mapping[str, Raw], name: str) -> bool:
    text = bytes(fields.get(name, _ABSENT))
    if text in (b"", b"null", b"false"):
        return False
    if text != b"true":
        raise _wrong_type(name, "true or false")
    return True


def _wants_usage(fields: Mapping[str, Raw], stream: bool) -> bool:
    member = fields.get("stream_options")
    if member is None or is_null(member):
        return False
    if not stream:
        raise InvalidRequest(
            "stream_options is only allowed together with stream: true",
            code="invalid_value",
            param="stream_options",
        )
    try:
        options = _stream_options.decode(member)
    except msgspec.ValidationError:
        raise _wrong_type("stream_options", "an object with booleans") from None
    return bool(options and options.include_usage)


def _check_chat(fields: Mapping[str, Raw]) -> None:
    member = fields.get("messages")
    if member is None or is_null(member):
        raise InvalidRequest(
            "missing required parameter: 'messages'", code="missing_required_parameter", param="messages"
        )
    if memoryview(member)[0] != _OPENING:
        raise _wrong_type("messages", "an array of messages")
    try:
        messages = _messages.decode(member)
    except msgspec.ValidationError:
        raise _find_bad_message(member) from None
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
    known_ids: set[str] = set()
    for index, message in enumerate(messages):
        _check_message(message, index, known_ids)


def _find_bad_message(member: Raw) -> InvalidRequest:
    """Says which message is not an object; runs only once it is known that one is not."""
    index = next((i for i, value in enumerate(decode(member)) if not isinstance(value, dict)), 0)
    return InvalidRequest(
        f"messages[{index}] must be an object with a role",
        code="invalid_value",
        param=f"messages[{index}].role",
    )


def _check_message(message: Mapping[str, Raw], index: int, known_ids: set[str]) -> None:
    role = _ROLE_OF.get(bytes(message.get("role", _ABSENT)))
    if role is None:
        raise InvalidRequest(
            f"messages[{index}].role must be one of {', '.join(sorted(ROLES))}",
            code="invalid_value",
            param=f"messages[{index}].role",
        )
    content = message.get("content", _ABSENT)
    view = memoryview(content)
    if view.nbytes and view[0] == _QUOTE:
        if view.nbytes >= MAX_TEXT_BYTES:
            raise _text_too_long(index)
    elif is_null(content):
        if role != "function" and not (role == "assistant" and _says_something(message)):
            raise _missing_content(index, role)
    else:
        _check_parts(content, index)
    if len(message) > (2 if view.nbytes else 1):
        _check_rest(message, index)
        _check_tool_ids(message, role, index, known_ids)
    elif role == "tool":
        raise _unknown_call(index)


def _check_rest(message: Mapping[str, Raw], index: int) -> None:
    for name, value in message.items():
        if name not in ("role", "content"):
            try:
                jsonscan.check_value(value, depth=3)
            except jsonscan.BadJson as error:
                raise InvalidRequest(error.message, code=error.code, param=f"messages[{index}].{name}") from None


def _check_tool_ids(message: Mapping[str, Raw], role: str, index: int, known_ids: set[str]) -> None:
    if role == "assistant" and "tool_calls" in message:
        try:
            calls = _tool_calls.decode(message["tool_calls"])
        except msgspec.ValidationError:
            where = f"messages[{index}].tool_calls"
            raise _wrong_type(where, "an array of tool calls with string ids") from None
        known_ids.update(call.id for call in calls or () if call.id)
    elif role == "tool":
        id = bytes(message.get("tool_call_id", _ABSENT))
        if id[:1] != b'"' or _text.decode(id) not in known_ids:
            raise _unknown_call(index)


def _unknown_call(index: int) -> InvalidRequest:
    return InvalidRequest(
        f"messages[{index}].tool_call_id must be the id of a tool call in an earlier assistant message",
        code="invalid_value",
        param=f"messages[{index}].tool_call_id",
    )


def _says_something(message: Mapping[str, Raw]) -> bool:
    names = ("tool_calls", "function_call", "refusal", "audio", "reasoning_content", "reasoning_details")
    return any(bytes(message.get(name, _ABSENT)) not in _NOTHING_SAID for name in names)


def _missing_content(index: int, role: str) -> InvalidRequest:
    unless = " unless it has tool_calls" if role == "assistant" else ""
    return InvalidRequest(
        f"messages[{index}].content is missing; a message of role {role!r} needs it{unless}",
        code="invalid_value",
        param=f"messages[{index}].content",
    )


def _text_too_long(index: int) -> InvalidRequest:
    return InvalidRequest(
        f"messages[{index}].content is longer than {MAX_TEXT_BYTES} bytes",
        code="string_above_max_length",
        param=f"messages[{index}].content",
    )


def _check_parts(content: Raw, index: int) -> None:
    where = f"messages[{index}].content"
    try:
        jsonscan.check_value(content, depth=3)
        parts = _parts.decode(content)
    except jsonscan.BadJson as error:
        raise InvalidRequest(error.message, code=error.code, param=where) from None
    except msgspec.ValidationError:
        raise _wrong_type(where, "a string or an array of content parts, each with a type") from None
    if not parts:
        raise InvalidRequest(f"{where} must not be an empty array", code="empty_array", param=where)
    for position, part in enumerate(parts):
        if part.type not in PART_TYPES:
            raise InvalidRequest(
                f"{where}[{position}].type {part.type[:64]!r} is not a known kind of content part",
                code="invalid_type",
                param=where,
            )
        if memoryview(part.text).nbytes >= MAX_TEXT_BYTES:
            raise _text_too_long(index)


def _check_completion(fields: Mapping[str, Raw]) -> None:
    text = bytes(fields.get("prompt", _ABSENT))
    if text and text[:1] not in b'"[n':
        raise _wrong_type("prompt", "a string or an array")
    if len(text) > 4 * MAX_TEXT_BYTES:
        raise BodyTooLarge("prompt is too long", param="prompt")


def _check_embedding(fields: Mapping[str, Raw]) -> None:
    member = fields.get("input")
    if member is None or is_null(member):
        raise InvalidRequest("missing required parameter: 'input'", code="missing_required_parameter", param="input")
    text = bytes(member)
    if text == b'""' or text.replace(b" ", b"") == b"[]":
        raise InvalidRequest("input must not be empty", code="empty_array", param="input")
    if text[:1] not in (b'"', b"["):
        raise _wrong_type("input", "a string or an array of strings or token ids")
    encoding = bytes(fields.get("encoding_format", _ABSENT))
    if encoding not in (b"", b"null", b'"float"', b'"base64"'):
        raise InvalidRequest(
            "encoding_format must be 'float' or 'base64'", code="invalid_value", param="encoding_format"
        )


_CHECKS: Final[Mapping[Operation, Callable[[Mapping[str, Raw]], None]]] = {
    Operation.CHAT: _check_chat,
    Operation.COMPLETIONS: _check_completion,
    Operation.EMBEDDINGS: _check_embedding,
}
