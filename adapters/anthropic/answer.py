"""How the form of the answer is asked for: a schema, a tool whose arguments are the answer, or words.

Theory. Newer models hold their answer to a schema (`output_config.format`). Older ones can be made to call a tool, and
the arguments of that call are the answer. Where neither goes, words must do, and that is reported. Request and answer
are read by different code at different times, so both ask `decide`, which depends on nothing but the call.
(platform.claude.com: structured outputs, 2026-08-22.)
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from adapters.anthropic.names import wire_name
from adapters.claude import Claude
from adapters.schema import Dialect, Inexpressible, fit
from adapters.structured import Format

SUBSET: Final = Dialect(
    keywords=frozenset(
        {"type", "properties", "required", "items", "enum", "const", "anyOf", "default", "format", "minItems"}
    ),
    formats=frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}),
    most_min_items=1,
    closes_objects=True,
)
"""What the protocol takes for answers and strict tools."""
MOST_OPTIONAL: Final = 24
"""Properties of one request that are not required, in answers and strict tools together."""
MOST_UNIONS: Final = 16
"""Types of one request that are unions."""
_NOT_AT_TOP: Final = frozenset({"anyOf", "oneOf", "allOf", "$ref"})
"""What the schema of a tool may not have at its top."""
_TOOL_TEXT: Final = "Gives the answer. Call it exactly once, with the whole answer."


class Form(Struct, frozen=True):
    """What is done about `response_format`."""

    schema: dict[str, Any] | None = None
    """Goes to `output_config.format`."""
    tool: dict[str, Any] | None = None
    """A tool that must be called: its input is the answer."""
    prompt: str = ""
    """Words for the system prompt."""
    is_weaker: bool = False
    """Some keywords of the schema bind no more: its descriptions tell them."""


PLAIN: Final = Form()


def decide(format: Format, claude: Claude, *, has_tools: bool, may_force: bool) -> Form:
    """Returns how an answer of this format is asked for."""
    if format.kind == "text":
        return PLAIN
    schema = format.schema
    if schema is None:
        return Form(prompt=format.prompt)
    if format.description and "description" not in schema:
        schema = {**schema, "description": format.description}
    if claude.has_json_schema:
        try:
            fitted = fit(schema, SUBSET)
        except Inexpressible:
            pass
        else:
            if fitted.optional <= MOST_OPTIONAL and fitted.unions <= MOST_UNIONS:
                return Form(schema=fitted.schema, is_weaker=bool(fitted.moved))
    if may_force and not has_tools and schema.get("type") == "object" and not schema.keys() & _NOT_AT_TOP:
        return Form(tool={"name": wire_name(format.name), "description": _TOOL_TEXT, "input_schema": schema})
    return Form(prompt=format.prompt)
