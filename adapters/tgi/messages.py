"""Turns -> TGI's messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.codec import encode
from adapters.conversation import Part, Text, Turn, read_turns
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.losses import note_losses
from adapters.settled import settle
from adapters.types import Call

Object = dict[str, Any]


def messages(call: Call, report: Report) -> list[Object]:
    """Returns the messages of a chat; raises Unsupported for a part that is neither text nor image."""
    return [_message(turn, report) for turn in settle(read_turns(call, report))]


def _message(turn: Turn, report: Report) -> Object:
    _note_losses(turn, report)
    message: Object = {"role": turn.role}
    if turn.calls:
        # A message is read as the first form that fits: with a text in `content` it has no calls.
        if turn.parts:
            report.drop("messages.content")
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": encode(call.input()).decode() if call.is_custom else call.arguments or "{}",
                },
            }
            for call in turn.calls
        ]
        return message
    message["content"] = _content(turn.parts, report)
    if turn.role == "tool":
        message["tool_call_id"] = turn.call_id
    if turn.name:
        message["name"] = turn.name
    return message


def _note_losses(turn: Turn, report: Report) -> None:
    if any(thought.signature or thought.data or thought.format for thought in turn.thinking):
        report.drop("messages.reasoning_details")
    elif turn.thinking:
        report.drop("messages.reasoning_content")
    note_losses(turn, report, "cache_control", "audio", "prefix", "extra_content")


def _content(parts: Sequence[Part], report: Report) -> str | list[Object]:
    if not parts:
        return ""
    first = parts[0]
    return first.text if len(parts) == 1 and isinstance(first, Text) else [_part(part, report) for part in parts]


def _part(part: Part, report: Report) -> Object:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if part.kind != "image" or part.file_id:
        raise Unsupported(part.where, f"{part.where}: TGI takes text and images by URL or data; send one of these")
    if part.detail:
        report.drop("messages.content.image_url.detail")
    url = f"data:{part.media_type or 'image/png'};base64,{part.data}" if part.data else part.url
    return {"type": "image_url", "image_url": {"url": url}}
