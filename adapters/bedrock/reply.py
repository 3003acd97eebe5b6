"""Converse's answer -> OpenAI's, and what streams share with it: counts, reasons, tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.answers import read_json
from adapters.bedrock.failures import classify_body
from adapters.bedrock.messages import CLAUDE_FORMAT, OWN_FORMAT
from adapters.bedrock.models import model
from adapters.bedrock.names import original_names
from adapters.bedrock.tools import ANSWER_TOOL, CUSTOM_INPUT
from adapters.chunks import completion, message, tool_call
from adapters.codec import JSON, as_list, as_object, as_text, encode
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.structured import read_format
from adapters.tools import Tool, read_tools
from adapters.types import Call, Head, Reply, Target, Usage

Object = dict[str, Any]
_FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_BROKEN: Final = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Reasons that say the model wrote nonsense: an error, never an end."""
_MOST_COUNT: Final = 2**53
SERVER_TOOL: Final = "server_tool_use"
"""Type of a call that Bedrock carries out itself: the client has nothing to do with it."""


class Tools:
    """The tools of one call, by the names under which the model knows them."""

    __slots__ = ("_known", "answers_by_tool")

    def __init__(self, call: Call) -> None:
        has_tools = "tools" in call.fields or "functions" in call.fields
        self._known: Mapping[str, Tool] = original_names(read_tools(call.fields).tools) if has_tools else {}
        self.answers_by_tool = ANSWER_TOOL not in self._known and "response_format" in call.fields

    def name(self, name: str) -> str:
        """Returns the client's name of a tool."""
        found = self._known.get(name)
        return name if found is None else found.name

    def is_custom(self, name: str) -> bool:
        """True for a tool that takes free text."""
        found = self._known.get(name)
        return found is not None and found.is_custom

    def is_answer(self, name: str) -> bool:
        """True for the call by which the model gives its answer in the form that was asked for."""
        return name == ANSWER_TOOL and self.answers_by_tool


def answers_by_tool(call: Call, target: Target) -> bool:
    """True if the model may have been made to call a tool with its answer."""
    if "response_format" not in call.fields or model(target.model).form != "tool":
        return False
    return read_format(call.fields).schema is not None and not read_tools(call.fields).tools


