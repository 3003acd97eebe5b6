"""A provider's rules in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gateway.settings.provider import AdditionRow, ModelRulesRow, RulesRow

_JSON_SCHEMA = {
    "json_object": "a JSON schema goes into the prompt",
    "reject": "JSON schema output is refused with 400",
}
_JSON_OBJECT = {
    "json_schema": "`json_object` is sent as a schema for any object",
    "reject": "JSON output is refused with 400",
}
_REASONING_OUT = {
    "think_tags": "text between `<think>` tags becomes reasoning",
    "content_list": "reasoning is taken out of content lists",
}
_REASONING_IN = {
    "drop": "reasoning of earlier turns is dropped",
    "with_tool_calls": "reasoning of earlier turns is kept only with tool calls",
}
_STREAM_USAGE = {"always": "usage comes unasked in streams", "none": "no usage in streams"}


def rules_in_words(rules: RulesRow) -> list[str]:
    """Returns one phrase for every rule that is not the default, in a fixed order."""
    return [*_fields(rules), *_forms(rules), *_messages(rules), *_answers(rules), *map(_by_model, rules.by_model)]


def _fields(rules: RulesRow) -> Iterator[str]:
    yield from _renamed(rules.rename)
    if rules.drop:
        yield f"drops {_listed(rules.drop)}"
    for name, values in rules.drop_values.items():
        if name not in rules.reject_above:
            yield f"drops `{name}` of {' or '.join(values)}"
    yield from _clamped(rules.clamp)
    yield from _words(rules.values)
    for name, (fewest, most) in rules.limit_chars.items():
        yield f"`{name}` outside {fewest} to {most} characters is dropped"
    yield from (f"at most {most} items in `{name}`" for name, most in rules.limit_items.items())
    for name, most in rules.reject_above.items():
        is_split = (name, most) == ("n", 1)
        yield "each choice of a chat is a request of its own" if is_split else f"`{name}` above {most} is refused"
    yield from (f"`{name}` is {value} if unset" for name, value in rules.defaults.items())
    yield from map(_addition, rules.additions)


def _forms(rules: RulesRow) -> Iterator[str]:
    if rules.logprobs == "count":
        yield "`logprobs` and `top_logprobs` are sent as one number"
    if rules.strip_nulls:
        yield "removes `null` values"
    if rules.wrap_functions:
        yield "sends `functions` as `tools`"
    yield from _tool_choice(rules.tool_choice)
    if rules.tool_drop:
        yield f"drops {_listed(rules.tool_drop)} of tools"
    if rules.tool_schema == "plain":
        yield "schemas of tools are put in plain words"
    if rules.model_prefix:
        yield f"puts `{rules.model_prefix}` before ids without `/`"


def _messages(rules: RulesRow) -> Iterator[str]:
    for role, other in rules.roles.items():
        same = role == other
        yield f"knows the role `{role}`" if same else f"the role `{role}` is sent as `{other}`"
    if rules.message_drop:
        yield f"drops {_listed(rules.message_drop)} of messages"
    if rules.one_system:
        yield "several system messages become one"
    if rules.string_content:
        yield "text parts become one string"
    if rules.reasoning_in != "keep":
        yield _REASONING_IN[rules.reasoning_in]


def _answers(rules: RulesRow) -> Iterator[str]:
    if rules.json_schema != "native":
        yield _JSON_SCHEMA[rules.json_schema]
    if rules.json_object != "native":
        yield _JSON_OBJECT[rules.json_object]
    if rules.reasoning_out != "fields":
        yield _REASONING_OUT[rules.reasoning_out]
    if rules.reasoning_excluded:
        yield "reasoning tokens are added to the completion tokens"
    if rules.vector_bytes != "float32":
        yield f"embeddings come as {rules.vector_bytes}"
    if rules.stream_usage != "opt_in":
        yield _STREAM_USAGE[rules.stream_usage]


def _by_model(rules: ModelRulesRow) -> str:
    phrases = [*_renamed(rules.rename), *_clamped(rules.clamp), *_tool_choice(rules.tool_choice)]
    phrases += _words(rules.values)
    if rules.drop:
        phrases.append(f"drops {_listed(rules.drop)}")
    return f"{_listed(rules.match)}: {' and '.join(phrases)}"


def _words(values: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for name, words in values.items():
        told = ", ".join(f"{word} as {instead}" for word, instead in words.items())
        yield f"`{name}`: {told}"


def _addition(row: AdditionRow) -> str:
    added = ", ".join(f"`{name}: {str(value).lower()}`" for name, value in row.fields.items())
    when = [_listed(row.match)] if row.match else []
    if row.stream is not None:
        when.append("streams" if row.stream else "whole answers")
    if row.given:
        when.append(f"requests with `{row.given}`")
    return f"adds {added} for {' and '.join(when) or 'every request'}"


def _renamed(names: Mapping[str, str]) -> Iterator[str]:
    for old, new in names.items():
        yield f"takes `{old}`" if old == new else f"`{old}` is sent as `{new}`"


def _clamped(ranges: Mapping[str, tuple[float | None, float | None]]) -> Iterator[str]:
    for name, (low, high) in ranges.items():
        borders = [f"{word} {value:g}" for word, value in (("at least", low), ("at most", high)) if value is not None]
        yield f"`{name}` becomes {' and '.join(borders)}"


def _tool_choice(choices: Mapping[str, str]) -> Iterator[str]:
    for choice, instead in choices.items():
        if instead == "drop":
            yield f"drops the tool choice `{choice}`"
        elif instead == "filter":
            yield "a named tool choice leaves that tool alone and requires it"
        else:
            yield f"the tool choice `{choice}` is sent as `{instead}`"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
