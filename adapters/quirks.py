"""Applies a provider's `ParamRules` to the top-level fields of a request.

Each rule is one small function over the undecoded members; a member is decoded only if a byte scan shows that the
rule has something to do. The client's own mapping is never changed: the caller passes a copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from fnmatch import fnmatchcase
from typing import Any, cast

from msgspec import Raw

from adapters.codec import JSON, as_list, as_object, decode, is_null, raw
from adapters.errors import Unsupported
from adapters.plain_schema import plain_schema
from adapters.rules import Addition, ModelRules, ParamRules
from adapters.structured import SCHEMA_PROMPT

Fields = MutableMapping[str, Raw]
Object = dict[str, Any]

ANY_OBJECT = {"type": "json_schema", "json_schema": {"name": "object", "schema": {"type": "object"}}}
_NULL_CONTENT = re.compile(rb'"content"\s*:\s*null')
"""The null that every assistant turn with tool calls has, and that stays."""
_OLD_FUNCTIONS = re.compile(rb'"function_call"|"role"\s*:\s*"function"')
FILLER_REASONING = " "
"""DeepSeek answers 400 when a turn with tool calls lacks its reasoning, and takes one blank for it
(api-docs.deepseek.com, thinking mode, read 2026-09-24)."""


def concern(fields: Mapping[str, Raw], body: bytes, rules: ParamRules) -> bool:
    """Returns whether any rule may have to do with a request; a false alarm costs only the time of `apply`."""
    if (
        rules.defaults
        or rules.additions
        or not rules.touches.isdisjoint(fields)
        or (rules.strip_nulls and body.find(b"null") >= 0)
    ):
        return True
    for word in rules.message_words:  # not `any`, which would make a generator of every request
        if body.find(word) >= 0:
            return True
    return rules.wrap_functions and body.find(b'"function') >= 0


def apply(fields: Fields, rules: ParamRules, model: str) -> tuple[str, ...]:
    """Changes `fields` as `rules` says and returns the names of the client's fields that were dropped.

    Raises Unsupported for a field whose value cannot be expressed and must not be lost.
    """
    dropped: list[str] = []
    if rules.strip_nulls:
        for name in [name for name, value in fields.items() if is_null(value)]:
            del fields[name]
    if not rules.touches.isdisjoint(fields):
        _top_level(fields, rules, model, dropped)
    _messages(fields, rules)
    for name, value in rules.defaults.items():
        if is_null(fields.get(name)):
            fields[name] = raw(value)
    for addition in rules.additions:
        if _is_meant(addition, fields, model):
            fields.update({name: raw(value) for name, value in addition.fields.items() if is_null(fields.get(name))})
    return tuple(dict.fromkeys(dropped))


def _is_meant(addition: Addition, fields: Fields, model: str) -> bool:
    is_stream = bytes(fields.get("stream", b"")) == b"true"
    return (
        (not addition.given or not is_null(fields.get(addition.given)))
        and addition.stream in (None, is_stream)
        and (not addition.match or is_one_of(model, addition.match))
    )


def _top_level(fields: Fields, rules: ParamRules, model: str, dropped: list[str]) -> None:
    if rules.wrap_functions:
        _wrap_functions(fields)
    _refuse(fields, rules)
    _limit_chars(fields, rules.limit_chars, dropped)
    _rename(fields, rules.rename)
    _drop(fields, rules.drop, dropped)
    for name, values in rules.drop_values.items():
        if name in fields and bytes(fields[name]).decode("utf-8", "replace") in values:
            del fields[name]
    _clamp(fields, rules.clamp)
    _words(fields, rules.values, dropped)
    if rules.logprobs == "count":
        _count_logprobs(fields, dropped)
    _tool_choice(fields, rules.tool_choice, dropped)
    for extra in rules.by_model:
        if matches(model, extra):
            _rename(fields, extra.rename)
            _drop(fields, extra.drop, dropped)
            _clamp(fields, extra.clamp)
            _words(fields, extra.values, dropped)
            _tool_choice(fields, extra.tool_choice, dropped)
    _tools(fields, rules)
    _response_format(fields, rules, dropped)


def matches(model: str, rules: ModelRules) -> bool:
    """True if the rules are meant for this upstream model id."""
    return is_one_of(model, rules.match)


def is_one_of(model: str, patterns: Iterable[str]) -> bool:
    """True for a model id that fits one of the patterns."""
    return any(fnmatchcase(model.lower(), pattern.lower()) for pattern in patterns)


def _refuse(fields: Fields, rules: ParamRules) -> None:
    for name, most in rules.reject_above.items():
        value = _number(fields.get(name))
        if value is not None and value > most:
            raise Unsupported(name, f"{name} must be at most {most} for this provider, got {value:g}")
    for name, most in rules.limit_items.items():
        member = fields.get(name)
        if member is None or not bytes(member).startswith(b"["):
            continue
        count = len(decode(member))
        if count > most:
            raise Unsupported(name, f"{name} may hold at most {most} items for this provider, got {count}")


def _rename(fields: Fields, names: Mapping[str, str]) -> None:
    for old, new in names.items():
        if old in fields:
            value = fields.pop(old)
            if is_null(fields.get(new)):
                fields[new] = value


def _drop(fields: Fields, names: Iterable[str], dropped: list[str]) -> None:
    dropped.extend(name for name in names if name in fields and not is_null(fields.pop(name)))


def _clamp(fields: Fields, ranges: Mapping[str, tuple[float | None, float | None]]) -> None:
    for name, (low, high) in ranges.items():
        value = _number(fields.get(name))
        if value is None:
            continue
        if low is not None and value < low:
            fields[name] = raw(low)
        elif high is not None and value > high:
            fields[name] = raw(high)


def _words(fields: Fields, words: Mapping[str, Mapping[str, str]], dropped: list[str]) -> None:
    """Says the nearest value that the upstream knows."""
    for name, instead in words.items():
        member = fields.get(name)
        value: JSON = None if member is None else decode(member)
        if isinstance(value, str) and value in instead:
            fields[name] = raw(instead[value])
            dropped.append(name)


def _limit_chars(fields: Fields, limits: Mapping[str, tuple[int, int]], dropped: list[str]) -> None:
    for name, (fewest, most) in limits.items():
        member = fields.get(name)
        value: JSON = None if member is None else decode(member)
        if isinstance(value, str) and not fewest <= len(value) <= most:
            del fields[name]
            dropped.append(name)


def _count_logprobs(fields: Fields, dropped: list[str]) -> None:
    """Says OpenAI's two fields as one number: how many alternatives are told of each token."""
    flag = bytes(fields.get("logprobs", b""))
    count = fields.pop("top_logprobs", None)
    if flag == b"false":
        del fields["logprobs"]
    elif flag == b"true":
        fields["logprobs"] = Raw(b"1") if count is None or is_null(count) else count
        return
    if not is_null(count):
        dropped.append("top_logprobs")


