"""A whole answer of the Messages API -> a chat completion."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from adapters.anthropic.counts import Counts
from adapters.anthropic.failures import said_inside
from adapters.anthropic.fence import unfenced
from adapters.anthropic.wording import (
    Reading,
    custom_input,
    finish_of,
    hidden_detail,
    read_reading,
    refusal_of,
    thinking_detail,
)
from adapters.chunks import completion, message, tool_call
from adapters.codec import JSON, as_list, as_object, as_text, decode, encode
from adapters.errors import Malformed, UpstreamSaid
from adapters.types import Call, Head, Reply, Target

Object = dict[str, Any]
_TIERS: Final = {"standard": "default", "priority": "priority", "batch": "default"}


def read_reply(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under status 200."""
    try:
        members = as_object(decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed("the upstream's answer is not JSON") from error
    if members.get("type") == "error" or ("error" in members and "content" not in members):
        raise UpstreamSaid(said_inside(target, head.headers, members))
    blocks = members.get("content")
    if not isinstance(blocks, list):
        raise Malformed("the upstream's answer has no content")
    reason: JSON = members.get("stop_reason")
    if not blocks and not isinstance(reason, str):
        raise Malformed("the upstream's answer is empty", code="upstream_empty_response")
    counts = Counts()
    counts.add(members.get("usage"))
    answer = _Answer(read_reading(call, target))
    for block in map(as_object, as_list(blocks)):
        answer.take(block)
    model = members.get("model")
    tier = _TIERS.get(str(as_object(members.get("usage")).get("service_tier")))
    return completion(
        call,
        model=model if isinstance(model, str) and model else target.model,
        choices=[
            (answer.message(reason, members.get("stop_details")), finish_of(reason, has_calls=bool(answer.calls)))
        ],
        usage=counts.usage(),
        extra={"service_tier": tier} if tier else None,
    )


class _Answer:
    """Gathers the blocks of one answer."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._texts: list[str] = []
        self._length = 0
        self._thoughts: list[str] = []
        self._details: list[Object] = []
        self._notes: list[Object] = []
        self._answer: str | None = None
        """The input of the tool that is the answer; of several calls, the first one's."""
        self.calls: list[Object] = []

    def take(self, block: Object) -> None:
        """Takes one block; those of the vendor's own tools mean nothing to the client."""
        kind = block.get("type")
        if kind == "text":
            self._text(as_text(block.get("text")), as_list(block.get("citations")))
        elif kind == "thinking":
            text, signature = as_text(block.get("thinking")), as_text(block.get("signature"))
            self._thoughts.append(text)
            if signature:
                self._details.append(thinking_detail(text, signature, len(self._details)))
        elif kind == "redacted_thinking":
            self._details.append(hidden_detail(as_text(block.get("data")), len(self._details)))
        elif kind == "tool_use":
            self._call(block)

    def message(self, reason: JSON, details: JSON) -> Object:
        """Returns the message; a refusal takes the place of what was said before it."""
        if reason == "refusal":
            return message(None, refusal=refusal_of(details))
        text = "".join(self._texts) if self._answer is None else self._answer
        if self._reading.is_fenced:
            text = unfenced(text)
        return message(
            text if text or not self.calls else None,
            tool_calls=self.calls,
            reasoning="".join(self._thoughts),
            details=self._details,
            annotations=self._notes,
        )

    def _text(self, text: str, citations: list[JSON]) -> None:
        start = self._length
        self._texts.append(text)
        self._length += len(text)
        for citation in map(as_object, citations):
            url = citation.get("url")
            if isinstance(url, str) and url:
                place: Object = {"start_index": start, "end_index": self._length}
                cited = {**place, "title": as_text(citation.get("title")), "url": url}
                self._notes.append({"type": "url_citation", "url_citation": cited})

    def _call(self, block: Object) -> None:
        name = as_text(block.get("name"))
        if not name:
            raise Malformed("a tool call of the upstream's answer has no name")
        input: JSON = block.get("input")
        if name == self._reading.answer_tool:
            self._answer = encode(input).decode() if self._answer is None else self._answer
            return
        is_custom = name in self._reading.customs
        if isinstance(input, str):  # servers that are compatible only leave the JSON text as it is
            arguments = input
        else:
            arguments = custom_input(input) if is_custom else encode({} if input is None else input).decode()
        id = as_text(block.get("id")) or f"call_{len(self.calls)}"
        self.calls.append(tool_call(id, self._reading.name(name), arguments, is_custom=is_custom))
