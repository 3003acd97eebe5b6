"""Turns of a conversation -> Ollama's messages, whose content is one text (docs.ollama.com/api/chat, 2026-08-21)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.conversation import Media, Text, Turn
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.losses import note_losses

Object = dict[str, Any]
_IMAGES: Final = ("image", "audio")
"""What stands in `images`: servers find out by the bytes themselves that some are sounds."""


def write_messages(turns: Sequence[Turn], report: Report, prompt: str = "") -> list[Object]:
    """Returns the messages, with `prompt` at the end of the leading system message; raises Unsupported."""
    messages = [_message(turn, report) for turn in turns]
    if prompt:
        first = messages[0] if messages and messages[0]["role"] == "system" else None
        if first is None:
            messages.insert(0, {"role": "system", "content": prompt})
        else:
            first["content"] = f"{first['content']}\n\n{prompt}" if first["content"] else prompt
    return messages


def _message(turn: Turn, report: Report) -> Object:
    note_losses(turn, report, "name", "cache_control", "prefix", "is_error", "audio", "extra_content")
    texts: list[str] = []
    images: list[str] = []
    for part in turn.parts:
        if isinstance(part, Text):
            texts.append(part.text)
        else:
            images.append(_data(part, report))
        if part.cache is not None:
            report.drop("messages.cache_control")
    made: Object = {"role": turn.role, "content": "\n".join(texts)}
    if turn.thinking and (thinking := _thinking(turn, report)):
        made["thinking"] = thinking
    if images:
        made["images"] = images
    if turn.calls:
        made["tool_calls"] = [
            {"id": call.id, "function": {"name": call.name, "arguments": call.input()}}
            if call.id
            else {"function": {"name": call.name, "arguments": call.input()}}
            for call in turn.calls
        ]
    if turn.tool_name:
        made["tool_name"] = turn.tool_name
    if turn.call_id:
        made["tool_call_id"] = turn.call_id
    return made


def _thinking(turn: Turn, report: Report) -> str:
    """Returns reasoning in plain words: a signature or encrypted data is another vendor's."""
    if any(each.signature or each.data for each in turn.thinking):
        report.drop("messages.reasoning_details")
    return "".join(each.text for each in turn.thinking if not (each.signature or each.data))


def _data(media: Media, report: Report) -> str:
    where = media.where
    if media.kind not in _IMAGES:
        raise Unsupported(where, f"{where}: Ollama takes text, images and sounds; send the text of a {media.kind}")
    if not media.data:
        advice = "send it as a `data:` URL with base64" if media.url else "send its data as base64"
        raise Unsupported(where, f"{where}: Ollama does not fetch what it is told about; {advice}")
    if media.detail not in ("", "auto"):
        report.drop("messages.content.image_url.detail")
    return media.data
