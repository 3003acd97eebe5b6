"""Cohere's chat answer -> OpenAI's, checked for shape (docs.cohere.com/v2/reference/chat, read 2026-08-20)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.answers import read_json
from adapters.chunks import completion, message, tool_call
from adapters.codec import JSON, as_list, as_object, as_text
from adapters.cohere.citations import annotations_of, is_of_text
from adapters.cohere.failures import broken_finish, said_failure
from adapters.cohere.logprobs import read_logprobs
from adapters.cohere.names import given_names
from adapters.cohere.usage import read_usage
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import describe
from adapters.types import Call, Head, Reply, Target

Object = dict[str, Any]
FINISH: Final = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",  # v1 and older models, as the next two
    "ERROR_LIMIT": "length",
    "USER_CANCEL": "stop",
}
BROKEN: Final = ("ERROR", "TIMEOUT")
NO_ARGUMENTS: Final = ("", "null")
"""What Cohere writes for a call without arguments."""


def finish_reason(word: str, has_tools: bool) -> str:
    """Returns OpenAI's word; an answer with calls that ends well ends with them."""
    found = FINISH.get(word, "stop")
    return "tool_calls" if has_tools and found == "stop" else found


def call_id(call: Call, index: int) -> str:
    """Returns an id for a tool call that came without one."""
    return f"call_{call.id.removeprefix('chatcmpl-')}{index}"


def read_object(target: Target, head: Head, body: bytes) -> Object:
    """Returns the members of a JSON answer; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    members = as_object(read_json(head, body))
    if isinstance(members.get("message"), str) or members.get("error"):
        raise UpstreamSaid(said_failure(target, head, describe(members)))
    return members


def read_chat(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    answer = read_object(target, head, body)
    said = answer.get("message")
    word = as_text(answer.get("finish_reason"))
    if word in BROKEN:
        code = as_text(answer.get("error_type"))
        raise UpstreamSaid(broken_finish(target, head, word, as_text(answer.get("error")), code))
    if not isinstance(said, dict):
        raise Malformed("the upstream's answer has no message", code="upstream_empty_response")
    members = as_object(said)
    content, reasoning, annotations = _content(members)
    calls = _calls(call, members)
    if not (content or reasoning or calls or word):
        raise Malformed("the upstream's answer is empty", code="upstream_empty_response")
    made = message(
        content if content or not calls else None,
        tool_calls=calls,
        reasoning=reasoning + as_text(members.get("tool_plan")),
        annotations=annotations,
    )
    citations = [item for item in map(as_object, as_list(members.get("citations"))) if is_of_text(item)]
    if citations:
        made["citations"] = citations
    finish = finish_reason(word, bool(calls))
    return completion(
        call,
        model=target.model,
        choices=[(made, finish)],
        usage=read_usage(answer.get("usage")),
        logprobs=[read_logprobs(answer.get("logprobs"))],
    )


def _content(members: Object) -> tuple[str, str, list[Object]]:
    """Returns text, reasoning and annotations of a message, whose content may be one string."""
    content: JSON = members.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    text, reasoning = "", ""
    begins: dict[JSON, int] = {}
    for index, block in enumerate(map(as_object, as_list(content))):
        begins[index] = len(text)
        text += as_text(block.get("text"))
        reasoning += as_text(block.get("thinking"))
    annotations: list[Object] = []
    first = next((index for index, block in enumerate(as_list(content)) if as_object(block).get("text")), 0)
    for citation in map(as_object, as_list(members.get("citations"))):
        if is_of_text(citation):
            place: JSON = citation.get("content_index")
            offset = begins.get(place if isinstance(place, int) else first, 0)
            annotations.extend(annotations_of(citation, offset))
    return text, reasoning, annotations


def _calls(call: Call, members: Object) -> list[Object]:
    items = [as_object(item) for item in as_list(members.get("tool_calls"))]
    names: Mapping[str, str] = given_names(call) if items else {}
    made: list[Object] = []
    for index, item in enumerate(items):
        function = as_object(item.get("function"))
        name = as_text(function.get("name"))
        if not name:
            raise Malformed("a tool call of the upstream's answer has no name")
        arguments = as_text(function.get("arguments"))
        id = as_text(item.get("id")) or call_id(call, index)
        made.append(tool_call(id, names.get(name, name), "{}" if arguments in NO_ARGUMENTS else arguments))
    return made
