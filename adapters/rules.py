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
ToolSchemas = Literal["native", "plain"]
LogProbs = Literal["flag", "count"]
StreamUsage = Literal["opt_in", "always", "none"]


def _no_names() -> Mapping[str, str]:
    return MappingProxyType({})


def _no_words() -> Mapping[str, Mapping[str, str]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Addition:
    """Fields that are added to some requests if the client sent none of that name; all conditions must hold."""

    fields: Mapping[str, object]
    given: str = ""
    """A field that the client must have sent: `tools`, or `input` for embeddings."""
    match: tuple[str, ...] = ()
    """Patterns of model ids as in `ModelRules`; empty means every model."""
    stream: bool | None = None
    """Only for requests that stream, or only for those that do not."""


@dataclass(frozen=True, slots=True)
class ModelRules:
    """Rules for the models whose id matches one of `match` (shell-style patterns, case-insensitive)."""

    match: tuple[str, ...]
    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=_no_names)
    clamp: Mapping[str, tuple[float | None, float | None]] = field(default_factory=lambda: MappingProxyType({}))
    tool_choice: Mapping[str, ToolChoiceMap] = field(default_factory=lambda: MappingProxyType({}))
    values: Mapping[str, Mapping[str, str]] = field(default_factory=_no_words)


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
    values: Mapping[str, Mapping[str, str]] = field(default_factory=_no_words)
    """String field -> value -> the nearest one that the upstream knows; the field is reported."""
    limit_chars: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))
    """String field -> fewest and most characters the upstream takes; others are dropped and reported."""
    limit_items: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Array field -> most items the upstream takes; more is a 400 naming the field."""
    reject_above: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Number field -> highest value; more is a 400 naming the field (a lower one would be a silent lie)."""
    defaults: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """Fields added when the client sent none."""
    additions: tuple[Addition, ...] = ()
    roles: Mapping[str, str] = field(default_factory=_no_names)
    """Message role -> role that the upstream knows."""
    message_drop: frozenset[str] = frozenset()
    """Keys removed from every message."""
    one_system: bool = False
    """Several system messages become one, where the first stands."""
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
    tool_schema: ToolSchemas = "native"
    """`plain` takes out of tools' schemas what strict servers refuse (adapters.plain_schema)."""
    logprobs: LogProbs = "flag"
    """`count` sends `logprobs` and `top_logprobs` as one number."""
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
        object.__setattr__(self, "touches", _touched(self))
        object.__setattr__(self, "message_words", tuple(b'"' + word.encode() + b'"' for word in _words(self)))


def _touched(rules: ParamRules) -> frozenset[str]:
    named = {
        *rules.rename, *rules.drop, *rules.drop_values, *rules.clamp, *rules.limit_items, *rules.reject_above,
        *rules.values, *rules.limit_chars,
    }  # fmt: skip
    for extra in rules.by_model:
        named |= {*extra.rename, *extra.drop, *extra.clamp, *extra.values}
    if rules.wrap_functions:
        named |= {"functions", "function_call"}
    if rules.tool_choice or any(extra.tool_choice for extra in rules.by_model):
        named.add("tool_choice")
    if rules.tool_drop or rules.tool_schema != "native":
        named.add("tools")
    if rules.logprobs != "flag":
        named |= {"logprobs", "top_logprobs"}
    if (rules.json_schema, rules.json_object) != ("native", "native"):
        named.add("response_format")
    return frozenset(named)


def _words(rules: ParamRules) -> list[str]:
    words = [*rules.roles, *rules.message_drop]
    if rules.string_content:
        words.append("text")
    if rules.one_system:
        words.append("system")
    if rules.reasoning_in != "keep":
        words += ["reasoning_content", "reasoning"]
    if rules.reasoning_in == "with_tool_calls":
        words.append("tool_calls")
    return words


NO_RULES = ParamRules()
"""A server that does everything as OpenAI does."""
