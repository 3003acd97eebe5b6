"""What OpenAI-compatible servers get wrong in a message or delta, put right. Works on decoded choices, in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.codec import JSON, as_list, as_object, is_null, raw
from adapters.rules import ParamRules
from adapters.types import Call

Object = dict[str, Any]

STANDARD_FINISH: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
FINISH: Final[Mapping[str, str]] = {
    "eos": "stop",  # Together, TGI
    "eos_token": "stop",  # TGI
    "end_turn": "stop",
    "stop_sequence": "stop",
    "model_length": "length",  # Mistral
    "max_tokens": "length",
    "model_context_window_exceeded": "length",  # Z.AI
    "sensitive": "content_filter",  # Z.AI
    "content_filtered": "content_filter",
    "tool_use": "tool_calls",
}
BROKEN_FINISH: Final = frozenset(
    {
        "insufficient_system_resource",  # DeepSeek
        "network_error",  # Z.AI
        "error",  # OpenRouter
        "abort",  # SGLang
    }
)
"""Words that say the upstream gave up: an error, never an end."""


def finish_reason(word: str, has_tool_calls: bool) -> str | None:
    """Returns OpenAI's word for a vendor's finish reason; None for "" without tool calls."""
    if word in STANDARD_FINISH:
        return word
    if not word:
        return "tool_calls" if has_tool_calls else None
    return FINISH.get(word, "stop")


def lift_reasoning(message: Object) -> None:
    """Puts reasoning under `reasoning_content`, once, wherever the upstream wrote it.

    Servers that send the same text under two names are common, so the first non-empty one is taken, never a sum.
    `reasoning_details` stays: OpenRouter wants it back unchanged (openrouter.ai/docs, read 2026-11-21).
    """
    plain = message.get("reasoning")
    if isinstance(plain, str):
        del message["reasoning"]
    if message.get("reasoning_content"):
        return
    text = plain if isinstance(plain, str) and plain else _details_text(message.get("reasoning_details"))
    if text:
        message["reasoning_content"] = text


def _details_text(details: JSON) -> str:
    parts = [as_object(item) for item in as_list(details)]
    texts = (part.get("text") or part.get("summary") for part in parts)
    return "".join(text for text in texts if isinstance(text, str))


def join_content(message: Object) -> None:
    """Turns a list of content parts into text and reasoning (Mistral's `thinking` parts, some vLLM versions)."""
    parts = message.get("content")
    if not isinstance(parts, list):
        return
    text: list[str] = []
    thinking: list[str] = []
    for part in map(as_object, as_list(parts)):
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            texts = (as_object(item).get("text") for item in as_list(inner))
            thinking.extend(text for text in texts if isinstance(text, str))
            if isinstance(inner, str):
                thinking.append(inner)
        elif isinstance(part.get("text"), str):
            text.append(part["text"])
    message["content"] = "".join(text)
    if thinking:
        message["reasoning_content"] = "".join(thinking)


def asks_with_functions(call: Call, rules: ParamRules) -> bool:
    """True if the client used the old `functions` field and the upstream saw tools instead."""
    return rules.wrap_functions and not is_null(call.fields.get("functions"))


def as_function_call(message: Object, finish: JSON) -> JSON:
    """Tells the first tool call of a message or delta in the old form, and returns the finish that goes with it."""
    calls = [as_object(call) for call in as_list(message.pop("tool_calls", None))]
    first = next((call for call in calls if call.get("index", 0) == 0), None)
    if first is not None:
        message["function_call"] = first.get("function")
    return "function_call" if finish == "tool_calls" else finish


def complete_tool_call(call: Object, fallback_id: str) -> None:
    """Gives a whole tool call the id, type and argument string that OpenAI's shape demands."""
    call["id"] = call.get("id") or fallback_id
    call["type"] = call.get("type") or "function"
    if isinstance(call.get("function"), dict):
        function = as_object(call["function"])
        function["arguments"] = argument_text(function.get("arguments")) or "{}"


def argument_text(value: JSON) -> str:
    """Returns tool arguments as the string of JSON that clients expect."""
    if value is None:
        return ""
    return value if isinstance(value, str) else bytes(raw(value)).decode()


class ThinkTags:
    """Takes `<think>...</think>` at the head of a text apart, however the text is cut into pieces."""

    _OPEN = "<think>"
    _CLOSE = "</think>"

    __slots__ = ("_held", "_state")

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"

    def feed(self, text: str) -> tuple[str, str]:
        """Returns (reasoning, content) of the next piece; a possible piece of a tag is held back."""
        text = self._held + text
        self._held = ""
        if self._state == "start":
            return self._start(text)
        if self._state in ("opened", "inside"):
            return self._inside(text)
        if self._state == "after":
            text = text.lstrip("\n")
            self._state = "content" if text else "after"
        return "", text

    def close(self) -> tuple[str, str]:
        """Returns what was held back when the text ends."""
        held, self._held = self._held, ""
        return (held, "") if self._state == "inside" else ("", held)

    def _start(self, text: str) -> tuple[str, str]:
        head = text.lstrip()
        if head.startswith(self._OPEN):
            self._state = "opened"
            return self._inside(head[len(self._OPEN) :])
        if self._OPEN.startswith(head):
            self._held = text
            return "", ""
        self._state = "content"
        return "", text

    def _inside(self, text: str) -> tuple[str, str]:
        if self._state == "opened" and text:
            self._state = "inside"
            text = text.removeprefix("\n")
        reasoning, tag, rest = text.partition(self._CLOSE)
        if tag:
            self._state = "after"
            return reasoning, self.feed(rest)[1]
        keep = _overlap(text, self._CLOSE)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], ""


def _overlap(text: str, tag: str) -> int:
    """Returns how many characters at the end of `text` may be the beginning of `tag`."""
    return next((n for n in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:n])), 0)


def split_think_tags(message: Object, rules: ParamRules) -> None:
    """Moves `<think>` text of a whole message to `reasoning_content`, for rows that say so."""
    content = message.get("content")
    if rules.reasoning_out != "think_tags" or not isinstance(content, str):
        return
    tags = ThinkTags()
    pieces = (tags.feed(content), tags.close())
    reasoning = "".join(piece[0] for piece in pieces)
    if reasoning:
        message["reasoning_content"] = reasoning
        message["content"] = "".join(piece[1] for piece in pieces)
