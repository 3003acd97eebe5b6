"""The client's tools in Gemini's words: declarations, which of them may be used, and Google's own tools."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from adapters.codec import JSON, as_list, as_object, decode, raw
from adapters.errors import Unsupported
from adapters.fidelity import Report
from adapters.fields import Fields, members
from adapters.gemini.models import Model
from adapters.gemini.names import sent_name
from adapters.gemini.schema import parameters_of
from adapters.schema import Inexpressible
from adapters.tools import Tool, Toolbox, ToolChoice, read_tools

Object = dict[str, Any]
GOOGLE_TOOLS: Final = {
    "googleSearch": "googleSearch",
    "google_search": "googleSearch",
    "googleMaps": "googleMaps",
    "google_maps": "googleMaps",
    "codeExecution": "codeExecution",
    "code_execution": "codeExecution",
    "urlContext": "urlContext",
    "url_context": "urlContext",
    "fileSearch": "fileSearch",
    "file_search": "fileSearch",
}
"""Tools that run at Google, as its clients write them into `tools`: an object with this one member."""
_MARK: Final = re.compile(f'"({"|".join(GOOGLE_TOOLS)})"'.encode())
_CUSTOM_PARAMETERS: Final[Object] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}
_WEB_SEARCH: Final = "web_search_options"


class Toolset(msgspec.Struct, frozen=True):
    """What goes upstream about tools."""

    tools: list[Object]
    config: Object | None
    has_functions: bool


def build_toolset(fields: Fields, model: Model, report: Report) -> Toolset:
    """Returns Gemini's `tools` and `toolConfig`; raises Unsupported."""
    own, rest = _google_tools(fields)
    box = read_tools(rest)
    if box.parallel is False:
        report.drop("parallel_tool_calls")
    declared = [_declaration(tool, model, report) for tool in _declared(box, model)]
    tools: list[Object] = [{"functionDeclarations": declared}] if declared else []
    tools += own
    if search := _web_search(fields, report, has_functions=bool(declared)):
        tools.append(search)
    calling = _calling(box, model, report) if declared else None
    if not declared and box.choice is not None and box.choice.mode not in ("auto", "none"):
        report.drop("tool_choice")
    return Toolset(tools, {"functionCallingConfig": calling} if calling else None, bool(declared))


def function_names(fields: Fields) -> tuple[dict[str, str], frozenset[str]]:
    """Returns (the client's names by the sent names that differ, the sent names of custom tools) for an answer."""
    if "tools" not in fields and "functions" not in fields:
        return {}, frozenset()
    tools = read_tools(_google_tools(fields)[1]).tools
    renamed = {sent: tool.name for tool in tools if (sent := sent_name(tool.name)) != tool.name}
    return renamed, frozenset(sent_name(tool.name) for tool in tools if tool.is_custom)


def _google_tools(fields: Fields) -> tuple[list[Object], Fields]:
    """Takes the tools that run at Google out of the client's list."""
    member = fields.get("tools")
    if member is None or _MARK.search(member) is None:
        return [], fields
    items: list[JSON] = as_list(decode(member))
    own: list[Object] = []
    others: list[JSON] = []
    for item in items:
        name = next(iter(as_object(item)), "")
        if len(as_object(item)) == 1 and name in GOOGLE_TOOLS:
            own.append({GOOGLE_TOOLS[name]: as_object(as_object(item)[name])})
        else:
            others.append(item)
    changed: dict[str, Raw] = {key: value for key, value in fields.items() if key != "tools"}
    if others:
        changed["tools"] = raw(others)
    return own, changed


def _declared(box: Toolbox, model: Model) -> tuple[Tool, ...]:
    """The tools that are declared: all, unless the model has no other way to be kept from some."""
    choice = box.choice
    if choice is None or not choice.allowed or choice.mode != "auto" or model.has_validated_mode:
        return box.tools
    return tuple(tool for tool in box.tools if tool.name in choice.allowed)


def _declaration(tool: Tool, model: Model, report: Report) -> Object:
    if tool.cache is not None:
        report.drop("tools.cache_control")
    if tool.strict and not model.has_validated_mode:
        report.drop("tools.function.strict")
    if tool.format is not None:
        report.drop("tools.custom.format")
    made: Object = {"name": sent_name(tool.name)}
    if tool.description:
        made["description"] = tool.description
    schema = _CUSTOM_PARAMETERS if tool.is_custom else tool.parameters
    try:
        parameters = parameters_of(schema, is_json_schema=model.has_json_schema)
    except Inexpressible as error:
        raise Unsupported(f"{tool.where}.parameters", f"{tool.where}.parameters: {error}") from None
    if parameters is not None:
        made["parametersJsonSchema" if model.has_json_schema else "parameters"] = parameters
    return made


def _calling(box: Toolbox, model: Model, report: Report) -> Object | None:
    choice = box.choice or ToolChoice("auto")
    allowed = [sent_name(name) for name in choice.allowed]
    if choice.mode == "named":
        return {"mode": "ANY", "allowedFunctionNames": [sent_name(choice.name)]}
    if choice.mode == "none":
        return {"mode": "NONE"}
    if choice.mode == "required":
        return {"mode": "ANY", "allowedFunctionNames": allowed} if allowed else {"mode": "ANY"}
    if allowed and model.has_validated_mode:
        return {"mode": "VALIDATED", "allowedFunctionNames": allowed}
    if any(tool.strict for tool in box.tools) and model.has_validated_mode:
        return {"mode": "VALIDATED"}
    return {"mode": "AUTO"} if box.choice is not None else None


def _web_search(fields: Fields, report: Report, *, has_functions: bool) -> Object | None:
    options = members(fields, _WEB_SEARCH)
    if options is None:
        return None
    if has_functions:
        # Both together need the server's own calls to travel through the conversation, which OpenAI's has no place for.
        report.drop(_WEB_SEARCH)
        return None
    for name in options:
        report.drop(f"{_WEB_SEARCH}.{name}")
    return {"googleSearch": {}}