def read_reply(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    answer = read_json(head, body)
    members = as_object(answer)
    said = as_object(as_object(members.get("output")).get("message"))
    content: JSON = said.get("content")
    reason: JSON = members.get("stopReason")
    if not isinstance(content, list) or not isinstance(reason, str):
        failure = classify_body(target, head, body)
        if failure is not None:
            raise UpstreamSaid(failure)
        raise Malformed("the upstream's answer has no message", code="upstream_empty_response")
    reading = _Reading(call, target)
    for block in map(as_object, as_list(content)):
        reading.block(block)
    finish = finish_reason(reason, has_tools=bool(reading.calls))
    if reading.answer is not None:
        reading.texts = [reading.answer]  # what else the model says would spoil the form that was asked for
    made = message(
        "".join(reading.texts) if reading.texts or not reading.calls else None,
        tool_calls=reading.calls,
        reasoning="".join(reading.thoughts),
        details=reading.details,
    )
    usage = read_usage(members.get("usage"))
    return completion(call, model=target.model, choices=[(made, finish)], usage=usage)


class _Reading:
    """Gathers the blocks of one message."""

    def __init__(self, call: Call, target: Target) -> None:
        self._tools = Tools(call)
        self._format = signature_format(target)
        self.texts: list[str] = []
        self.answer: str | None = None
        """The input of the call that is the answer itself; of several, the first one's."""
        self.thoughts: list[str] = []
        self.details: list[Object] = []
        self.calls: list[Object] = []

    def block(self, block: Object) -> None:
        text: JSON = block.get("text")
        if isinstance(text, str):
            self.texts.append(text)
        elif "toolUse" in block:
            self._call(as_object(block["toolUse"]))
        elif "reasoningContent" in block:
            self._thought(as_object(block["reasoningContent"]))
        elif "citationsContent" in block:
            pieces = as_list(as_object(block["citationsContent"]).get("content"))
            said = (as_object(piece).get("text") for piece in pieces)
            self.texts.extend(piece for piece in said if isinstance(piece, str))

    def _call(self, use: Object) -> None:
        name: JSON = use.get("name")
        id: JSON = use.get("toolUseId")
        if not isinstance(name, str) or not isinstance(id, str):
            raise Malformed("a tool call of the upstream's answer has no name or id")
        if use.get("type") == SERVER_TOOL:
            return
        arguments: JSON = use.get("input")
        written = encode({} if arguments is None else arguments).decode()
        if self._tools.is_answer(name):
            self.answer = written if self.answer is None else self.answer
        elif self._tools.is_custom(name):
            self.calls.append(tool_call(id, self._tools.name(name), custom_input(arguments), is_custom=True))
        else:
            self.calls.append(tool_call(id, self._tools.name(name), written))

    def _thought(self, thought: Object) -> None:
        read = as_object(thought.get("reasoningText"))
        text: JSON = read.get("text")
        signature: JSON = read.get("signature")
        data: JSON = thought.get("redactedContent")
        if isinstance(text, str):
            self.thoughts.append(text)
        if isinstance(signature, str) and signature:
            self.details.append(signed(as_text(text), signature, self._format, len(self.details)))
        if isinstance(data, str) and data:
            self.details.append(encrypted(data, len(self.details)))


def signature_format(target: Target) -> str:
    """Returns who signs the reasoning of the target's model."""
    return CLAUDE_FORMAT if model(target.model).claude.is_known else OWN_FORMAT


def signed(text: str, signature: str, format: str, index: int) -> Object:
    """Returns reasoning that its vendor can verify."""
    return {"type": "reasoning.text", "text": text, "signature": signature, "format": format, "index": index}


def encrypted(data: str, index: int) -> Object:
    """Returns reasoning that only its vendor can read."""
    return {"type": "reasoning.encrypted", "data": data, "format": OWN_FORMAT, "index": index}


def custom_input(arguments: JSON) -> str:
    """Returns the text that a custom tool is called with."""
    found = as_object(arguments).get(CUSTOM_INPUT)
    return found if isinstance(found, str) else encode(arguments).decode()


def finish_reason(reason: str, *, has_tools: bool) -> str:
    """Returns OpenAI's word for why the answer ended; raises UpstreamSaid for a reason that is none."""
    if reason in _BROKEN:
        failure = Failure(FailureKind.SERVER, f"the upstream ended its answer with {reason!r}", code=reason)
        raise UpstreamSaid(failure)
    finish = _FINISH.get(reason, "stop")
    if finish == "tool_calls" and not has_tools:
        return "stop"
    return "tool_calls" if finish == "stop" and has_tools else finish


def read_usage(value: JSON) -> Usage | None:
    """Returns the counts; `inputTokens` leaves out what was read from or written to a cache."""
    members = as_object(value)
    read = _count(members.get("cacheReadInputTokens"))
    written = _count(members.get("cacheWriteInputTokens"))
    fresh, output = _count(members.get("inputTokens")), _count(members.get("outputTokens"))
    if "inputTokens" not in members and "outputTokens" not in members:
        return None
    details = map(as_object, as_list(members.get("cacheDetails")))
    hour = sum(_count(each.get("inputTokens")) for each in details if each.get("ttl") == "1h")
    return Usage(
        prompt=fresh + read + written,
        completion=output,
        cached_prompt=read,
        cache_write=written,
        cache_write_1h=min(hour, written),
    )


def _count(value: JSON) -> int:
    """Returns a count of tokens, 0 for what is none."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_COUNT
    return value if is_count else 0
