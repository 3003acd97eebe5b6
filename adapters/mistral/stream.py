"""Mistral's chat streams: OpenAI's, but for `null` ids, usage beside the finish, and repeated prefixes."""

from __future__ import annotations

from typing import Any, Final

from adapters.mistral.ids import NO_ID
from adapters.mistral.reply import as_openai
from adapters.mistral.request import implied_prefix
from adapters.openai.choice import ChoiceState
from adapters.openai.stream import OpenAIStream
from adapters.types import Call, Head, Target

Object = dict[str, Any]
_PADDING: Final = b',"p":"'


class MistralChoice(ChoiceState):
    """Memory of one choice, which may begin with a text that the client knows already."""

    __slots__ = ("_held", "_prefix")

    def __init__(self, index: int, call: Call, target: Target, prefix: str) -> None:
        super().__init__(index, call, target.rules)
        self._prefix = prefix
        self._held = ""

    def watch_call(self, index: int | None, id: str | None, type: str | None, function: bytes) -> bool:
        """Returns whether the delta must be rewritten; an id that is none always must."""
        return super().watch_call(index, None if id == NO_ID else id, type, function) or id == NO_ID

    def _repair_call(self, call: Object, position: int) -> None:
        if call.get("id") == NO_ID:
            del call["id"]
        super()._repair_call(call, position)

    def _split_text(self, delta: Object, *, is_last: bool) -> None:
        content = delta.get("content")
        if not self._prefix or not (isinstance(content, str) or is_last):
            return
        text = self._held + (content if isinstance(content, str) else "")
        if not is_last and len(text) < len(self._prefix) and self._prefix.startswith(text):
            self._held, delta["content"] = text, ""
            return
        delta["content"] = text.removeprefix(self._prefix)
        self._held = self._prefix = ""


class MistralStream(OpenAIStream):
    """Decoder of one chat stream."""

    def __init__(self, call: Call, target: Target, head: Head) -> None:
        super().__init__(call, as_openai(target), head)
        self._prefix = implied_prefix(call)
        self._watches_text = bool(self._prefix)
        # Usage stands beside the finish, unasked; it is told in a chunk of its own to those who asked.
        self._strips_usage = True

    def _event(self, block: bytes) -> bytes | None:
        plain = _without_padding(block)
        instead = super()._event(plain)
        return plain + b"\n\n" if instead is None and plain is not block else instead

    def _state(self, index: int) -> ChoiceState:
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = MistralChoice(index, self._call, self._target, self._prefix)
        return state


def _without_padding(block: bytes) -> bytes:
    """Returns an event without the letters of changing number that hide its length on the wire (seen 2026-08).

    They end the event, and a quote inside a string is escaped, so that what is found is a key of the top level. Without
    them events are alike again, which makes them cheap to recognise.
    """
    at = block.rfind(_PADDING)
    if at > 0 and block.endswith(b'"}') and block[at + len(_PADDING) : -2].isalnum():
        return block[:at] + b"}"
    return block
