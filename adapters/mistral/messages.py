"""Turns -> Mistral's messages, whose keys are a closed list: any other is a 422."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.codec import encode
from adapters.conversation import Media, Part, Text, Thinking, Turn
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.losses import note_losses
from adapters.mistral.ids import tool_id

Object = dict[str, Any]
NOTHING: Final = "."
"""Stands for a conversation in which nobody has said anything: an empty list is refused."""
_DETAILS: Final = ("", "auto", "low", "high")
"""Any other word, such as OpenAI's `original`, is a 422 (`ImageDetail` in Mistral's OpenAPI file, 2026-11-21)."""


def messages(turns: Sequence[Turn], report: Report, *, replays_thinking: bool) -> list[Object]:
    """Returns the messages; an assistant turn that has nothing to say is left out, since it is refused."""
    made: list[Object] = []
    for number, turn in enumerate(turns):
        _note_losses(turn, report)
        if turn.role == "assistant":
            if message := _assistant(turn, report, replays_thinking=replays_thinking):
                made.append(message)
            if turn.is_prefix and number < len(turns) - 1:
                report.drop("messages.prefix")
        elif turn.role == "tool":
            made.append(_result(turn))
        else:
            made.append({"role": turn.role, "content": _content(turn.parts)})
    if made and made[-1]["role"] == "assistant":
        made[-1]["prefix"] = True
    return made or [{"role": "user", "content": NOTHING}]


def _note_losses(turn: Turn, report: Report) -> None:
    note_losses(turn, report, "name", "cache_control", "audio", "extra_content")
    if any(part.detail not in _DETAILS for part in turn.media):
        report.drop("messages.content.image_url.detail")


def _assistant(turn: Turn, report: Report, *, replays_thinking: bool) -> Object:
    thoughts = _thoughts(turn.thinking, report, replays_thinking=replays_thinking)
    parts = [*thoughts, *map(_part, turn.parts)] if thoughts else []
    content: Any = parts or (_content(turn.parts) if turn.parts else "")
    message: Object = {"role": "assistant", "content": content}
    if turn.calls:
        message["tool_calls"] = [
            {
                "id": tool_id(call.id),
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": encode(call.input()).decode() if call.is_custom else call.arguments or "{}",
                },
            }
            for call in turn.calls
        ]
    return message if content or turn.calls else {}


def _thoughts(thinking: Sequence[Thinking], report: Report, *, replays_thinking: bool) -> list[Object]:
    """Returns reasoning as Mistral's parts; what another vendor has signed or encrypted is of no use here."""
    found: list[Object] = []
    for thought in thinking:
        if thought.signature or thought.data or thought.format:
            report.drop("messages.reasoning_details")
        elif not replays_thinking:
            report.drop("messages.reasoning_content")
        elif thought.text:
            found.append({"type": "thinking", "thinking": [{"type": "text", "text": thought.text}]})
    return found


def _result(turn: Turn) -> Object:
    message: Object = {"role": "tool", "content": _content(turn.parts), "tool_call_id": tool_id(turn.call_id)}
    if turn.tool_name:
        message["name"] = turn.tool_name
    return message


def _content(parts: Sequence[Part]) -> str | list[Object]:
    if not parts:
        return ""
    first = parts[0]
    return first.text if len(parts) == 1 and isinstance(first, Text) else [_part(part) for part in parts]


def _part(part: Part) -> Object:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if part.kind == "image":
        return _image(part)
    if part.kind == "audio":
        return {"type": "input_audio", "input_audio": part.data or part.url}
    if part.kind == "file":
        return _file(part)
    raise Unsupported(part.where, f"{part.where}: Mistral takes no video; send single images of it")


def _image(part: Media) -> Object:
    if part.file_id:
        return {"type": "file", "file_id": part.file_id}
    image: Object = {"url": _address(part)}
    if part.detail and part.detail in _DETAILS:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _file(part: Media) -> Object:
    if part.file_id:
        return {"type": "file", "file_id": part.file_id}
    document: Object = {"type": "document_url", "document_url": _address(part)}
    if part.name:
        document["document_name"] = part.name
    return document


def _address(part: Media) -> str:
    if part.data:
        return f"data:{part.media_type or 'application/octet-stream'};base64,{part.data}"
    return part.url
