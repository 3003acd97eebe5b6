"""What the answer's words mean to the client: names given back, reasons of ending, and inputs that are texts.

`reading` must agree with the request that was sent; both depend on nothing but the call and the model's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from adapters.anthropic.history import FORMAT
from adapters.anthropic.names import wire_name
from adapters.anthropic.request import read_asked
from adapters.codec import JSON, as_object, encode
from adapters.types import Call, Target

Object = dict[str, Any]
_FINISH: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
REFUSAL: Final = "The provider's safety system stopped this answer."
"""Stands for a refusal without an explanation."""
_TOUCHED: Final = frozenset({"tools", "functions", "response_format"})


class Reading(Struct, frozen=True):
    """How to read the answer to one call."""

    names: Mapping[str, str] = {}
    """Tool names of the wire -> the client's, where they differ."""
    customs: frozenset[str] = frozenset()
    """Wire names of tools that take free text."""
    answer_tool: str = ""
    """The tool whose input is the answer itself."""
    is_fenced: bool = False
    """JSON was asked for in words, and may come in a fence of Markdown."""

    def name(self, name: str) -> str:
        """Returns the client's name of a tool."""
        return self.names.get(name, name)


PLAIN: Final = Reading()


def read_reading(call: Call, target: Target) -> Reading:
    """Returns how to read the answer to `call`."""
    if _TOUCHED.isdisjoint(call.fields):
        return PLAIN
    asked = read_asked(call.fields, target.model)
    tools = asked.toolbox.tools
    tool = asked.form.tool
    return Reading(
        {wire: each.name for each in tools if (wire := wire_name(each.name)) != each.name},
        frozenset(wire_name(each.name) for each in tools if each.is_custom),
        tool["name"] if tool is not None else "",
        bool(asked.form.prompt),
    )


def finish_of(reason: JSON, *, has_calls: bool) -> str:
    """Returns OpenAI's finish reason; calls make a natural end a `tool_calls`, since clients go by that."""
    found = _FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
    if found in ("stop", "tool_calls"):
        return "tool_calls" if has_calls else "stop"
    return found


def refusal_of(details: JSON) -> str:
    """Returns the words of a refusal."""
    explanation = as_object(details).get("explanation")
    return explanation if isinstance(explanation, str) and explanation else REFUSAL


def thinking_detail(text: str, signature: str, index: int) -> Object:
    """Returns signed reasoning as the client shall send it back."""
    return {"type": "reasoning.text", "text": text, "signature": signature, "format": FORMAT, "index": index}


def hidden_detail(data: str, index: int) -> Object:
    """Returns reasoning that only the vendor can read, as the client shall send it back."""
    return {"type": "reasoning.encrypted", "data": data, "format": FORMAT, "index": index}


def custom_input(input: JSON) -> str:
    """Returns the free text that a custom tool was called with."""
    text = as_object(input).get("input")
    return text if isinstance(text, str) else encode(input).decode()