def _number(member: Raw | None) -> float | None:
    if member is None:
        return None
    text = bytes(member)
    if not text or not (text[:1].isdigit() or text.startswith(b"-")):
        return None
    return float(text)


def _wrap_functions(fields: Fields) -> None:
    functions = fields.pop("functions", None)
    if not is_null(functions) and is_null(fields.get("tools")):
        items: JSON = decode(cast("Raw", functions))
        if not isinstance(items, list):
            raise Unsupported("functions", "functions must be an array of functions")
        tools = [{"type": "function", "function": item} for item in as_list(items)]
        fields["tools"] = raw(tools)
    choice = fields.pop("function_call", None)
    if not is_null(choice) and is_null(fields.get("tool_choice")):
        value: JSON = decode(cast("Raw", choice))
        named = as_object(value)
        fields["tool_choice"] = raw({"type": "function", "function": named} if named else value)


def _tool_choice(fields: Fields, choices: Mapping[str, str], dropped: list[str]) -> None:
    member = fields.get("tool_choice")
    if not choices or member is None or is_null(member):
        return
    value: JSON = decode(member)
    instead = choices.get(value if isinstance(value, str) else "named")
    if instead is None:
        return
    if instead == "filter":
        _keep_tool(fields, as_object(value))
        return
    dropped.append("tool_choice")
    if instead == "drop":
        del fields["tool_choice"]
    else:
        fields["tool_choice"] = raw(instead)


def _keep_tool(fields: Fields, choice: Object) -> None:
    """Says "this tool" to an upstream that only knows "some tool", by leaving it no other."""
    name = as_object(choice.get("function")).get("name")
    known = as_list(decode(fields["tools"])) if "tools" in fields else []
    tools = [tool for tool in known if as_object(as_object(tool).get("function")).get("name") == name]
    if not tools or name is None:
        raise Unsupported("tool_choice", f"tool_choice names {name!r}, which is not among the tools")
    fields["tools"] = raw(tools)
    fields["tool_choice"] = raw("required")


def _tools(fields: Fields, rules: ParamRules) -> None:
    member = fields.get("tools")
    names, is_plain = rules.tool_drop, rules.tool_schema == "plain"
    if member is None or not (is_plain or _mentions(bytes(member), names)):
        return
    tools = decode(member)
    for tool in as_list(tools):
        function = as_object(as_object(tool).get("function"))
        for name in names:
            function.pop(name, None)
        if is_plain and isinstance(function.get("parameters"), dict):
            function["parameters"] = plain_schema(as_object(function["parameters"]))
    fields["tools"] = raw(tools)


