"""A whole response of the Responses API as OpenAI's chat completion."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from adapters.chunks import completion, message, tool_call
from adapters.codec import JSON, as_list, as_object, as_text, decode
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import Failure, FailureKind, describe, from_description
from adapters.types import Call, Head, Reply, Target, Usage

Object = dict[str, Any]
_MOST_TOKENS: Final = 2**53
_LIMITS: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}


def read_chat(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    try:
        response = as_object(decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"the upstream's answer cannot be read ({len(body)} bytes)") from error
    raise_for_error(target, head, response)
    if not isinstance(response.get("output"), list):
        raise Malformed("the upstream's answer has no output", code="upstream_empty_response")
    items = [as_object(item) for item in as_list(response.get("output"))]
    texts, refusals, thoughts = (_texts(items, *kind) for kind in _KINDS)
    calls = [call_of(item) for item in items if item.get("type") == "function_call"]
    if not (texts or refusals or calls) and finish_of(response) is None:
        raise Malformed("the upstream's answer is empty", code="upstream_empty_response")
    said = message(
        texts if texts or not (calls or refusals) else None,
        tool_calls=[tool_call(id, name, arguments or "{}") for id, name, arguments in calls],
        reasoning=thoughts,
        refusal=refusals or None,
    )
    finish = finish_of(response) or ("tool_calls" if calls else "stop")
    model = as_text(response.get("model")) or target.model
    return completion(call, model=model, choices=[(said, finish)], usage=usage_of(response))


_KINDS: Final = (
    ("message", "content", "output_text", "text"),
    ("message", "content", "refusal", "refusal"),
    ("reasoning", "summary", "summary_text", "text"),
)


def _texts(items: list[Object], kind: str, member: str, part: str, name: str) -> str:
    found = (as_object(each) for item in items if item.get("type") == kind for each in as_list(item.get(member)))
    return "".join(as_text(each.get(name)) for each in found if each.get("type") == part)


def call_of(item: Object) -> tuple[str, str, str]:
    """Returns id, name and arguments of a call; raises Malformed without a name."""
    name = as_text(item.get("name"))
    if not name:
        raise Malformed("a tool call of the upstream's answer has no name")
    return as_text(item.get("call_id")) or as_text(item.get("id")), name, as_text(item.get("arguments"))


def finish_of(response: Object) -> str | None:
    """Returns why an answer ended before its end, None if it did not."""
    if response.get("status") != "incomplete":
        return None
    return _LIMITS.get(as_text(as_object(response.get("incomplete_details")).get("reason")), "length")


def raise_for_error(target: Target, head: Head, response: Object) -> None:
    """Raises UpstreamSaid for a response that failed, and for an error in the place of one."""
    error: JSON = response.get("error")
    if error is not None:
        raise UpstreamSaid(
            from_description(describe({"error": error}), head.status, head.headers, target.failure_rules)
        )
    if response.get("status") in ("failed", "cancelled"):
        raise UpstreamSaid(Failure(FailureKind.SERVER, "the upstream's answer has failed", status=502))


def usage_of(response: Object) -> Usage | None:
    """Returns the counts of a response, None if it has none."""
    counts = as_object(response.get("usage"))
    prompt, answer = _count(counts.get("input_tokens")), _count(counts.get("output_tokens"))
    if not prompt and not answer:
        return None
    cached = _count(as_object(counts.get("input_tokens_details")).get("cached_tokens"))
    thought = _count(as_object(counts.get("output_tokens_details")).get("reasoning_tokens"))
    return Usage(prompt=prompt, completion=answer, cached_prompt=min(cached, prompt), reasoning=min(thought, answer))


def _count(value: JSON) -> int:
    return value if type(value) is int and 0 <= value < _MOST_TOKENS else 0
