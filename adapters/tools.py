"""The tools of a request, and what the client says about their use, read once for every protocol of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from adapters.codec import JSON, as_list, as_object, as_text
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.fields import Fields, boolean, value

Object = dict[str, Any]
MOST_TOOLS: Final = 512
"""Far more than any vendor takes; each may hold a schema that costs milliseconds to translate."""
Mode = Literal["auto", "none", "required", "named"]
_NO_PARAMETERS: Final[Object] = {"type": "object", "properties": {}}
_MODES: Final[dict[str, Mode]] = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


class Tool(Struct, frozen=True):
    """One function, or a custom tool that takes free text."""

    name: str
    where: str
    """`tools[0]`, for errors."""
    description: str = ""
    parameters: JSON = None
    """JSON Schema as the client wrote it; None if it gave none."""
    strict: bool = False
    is_custom: bool = False
    format: JSON = None
    """A custom tool's grammar."""
    cache: JSON = None
    """`cache_control`, on the tool or on its function."""


class ToolChoice(Struct, frozen=True):
    """Which tools the model may or must use."""

    mode: Mode
    name: str = ""
    """The tool that must be used, if `mode` is `named`."""
    allowed: Mapping[str, None] = {}
    """Names of the only tools that may be used (`allowed_tools`), in the client's order; empty means all."""


class Toolbox(Struct, frozen=True):
    """Everything about tools in one request."""

    tools: tuple[Tool, ...] = ()
    choice: ToolChoice | None = None
    """None if the client said nothing."""
    parallel: bool | None = None
    is_legacy: bool = False
    """The client wrote `functions`, so the answer must be a `function_call`."""


NO_TOOLS: Final = Toolbox()
_FIELDS: Final = frozenset({"tools", "functions", "tool_choice", "function_call", "parallel_tool_calls"})


def read_tools(fields: Fields) -> Toolbox:
    """Returns the tools of a request; raises Unsupported naming the one that cannot be read."""
    if _FIELDS.isdisjoint(fields):
        return NO_TOOLS
    tools = tuple(_tool(as_object(item), f"tools[{index}]") for index, item in enumerate(_items(fields, "tools")))
    is_legacy = False
    named, choice = "tool_choice", value(fields, "tool_choice")
    if not tools:
        functions = _items(fields, "functions")
        is_legacy = bool(functions)
        tools = tuple(_function(as_object(item), f"functions[{index}]") for index, item in enumerate(functions))
        if choice is None:
            named, choice = "function_call", value(fields, "function_call")
    parallel = boolean(fields, "parallel_tool_calls")
    return Toolbox(tools, _choice(choice, tools, named), parallel, is_legacy)


def add_functions(body: Object, box: Toolbox, report: Report, vendor: str, *, takes_strict: bool = False) -> bool:
    """Adds `tools` and `tool_choice` in OpenAI's shape, for servers that refuse keys which they do not know.

    Returns whether there are any tools; raises Unsupported for custom ones.
    """
    choice, tools = box.choice, box.tools
    if choice is not None and choice.allowed:
        tools = tuple(tool for tool in tools if tool.name in choice.allowed)
    if not tools:
        return False
    if any(tool.cache is not None for tool in tools):
        report.drop("tools.cache_control")
    body["tools"] = [_as_function(tool, vendor, takes_strict=takes_strict) for tool in tools]
    if choice is not None:
        is_named = choice.mode == "named"
        body["tool_choice"] = {"type": "function", "function": {"name": choice.name}} if is_named else choice.mode
    return True


def _as_function(tool: Tool, vendor: str, *, takes_strict: bool) -> Object:
    if tool.is_custom:
        message = f"{tool.where}: {vendor} knows functions only; describe the tool as a function with one string"
        raise Unsupported(tool.where, message)
    function: Object = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.strict and takes_strict:
        function["strict"] = True
    function["parameters"] = tool.parameters or _NO_PARAMETERS
    return {"type": "function", "function": function}


def _items(fields: Fields, name: str) -> list[JSON]:
    found = value(fields, name)
    if found is not None and not isinstance(found, list):
        raise Unsupported(name, f"{name} must be an array")
    if len(as_list(found)) > MOST_TOOLS:
        raise Unsupported(name, f"{name} may hold at most {MOST_TOOLS} items, got {len(as_list(found))}")
    return as_list(found)


def _tool(item: Object, where: str) -> Tool:
    kind = item.get("type", "function")
    cache: JSON = item.get("cache_control")
    if kind == "custom":
        inner = as_object(item.get("custom"))
        return Tool(
            _name(inner, f"{where}.custom"),
            where,
            as_text(inner.get("description")),
            is_custom=True,
            format=inner.get("format"),
            cache=cache,
        )
    if kind != "function":
        raise Unsupported(f"{where}.type", f"{where}: tools of type {kind!r} cannot be sent to this provider")
    return _function(as_object(item.get("function")), f"{where}.function", cache)


def _function(item: Object, where: str, cache: JSON = None) -> Tool:
    parameters: JSON = item.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise Unsupported(f"{where}.parameters", f"{where}.parameters must be a JSON Schema object")
    return Tool(
        _name(item, where),
        where,
        as_text(item.get("description")),
        parameters,
        strict=item.get("strict") is True,
        cache=cache if cache is not None else item.get("cache_control"),
    )


def _name(item: Object, where: str) -> str:
    name = item.get("name")
    if not isinstance(name, str) or not name:
        raise Unsupported(f"{where}.name", f"{where}.name must be a string that is not empty")
    return name


def _choice(value: JSON, tools: tuple[Tool, ...], where: str) -> ToolChoice | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value not in _MODES:
            raise Unsupported(where, f"{where} {value[:64]!r} is not one of auto, none, required")
        return ToolChoice(_MODES[value])
    members = as_object(value)
    if members.get("type") == "allowed_tools":
        return _allowed(as_object(members.get("allowed_tools")) or members, tools)
    named = as_object(members.get("function")) or as_object(members.get("custom")) or members
    name = named.get("name")
    if not isinstance(name, str) or not any(tool.name == name for tool in tools):
        raise Unsupported(where, f"{where} names {name!r}, which is not among the tools")
    return ToolChoice("named", name)


def _allowed(members: Object, tools: tuple[Tool, ...]) -> ToolChoice:
    items = [as_object(item) for item in as_list(members.get("tools"))]
    named = [as_object(item.get("function")) or as_object(item.get("custom")) or item for item in items]
    allowed = {name: None for item in named if isinstance(name := item.get("name"), str)}
    if not any(tool.name in allowed for tool in tools):
        raise Unsupported("tool_choice", "tool_choice allows none of the tools")
    mode: Mode = "required" if members.get("mode") == "required" else "auto"
    return ToolChoice(mode, allowed=allowed)
