"""OpenAI-compatible JSON answer -> OpenAI answer: checked for shape, tapped for usage, relayed as it came."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import Raw, Struct

from adapters.answers import read_json
from adapters.codec import (
    JSON,
    as_list,
    as_object,
    base64_from_floats,
    decode,
    encode,
    floats_from_base64,
    is_null,
)
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import describe, from_description
from adapters.openai.shapes import (
    BROKEN_FINISH,
    STANDARD_FINISH,
    as_function_call,
    asks_with_functions,
    complete_tool_call,
    finish_reason,
    join_content,
    lift_reasoning,
    split_think_tags,
)
from adapters.openai.usage import read_usage
from adapters.types import Call, Head, Operation, Reply, Target, Usage

Object = dict[str, Any]
_ABSENT = Raw()
_OPENING = 0x5B
_FLOAT32 = "<f"
_LAYOUTS = {"float32": _FLOAT32, "int8": "b"}


class _Message(Struct):
    content: Raw = _ABSENT
    reasoning: Raw = _ABSENT
    reasoning_details: Raw = _ABSENT
    tool_calls: Raw = _ABSENT


class _Choice(Struct):
    message: _Message | None = None
    text: Raw = _ABSENT
    finish_reason: str | None = None


class _Answer(Struct):
    choices: list[_Choice] | None = None
    usage: Raw = _ABSENT
    model: str | None = None
    error: Raw = _ABSENT
    base_resp: Raw = _ABSENT
    object: Raw = _ABSENT
    detail: Raw = _ABSENT


class _Item(Struct):
    embedding: Raw = _ABSENT


class _Vectors(Struct):
    data: list[_Item] | None = None
    usage: Raw = _ABSENT
    model: str | None = None
    error: Raw = _ABSENT
    object: Raw = _ABSENT


_answer = msgspec.json.Decoder(_Answer)
_vectors = msgspec.json.Decoder(_Vectors)


def read_reply(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    read = _read_vectors if call.operation is Operation.EMBEDDINGS else _read_answer
    try:
        return read(call, target, head, body)
    except (msgspec.DecodeError, RecursionError) as error:
        # Found only where the whole body is decoded: numbers beyond a double, nesting beyond the stack.
        raise Malformed("the upstream's answer holds a value that cannot be read") from error


def _read_answer(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    try:
        answer = _answer.decode(body)
        if not body.isascii():
            body.decode()
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _not_json(target, head, body) from error
    if not answer.choices:
        raise _refusal(target, head, body)
    usage = None if is_null(answer.usage) else read_usage(answer.usage, target.rules)
    finish = answer.choices[0].finish_reason
    if _needs_repair(answer.choices, call, target):
        body, finish = _repaired(call, target, head, body)
    if usage and target.rules.reasoning_excluded:
        body = _with_completion(body, usage)
    return Reply(body, usage, answer.model, finish)


def _not_json(target: Target, head: Head, body: bytes) -> Malformed | UpstreamSaid:
    """A body that is no chat answer: an error that happens to be JSON, or garbage."""
    try:
        decoded = read_json(head, body)
    except Malformed as error:
        return error
    return _refusal(target, head, encode(decoded))


def _refusal(target: Target, head: Head, body: bytes) -> Malformed | UpstreamSaid:
    """An answer without choices: the upstream's own error under a success status, or nonsense."""
    decoded: JSON = decode(body)
    members = as_object(decoded)
    if is_refusal(members):
        return UpstreamSaid(from_description(describe(decoded), head.status, head.headers, target.failure_rules))
    return Malformed("the upstream's answer has no choices", code="upstream_empty_response")


def is_refusal(members: Object) -> bool:
    """True for the members of an error body, in any vendor's shape."""
    return bool(
        members.get("error")
        or members.get("detail")
        or members.get("object") == "error"
        or as_object(members.get("base_resp")).get("status_code")
        or (members.get("message") and members.get("code"))
    )


