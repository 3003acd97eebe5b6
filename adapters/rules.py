"""What a provider row may say about request fields and answers: data only, no code per provider.

`ParamRules` is the vocabulary; `adapters.quirks` applies it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

JsonSchemaSupport = Literal["native", "json_object", "reject"]
JsonObjectSupport = Literal["native", "json_schema", "reject"]
ToolChoiceMap = Literal["auto", "required", "any", "drop", "filter"]
ReasoningOut = Literal["fields", "think_tags", "content_list"]
ReasoningIn = Literal["keep", "drop", "with_tool_calls"]
VectorBytes = Literal["float32", "int8"]
StreamUsage = Literal["opt_in", "always", "none"]


def _no_names() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ModelRules:
    """Rules for the models whose id matches one of `match` (shell-style patterns, case-insensitive)."""

    match: tuple[str, ...]
    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=_no_names)
    clamp: Mapping[str, tuple[float | None, float | None]] = field(default_factory=lambda: MappingProxyType({}))
    tool_choice: Mapping[str, ToolChoiceMap] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class ParamRules:
    """Deviations of one provider from OpenAI's wire. The defaults mean: send everything as it came."""

    rename: Mapping[str, str] = field(default_factory=_no_names)
    """Old name -> new name; an explicit new name in the request wins."""
    drop: frozenset[str] = frozenset()
    """Top-level fields that the upstream refuses or ignores."""
    drop_values: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Field -> raw JSON values that are dropped (such as `n: ["1"]`)."""
    clamp: Mapping[str, tuple[float | None, float | None]] = field(default_factory=lambda: MappingProxyType({}))
    """Number field -> lowest and highest value the upstream takes; values outside are moved to the border."""
    limit_items: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Array field -> most items the upstream takes; more is a 400 naming the field."""
    reject_above: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Number field -> highest value; more is a 400 naming the field (a lower one would be a silent lie)."""
    defaults: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """Fields added when the client sent none."""
    roles: Mapping[str, str] = field(default_factory=_no_names)
    """Message role -> role that the upstream knows."""
    message_drop: frozenset[str] = frozenset()
    """Keys removed from every message."""
    string_content: bool = False
    """Lists of text parts become one string."""
    strip_nulls: bool = False
    """Keys whose value is null are removed, top level and messages."""
    wrap_functions: bool = False
    """The old `functions`/`function_call` form becomes tools."""
    tool_choice: Mapping[str, ToolChoiceMap] = field(default_factory=lambda: MappingProxyType({}))
    """`auto`/`none`/`required`/`named` -> what is sent instead.

    `filter` keeps only the named tool and sends `required`."""
    tool_drop: frozenset[str] = frozenset()
    """Keys removed from every tool's function object (such as `strict`)."""
    json_schema: JsonSchemaSupport = "native"
    """`json_object` puts the schema into the prompt."""
    json_object: JsonObjectSupport = "native"
    """`json_schema` sends a schema that allows any object."""
    reasoning_out: ReasoningOut = "fields"
    """Where reasoning arrives: in fields of its own, between <think> tags, or as parts of a content list."""
    reasoning_in: ReasoningIn = "keep"
    """What happens to `reasoning_content` of earlier assistant turns."""
    stream_usage: StreamUsage = "opt_in"
    """Whether `stream_options.include_usage` may be asked for; `always` sends usage unasked."""
    reasoning_excluded: bool = False
    """`completion_tokens` leaves reasoning tokens out although the total has them."""
    vector_bytes: VectorBytes = "float32"
    """What an embedding is made of that comes as base64."""
    model_prefix: str = ""
    """Put before a model id that has no slash."""
    by_model: tuple[ModelRules, ...] = ()
    touches: frozenset[str] = field(init=False, repr=False, compare=False)
    """Top-level fields that any rule could act on; computed once, so that most requests skip them all."""

    message_words: tuple[bytes, ...] = field(init=False, repr=False, compare=False)
    """Quoted words of which one occurs in every message that a rule could change, computed like `touches`."""

    def __post_init__(self) -> None:
        """Computes what saves looking at each rule for each request."""
        named = {
            *self.rename, *self.drop, *self.drop_values, *self.clamp, *self.limit_items, *self.reject_above,
        }  # fmt: skip
        for rules in self.by_model:
            named |= {*rules.rename, *rules.drop, *rules.clamp}
        if self.wrap_functions:
            named |= {"functions", "function_call"}
        if self.tool_choice or any(rules.tool_choice for rules in self.by_model):
            named.add("tool_choice")
        if self.tool_drop:
            named.add("tools")
        if (self.json_schema, self.json_object) != ("native", "native"):
            named.add("response_format")
        object.__setattr__(self, "touches", frozenset(named))
        words = [*self.roles, *self.message_drop]
        if self.string_content:
            words.append("text")
        if self.reasoning_in != "keep":
            words += ["reasoning_content", "reasoning"]
        if self.reasoning_in == "with_tool_calls":
            words.append("tool_calls")
        object.__setattr__(self, "message_words", tuple(b'"' + word.encode() + b'"' for word in words))


NO_RULES = ParamRules()
"""A server that does everything as OpenAI does."""
