"""Turns -> Cohere's messages, and the documents that text files become."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.codec import encode
from adapters.cohere.names import legal_name
from adapters.conversation import Media, Part, Text, ToolCall, Turn
from adapters.distinct import Distinct
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.losses import note_losses
from adapters.settled import settle

Object = dict[str, Any]
_DETAILS: Final = ("auto", "low", "high")
_TEXT_TYPES: Final = ("text/", "application/json")
_INSTEAD: Final = {
    "audio": "send a transcript as text",
    "video": "send images of it",
    "file": "send its text, or a text file as inline data",
    "image": "send images in user messages, as an address or as inline data",
}


class Writer:
    """Writes one conversation; `documents` are the text files that were met."""

    def __init__(self, names: Mapping[str, str], report: Report) -> None:
        self._names = names
        self._report = report
        self._ids = Distinct()
        self._open: deque[str] = deque()
        """Ids of the last turn's calls, in the order in which their results follow."""
        self.documents: list[Object] = []

    def write(self, turns: Sequence[Turn], instructions: str) -> list[Object]:
        """Returns the messages: one system message first, `instructions` at its end, then the rest in order.

        Some models answer 400 to a system message behind others, so that later ones are moved to the front.
        """
        system: list[str] = []
        rest: list[Turn] = []
        for turn in turns:
            note_losses(turn, self._report, "name", "cache_control", "prefix", "is_error", "audio", "extra_content")
            if turn.role == "system":
                system.append(_text_only(turn))
            else:
                rest.append(turn)
        head = "\n\n".join(text for text in (*system, instructions) if text)
        messages: list[Object] = [{"role": "system", "content": head}] if head else []
        for turn in settle(rest):
            if turn.role == "user":
                messages.append({"role": "user", "content": self._user(turn)})
            elif turn.role == "assistant":
                messages.append(self._assistant(turn))
            else:
                messages.append(self._result(turn))
        return messages

    def _user(self, turn: Turn) -> str | list[Object]:
        parts = turn.parts
        if not parts:
            return ""
        if len(parts) == 1 and isinstance(parts[0], Text):
            return parts[0].text
        blocks = [block for part in parts if (block := self._block(part)) is not None]
        return blocks or ""

    def _block(self, part: Part) -> Object | None:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text} if part.text else None
        if part.kind == "image" and not part.file_id:
            return self._image(part)
        if part.kind == "file" and part.data and part.media_type.startswith(_TEXT_TYPES):
            self.documents.append(_document(part, len(self.documents)))
            return None
        raise _refused(part)

    def _image(self, part: Media) -> Object:
        image: Object = {"url": part.url or f"data:{part.media_type};base64,{part.data}"}
        if part.detail in _DETAILS:
            image["detail"] = part.detail
        elif part.detail:
            self._report.drop("messages.content.image_url.detail")
        return {"type": "image_url", "image_url": image}

    def _assistant(self, turn: Turn) -> Object:
        text, thinking = _text_only(turn), self._thinking(turn)
        message: Object = {"role": "assistant"}
        if turn.calls:
            message["tool_calls"] = [self._call(call) for call in turn.calls]
            if thinking:
                message["tool_plan"] = thinking
            if text:
                message["content"] = text
        elif thinking:
            blocks: list[Object] = [{"type": "thinking", "thinking": thinking}]
            message["content"] = [*blocks, {"type": "text", "text": text}] if text else blocks
        else:
            message["content"] = text
        return message

    def _thinking(self, turn: Turn) -> str:
        """Returns reasoning as text; what another vendor signed or encrypted is only for that vendor."""
        if any(block.signature or block.data for block in turn.thinking):
            self._report.drop("messages.reasoning_details")
        return "".join(block.text for block in turn.thinking if not (block.signature or block.data))

    def _call(self, call: ToolCall) -> Object:
        id = self._unique(call.id)
        self._open.append(id)
        given = call.input()
        is_odd = call.is_custom or not call.arguments.strip() or given.keys() & {"_raw_arguments", "value"}
        arguments = encode(given).decode() if is_odd else call.arguments
        name = self._names.get(call.name) or legal_name(call.name)
        return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _unique(self, id: str) -> str:
        """Cohere finds the call of a result by its id in the whole conversation, where agents may use it twice."""
        base = id or "call"
        return self._ids.give(base, lambda count: f"{base}_{count + 1}")

    def _result(self, turn: Turn) -> Object:
        return {"role": "tool", "tool_call_id": self._open.popleft(), "content": _text_only(turn)}


def _text_only(turn: Turn) -> str:
    for part in turn.media:
        raise _refused(part)
    return turn.text


def _refused(part: Media) -> Unsupported:
    return Unsupported(part.where, f"{part.where}: {part.kind} cannot be sent here to Cohere; {_INSTEAD[part.kind]}")


def _document(part: Media, number: int) -> Object:
    """Returns a text file as a document that the model can cite."""
    try:
        text = base64.b64decode(part.data, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise Unsupported(part.where, f"{part.where}: the file is not base64 of text in UTF-8") from error
    data = {"title": part.name, "text": text} if part.name else {"text": text}
    return {"id": f"doc:{number}", "data": data}