def _needs_repair(choices: list[_Choice], call: Call, target: Target) -> bool:
    is_chat = call.operation is Operation.CHAT
    for choice in choices:
        if choice.finish_reason not in STANDARD_FINISH:
            return True
        if not is_chat:
            continue
        message = choice.message
        if message is None or target.rules.reasoning_out != "fields":
            return True
        if message.tool_calls or message.reasoning or message.reasoning_details:
            return True
        if not is_null(message.content) and memoryview(message.content)[0] == _OPENING:
            return True
    return False


def _repaired(call: Call, target: Target, head: Head, body: bytes) -> tuple[bytes, str | None]:
    answer = as_object(decode(body))
    before = encode(answer)
    for number, choice in enumerate(map(as_object, as_list(answer["choices"]))):
        message = as_object(choice.get("message"))
        if call.operation is Operation.CHAT and not message:
            raise Malformed("a choice of the upstream's answer has no message")
        _repair_message(message, call, target, number)
        word = choice.get("finish_reason") or ""
        if word in BROKEN_FINISH:
            raise _broken(word, target, head)
        choice["finish_reason"] = finish_reason(word, bool(message.get("tool_calls"))) or "stop"
        if asks_with_functions(call, target.rules):
            choice["finish_reason"] = as_function_call(message, choice["finish_reason"])
    first = as_object(as_list(answer["choices"])[0])
    after = encode(answer)
    return (body if after == before else after), first.get("finish_reason")


def _broken(word: str, target: Target, head: Head) -> UpstreamSaid:
    said = describe({"error": {"message": f"the upstream ended its answer with {word!r}", "code": word}})
    return UpstreamSaid(from_description(said, 502, head.headers, target.failure_rules))


def _repair_message(message: Object, call: Call, target: Target, number: int) -> None:
    join_content(message)
    split_think_tags(message, target.rules)
    lift_reasoning(message)
    calls = as_list(message.get("tool_calls"))
    if "tool_calls" in message and not calls:
        del message["tool_calls"]  # older clients test for presence
    for index, tool_call in enumerate(calls):
        complete_tool_call(as_object(tool_call), f"call_{call.id.removeprefix('chatcmpl-')}{number}{index}")


def _with_completion(body: bytes, usage: Usage) -> bytes:
    """Makes `completion_tokens` include reasoning where the vendor leaves it out (xAI)."""
    answer = as_object(decode(body))
    members = as_object(answer["usage"])
    if members.get("completion_tokens") == usage.completion:
        return body
    members["completion_tokens"] = usage.completion
    return encode(answer)


def _read_vectors(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    try:
        answer = _vectors.decode(body)
        if not body.isascii():
            body.decode()
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _not_json(target, head, body) from error
    if not answer.data:
        raise _refusal(target, head, body)
    usage = None if is_null(answer.usage) else read_usage(answer.usage, target.rules)
    asked = bytes(call.fields.get("encoding_format", _ABSENT))
    wants_text = asked == b'"base64"'
    has_text = bytes(answer.data[0].embedding).startswith(b'"')
    layout = _LAYOUTS[target.rules.vector_bytes]
    if wants_text != has_text or (has_text and layout != _FLOAT32):
        body = _recoded(body, layout, to_text=wants_text)
    return Reply(body, usage, answer.model)


def _recoded(body: bytes, layout: str, *, to_text: bool) -> bytes:
    """Gives vectors in the encoding that the client asked for: the SDKs decode blindly what they asked for."""
    answer = as_object(decode(body))
    for item in map(as_object, as_list(answer["data"])):
        value: JSON = item.get("embedding")
        try:
            numbers = floats_from_base64(value, layout) if isinstance(value, str) else cast("list[float]", value)
            item["embedding"] = base64_from_floats(numbers) if to_text else numbers
        except (TypeError, ValueError) as error:
            raise Malformed("an embedding of the upstream's answer cannot be read") from error
    return encode(answer)
