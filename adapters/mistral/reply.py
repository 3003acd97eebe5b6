"""Mistral's whole answers: OpenAI's, but for ids that are the text `null`, cached tokens, and repeated prefixes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from adapters.codec import as_list, as_object, decode, encode
from adapters.errors import Malformed
from adapters.mistral.failures import RULES
from adapters.mistral.ids import NO_ID
from adapters.mistral.request import implied_prefix
from adapters.openai.reply import read_reply
from adapters.rules import ParamRules
from adapters.types import Call, Head, Reply, Target

Object = dict[str, Any]
_WIRE: Final = ParamRules(wrap_functions=True, reasoning_out="content_list")


def as_openai(target: Target) -> Target:
    """Returns the target as the readers of OpenAI's wire must see it, whatever its row says."""
    return replace(target, rules=_WIRE, failure_rules=target.failure_rules + RULES)


def read_chat(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed or UpstreamSaid."""
    prefix = implied_prefix(call)
    if prefix or b'"null"' in body or b'"num_cached_tokens"' in body:
        body = _put_right(body, prefix)
    return read_reply(call, as_openai(target), head, body)


def _put_right(body: bytes, prefix: str) -> bytes:
    try:
        answer = as_object(decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return body  # the reader says what is wrong with it
    for choice in map(as_object, as_list(answer.get("choices"))):
        message = as_object(choice.get("message"))
        for call in map(as_object, as_list(message.get("tool_calls"))):
            if call.get("id") == NO_ID:
                del call["id"]
        if prefix:
            _strip(message, prefix)
    usage = as_object(answer.get("usage"))
    cached = usage.get("num_cached_tokens")
    if isinstance(cached, int) and "prompt_tokens_details" not in usage:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    return encode(answer) if answer else body


def _strip(message: Object, prefix: str) -> None:
    content = message.get("content")
    if isinstance(content, str):
        message["content"] = content.removeprefix(prefix)


def checked_object(body: bytes) -> Object:
    """Returns a decoded answer that was checked before; raises Malformed for what no library reads."""
    try:
        return as_object(decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed("the upstream's answer holds a value that cannot be read") from error
