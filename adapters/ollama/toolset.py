"""Tools of a request -> Ollama's, which knows functions only, and no way to force one.

The server reads a schema into a typed value (api/types.go, read 2026-08-21): it keeps the keywords below, loses the
rest without a word, and answers 400 where a type is not as it expects. What it would lose is told in descriptions.
"""

from __future__ import annotations

from typing import Any, Final

from adapters.codec import JSON, as_object, encode
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.fields import Fields
from adapters.schema import Dialect, Inexpressible, fit, object_schema
from adapters.tools import Tool, Toolbox, read_tools

Object = dict[str, Any]
_DIALECT: Final = Dialect(
    keywords=frozenset({"properties", "required", "items", "enum", "anyOf"}),
    cuts_recursion=True,
)
_CUSTOM_INPUT: Final = "input"


def write_tools(fields: Fields, report: Report) -> list[Object]:
    """Returns the tools that the model may use, none if the client forbids them; raises Unsupported."""
    box = read_tools(fields)
    tools = _chosen(box, report)
    if any(tool.strict for tool in tools):
        report.drop("tools.function.strict")
    if any(tool.cache is not None for tool in tools):
        report.drop("tools.cache_control")
    return [_custom(tool) if tool.is_custom else _function(tool, report) for tool in tools]


def _chosen(box: Toolbox, report: Report) -> list[Tool]:
    """Returns the tools to send; that one of them must be used cannot be said."""
    choice, tools = box.choice, list(box.tools)
    if choice is None:
        return tools
    if choice.mode == "none":
        return []
    if choice.allowed:
        tools = [tool for tool in tools if tool.name in choice.allowed]
    if choice.mode in ("required", "named"):
        if not tools:
            raise Unsupported("tool_choice", "tool_choice asks for a tool, but there is none in tools")
        report.drop("function_call" if box.is_legacy else "tool_choice")
    return [tool for tool in tools if tool.name == choice.name] if choice.mode == "named" else tools


def _function(tool: Tool, report: Report) -> Object:
    made: Object = {"name": tool.name}
    if tool.description:
        made["description"] = tool.description
    made["parameters"] = _parameters(tool, report)
    return {"type": "function", "function": made}


def _parameters(tool: Tool, report: Report) -> Object:
    schema, is_lossy = object_schema(as_object(tool.parameters))
    if is_lossy:
        report.drop("tools.function.parameters")
    try:
        return fit(schema, _DIALECT).schema
    except Inexpressible:
        report.drop("tools.function.parameters")
        return {"type": "object", "properties": {}}


def _custom(tool: Tool) -> Object:
    """A tool that takes free text, as a function with one string."""
    description = tool.description
    if as_object(tool.format).get("type") == "grammar":
        description = f"{description}\n\nThe input has this format: {encode(tool.format).decode()}".strip()
    made: Object = {"name": tool.name}
    if description:
        made["description"] = description
    made["parameters"] = {
        "type": "object",
        "properties": {_CUSTOM_INPUT: {"type": "string"}},
        "required": [_CUSTOM_INPUT],
    }
    return {"type": "function", "function": made}


def custom_names(fields: Fields) -> frozenset[str]:
    """Returns the names of the tools that take free text."""
    return frozenset(tool.name for tool in read_tools(fields).tools if tool.is_custom)


def custom_input(arguments: JSON) -> str:
    """Returns the free text that a custom tool was called with."""
    found = as_object(arguments).get(_CUSTOM_INPUT)
    return found if isinstance(found, str) else encode(arguments).decode()
