"""Tools and what is said about their use -> `toolConfig` of Converse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.bedrock.messages import CachePoints
from adapters.bedrock.models import Model
from adapters.bedrock.names import tool_name
from adapters.codec import encode
from adapters.fidelity import Report
from adapters.schema import Dialect, Inexpressible, fit, object_schema
from adapters.structured import Format
from adapters.tools import Tool, Toolbox, ToolChoice

Object = dict[str, Any]
ANSWER_TOOL: Final = "answer_in_this_form"
"""The tool that a model without structured output is made to call with its answer."""
CUSTOM_INPUT: Final = "input"
CLAUDE_DIALECT: Final = Dialect(
    keywords=frozenset({"properties", "required", "items", "enum", "const", "anyOf", "allOf", "default", "format"}),
    formats=frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}),
    closes_objects=True,
)
"""What constrained answers of Claude take (platform.claude.com, structured outputs, 2026-08-22)."""
_NOVA_DIALECT: Final = Dialect(
    keywords=frozenset(
        {
            "properties", "required", "items", "enum", "const", "anyOf", "oneOf", "allOf", "format", "pattern",
            "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default", "additionalProperties",
        }
    ),
    cuts_recursion=True,
)  # fmt: skip
_NOVA_TOP: Final = ("type", "properties", "required")
"""All that the top of a tool's schema may hold (docs.aws.amazon.com/nova, tool use, 2026-11-21)."""


def tool_config(toolbox: Toolbox, model: Model, points: CachePoints, report: Report) -> Object | None:
    """Returns `toolConfig`, None if no tool can be used."""
    choice = toolbox.choice
    if not toolbox.tools or (choice is not None and choice.mode == "none"):
        return None
    tools: list[Object] = []
    for tool in _usable(toolbox.tools, choice, model):
        tools.append({"toolSpec": _spec(tool, model, report)})
        tools.extend(points.after(tool.cache, is_tool=True))
    config: Object = {"tools": tools}
    wanted = _choice(choice, model)
    if wanted is None and choice is not None:
        report.drop("function_call" if toolbox.is_legacy else "tool_choice")
    if wanted is not None:
        config["toolChoice"] = wanted
    return config


def answer_config(form: Format) -> Object:
    """Returns the `toolConfig` that makes the model answer by calling one tool with its answer."""
    schema, _ = object_schema(form.schema)
    description = form.description or "Gives the answer. Must be called, with the whole answer."
    spec: Object = {"name": ANSWER_TOOL, "description": description, "inputSchema": {"json": schema}}
    return {"tools": [{"toolSpec": spec}], "toolChoice": {"tool": {"name": ANSWER_TOOL}}}


def text_format(form: Format, model: Model, report: Report) -> Object | None:
    """Returns `outputConfig.textFormat`, None for a schema that the model cannot be held to."""
    schema = form.schema or {"type": "object"}
    if model.claude.is_known:
        try:
            fitted = fit(schema, CLAUDE_DIALECT)
        except Inexpressible:
            return None
        if fitted.moved:
            report.drop("response_format.json_schema.schema")
        schema = fitted.schema
    definition: Object = {"schema": encode(schema).decode(), "name": form.name}
    if form.description:
        definition["description"] = form.description
    return {"type": "json_schema", "structure": {"jsonSchema": definition}}


def _usable(tools: Sequence[Tool], choice: ToolChoice | None, model: Model) -> Sequence[Tool]:
    """Returns the tools that may be called: all, those that the client allows, or the one that it names."""
    if choice is None:
        return tools
    if choice.mode == "named" and model.choice != "all":
        return [tool for tool in tools if tool.name == choice.name]
    if choice.allowed:
        return [tool for tool in tools if tool.name in choice.allowed] or tools
    return tools


def _choice(choice: ToolChoice | None, model: Model) -> Object | None:
    """Returns `toolChoice`, None if the client said nothing or the model cannot be forced."""
    if choice is None:
        return None
    if choice.mode == "auto":
        return {"auto": {}}
    if model.choice == "none" or model.claude.forced_tools == "no":
        return None
    if choice.mode == "named" and model.choice == "all":
        return {"tool": {"name": tool_name(choice.name)}}
    return {"any": {}}


def _spec(tool: Tool, model: Model, report: Report) -> Object:
    spec: Object = {"name": tool_name(tool.name)}
    if description := tool.description.strip():
        spec["description"] = description
    if tool.is_custom:
        if tool.format is not None:
            report.drop("tools.custom.format")
        schema: Object = {
            "type": "object",
            "properties": {CUSTOM_INPUT: {"type": "string"}},
            "required": [CUSTOM_INPUT],
        }
        spec["inputSchema"] = {"json": schema}
        return spec
    schema, is_lossy = object_schema(tool.parameters)
    if is_lossy:
        report.drop("tools.function.parameters")
    strict = _strict(schema, model) if tool.strict else None
    if strict is not None:
        spec["strict"] = True
        schema = strict
    elif tool.strict:
        report.drop("tools.function.strict")
    spec["inputSchema"] = {"json": _plain(schema, report) if model.plain_schemas else schema}
    return spec


def _strict(schema: Object, model: Model) -> Object | None:
    """Returns the schema that the model can be held to, None if there is none."""
    if model.form != "native":
        return None
    if not model.claude.is_known:
        return schema
    try:
        return fit(schema, CLAUDE_DIALECT).schema
    except Inexpressible:
        return None


def _plain(schema: Object, report: Report) -> Object:
    try:
        schema = fit(schema, _NOVA_DIALECT).schema
    except Inexpressible:  # its references would point nowhere
        report.drop("tools.function.parameters")
        return {"type": "object", "properties": {}}
    return {name: schema[name] for name in _NOVA_TOP if name in schema}
