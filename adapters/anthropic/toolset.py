"""Tools and their choice.

(platform.claude.com: tool use, strict tool use, structured outputs; 2026-08-22.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.anthropic.answer import MOST_OPTIONAL, MOST_UNIONS, SUBSET
from adapters.anthropic.history import cache_mark
from adapters.anthropic.names import wire_name
from adapters.claude import Claude
from adapters.codec import encode
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.schema import Fitted, Inexpressible, fit, object_schema
from adapters.tools import Tool, Toolbox, ToolChoice

Object = dict[str, Any]
MOST_STRICT: Final = 20
"""Strict tools of one request."""
_CUSTOM_SCHEMA: Final[Object] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}
"""A tool that takes free text: the text is the one property of its arguments."""


def offered(toolbox: Toolbox) -> Sequence[Tool]:
    """Returns the tools that the model may see: all, or the allowed ones."""
    choice = toolbox.choice
    if choice is None or not choice.allowed:
        return toolbox.tools
    found = [tool for tool in toolbox.tools if tool.name in choice.allowed]
    if not found:
        raise Unsupported("tool_choice", "tool_choice allows none of the tools")
    return found


def is_forced(choice: ToolChoice | None) -> bool:
    """True if the model must call a tool."""
    return choice is not None and choice.mode in ("required", "named")


def build_tools(tools: Sequence[Tool], claude: Claude, report: Report) -> list[Object]:
    """Returns the tools in the protocol's words, in the client's order."""
    names: set[str] = set()
    for tool in tools:
        if tool.name in names:
            raise Unsupported(tool.where, f"{tool.where}: there are two tools of the name {tool.name[:64]!r}")
        names.add(tool.name)
    strict = _strict(tools, claude)
    made = [_tool(tool, strict.get(tool.name), report) for tool in tools]
    if any(tool.strict and tool.name not in strict for tool in tools):
        report.drop("tools.function.strict")
    return made


def _tool(tool: Tool, strict: Fitted | None, report: Report) -> Object:
    made: Object = {"name": wire_name(tool.name)}
    description = tool.description
    if tool.is_custom and tool.format is not None:
        report.drop("tools.custom.format")
        description = f"{description}\n\nThe input must have this form: {encode(tool.format).decode()}".lstrip()
    if description:
        made["description"] = description
    if tool.is_custom:
        made["input_schema"] = _CUSTOM_SCHEMA
    elif strict is not None:
        made["input_schema"] = strict.schema
        made["strict"] = True
    else:
        made["input_schema"], is_lossy = object_schema(tool.parameters)
        if is_lossy:
            report.drop("tools.function.parameters")
    mark = cache_mark(tool.cache)
    if mark is not None:
        made["cache_control"] = mark
    return made


def _strict(tools: Sequence[Tool], claude: Claude) -> dict[str, Fitted]:
    """Returns the schemas of the strict tools that can be strict here; none if they are too much together."""
    if not claude.has_json_schema:
        return {}
    found: dict[str, Fitted] = {}
    for tool in tools:
        if tool.strict and not tool.is_custom:
            schema, is_lossy = object_schema(tool.parameters)
            if is_lossy:
                continue
            try:
                found[tool.name] = fit(schema, SUBSET)
            except Inexpressible:
                continue
    optional = sum(fitted.optional for fitted in found.values())
    unions = sum(fitted.unions for fitted in found.values())
    if len(found) > MOST_STRICT or optional > MOST_OPTIONAL or unions > MOST_UNIONS:
        return {}
    return found


def build_choice(choice: ToolChoice | None, *, parallel: bool | None, may_force: bool) -> Object | None:
    """Returns `tool_choice`; None if the default says the same. A force that is not taken becomes `auto`."""
    made: Object = {"type": "auto"}
    if choice is not None and choice.mode == "none":
        return {"type": "none"}
    if choice is not None and may_force:
        if choice.mode == "named":
            made = {"type": "tool", "name": wire_name(choice.name)}
        elif choice.mode == "required":
            made = {"type": "any"}
    if parallel is False:
        made["disable_parallel_tool_use"] = True
    is_default = choice is None and parallel is not False
    return None if is_default else made


def demand(choice: ToolChoice) -> str:
    """Returns the words that ask for a tool where none can be forced."""
    if choice.mode == "named":
        return f"Answer by calling the tool {wire_name(choice.name)}, and in no other way."
    return "Answer by calling one of the tools, and in no other way."