def _response_format(fields: Fields, rules: ParamRules, dropped: list[str]) -> None:
    member = fields.get("response_format")
    if member is None or is_null(member) or (rules.json_schema == "native" and rules.json_object == "native"):
        return
    wanted = as_object(decode(member))
    kind = wanted.get("type")
    if kind == "json_schema" and rules.json_schema != "native":
        if rules.json_schema == "reject":
            raise Unsupported("response_format", "this provider has no JSON schema output")
        fields["response_format"] = raw({"type": "json_object"})
        schema: JSON = as_object(wanted.get("json_schema")).get("schema") or {"type": "object"}
        _add_system_text(fields, SCHEMA_PROMPT + raw_text(schema))
        dropped.append("response_format.json_schema.strict")
    elif kind == "json_object" and rules.json_object != "native":
        if rules.json_object == "reject":
            raise Unsupported("response_format", "this provider has no JSON output")
        fields["response_format"] = raw(ANY_OBJECT)


def raw_text(value: JSON) -> str:
    """Returns `value` as JSON text."""
    return bytes(raw(value)).decode()


def _add_system_text(fields: Fields, text: str) -> None:
    if "messages" not in fields:
        raise Unsupported("response_format", "this provider takes a JSON schema with chat messages only")
    messages = as_list(decode(fields["messages"]))
    first = as_object(messages[0]) if messages else {}
    if first.get("role") in ("system", "developer"):
        content: JSON = first.get("content")
        old = content if isinstance(content, str) else joined_text(as_list(content))
        messages[0] = {**first, "content": f"{old}\n\n{text}" if old else text}
    else:
        messages.insert(0, {"role": "system", "content": text})
    fields["messages"] = raw(messages)


def _messages(fields: Fields, rules: ParamRules) -> None:
    member = fields.get("messages")
    if member is None or not _messages_need(member, rules):
        return
    messages = [_message(as_object(message), rules) for message in as_list(decode(member))]
    if rules.one_system:
        messages = _with_one_system(messages)
    fields["messages"] = raw(messages)


def _messages_need(member: Raw, rules: ParamRules) -> bool:
    """True if the bytes of the messages hold anything that a rule may change; a false alarm costs only time."""
    text = bytes(member)
    for word in rules.message_words:
        if word in text:
            return True
    if rules.strip_nulls and b"null" in text and text.count(b"null") > len(_NULL_CONTENT.findall(text)):
        return True
    return rules.wrap_functions and b'"function' in text and _OLD_FUNCTIONS.search(text) is not None


def _mentions(text: bytes, names: Iterable[str]) -> bool:
    return any(b'"' + name.encode() + b'"' in text for name in names)


def _message(message: Object, rules: ParamRules) -> Object:
    role = message.get("role")
    changed = {
        name: value
        for name, value in message.items()
        if name not in rules.message_drop and not (rules.strip_nulls and value is None and name != "content")
    }
    if isinstance(role, str) and role in rules.roles:
        changed["role"] = rules.roles[role]
    parts = as_list(changed.get("content"))
    if rules.string_content and parts and _is_text_only(parts):
        changed["content"] = joined_text(parts)
    if rules.wrap_functions:
        changed = _modern(changed)
    if role == "assistant" and rules.reasoning_in != "keep":
        _replay_reasoning(changed, rules)
    return changed


def _with_one_system(messages: list[Object]) -> list[Object]:
    systems = [message for message in messages if message.get("role") == "system"]
    if len(systems) < 2:
        return messages
    texts = (message.get("content") for message in systems)
    texts = (text if isinstance(text, str) else joined_text(as_list(text)) for text in texts)
    one = {**systems[0], "content": "\n\n".join(text for text in texts if text)}
    return [
        one if message is systems[0] else message
        for message in messages
        if message is systems[0] or message.get("role") != "system"
    ]


def _modern(message: Object) -> Object:
    """Returns an old `function` turn in the tools form; its id is derived from the name, which both turns hold."""
    if message.get("role") == "function":
        name = message.get("name")
        return {"role": "tool", "tool_call_id": f"call_{name}", "content": message.get("content") or ""}
    function = as_object(message.pop("function_call", None))
    if function and not message.get("tool_calls"):
        message["tool_calls"] = [{"id": f"call_{function.get('name')}", "type": "function", "function": function}]
    return message


def _replay_reasoning(message: Object, rules: ParamRules) -> None:
    has_calls = bool(message.get("tool_calls"))
    if rules.reasoning_in == "with_tool_calls" and has_calls:
        message["reasoning_content"] = message.get("reasoning_content") or FILLER_REASONING
        return
    message.pop("reasoning_content", None)
    message.pop("reasoning", None)


def _is_text_only(parts: list[JSON]) -> bool:
    return all(as_object(part).get("type") == "text" for part in parts)


def joined_text(parts: list[JSON]) -> str:
    """Returns the text parts of a content list as one string."""
    texts = (as_object(part).get("text") for part in parts)
    return "".join(text for text in texts if isinstance(text, str))
