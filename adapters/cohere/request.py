"""OpenAI chat request -> Cohere's v2 chat (docs.cohere.com/v2/reference/chat, read 2026-08-20).

Everything but the messages comes first, and the messages last: a longer conversation then begins with the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from adapters.codec import as_object, encode
from adapters.cohere.conversation import Writer
from adapters.cohere.fidelity import CHAT
from adapters.cohere.names import legal_names
from adapters.conversation import read_turns
from adapters.errors import Unsupported
from adapters.fidelity import Report, survey
from adapters.fields import Fields, boolean, integer, max_tokens, members, number, text, texts, value
from adapters.structured import Format, read_format
from adapters.tools import Tool, Toolbox, read_tools
from adapters.types import JSON_HEADERS, Call, HttpRequest, Operation, Target

Object = dict[str, Any]
MAX_STOPS: Final = 5
MAX_SEED: Final = 2**64 - 1
_OLDER: Final = re.compile(r"(/compatibility)?/v[12]/v2/")
_OWN: Final = ("citation_options", "safety_mode", "priority")
_BUDGETS: Final[dict[str, int | None]] = {"minimal": 512, "low": 2048, "medium": 8192, "high": None, "xhigh": None}
"""Most tokens of reasoning for an effort; None leaves it to the model."""
_ANSWER_TOKENS: Final = 1000
"""What Cohere advises to leave for the answer of the limit (docs.cohere.com/docs/reasoning, read 2026-08-20)."""
_NO_PARAMETERS: Final[Object] = {"type": "object", "properties": {}}


def post(call: Call, target: Target, body: Object, report: Report) -> HttpRequest:
    """Returns the upstream request that carries `body`."""
    return HttpRequest(
        method="POST",
        url=upstream_url(target, call.operation),
        headers=target.headers + JSON_HEADERS,
        body=encode(body),
        dropped=report.dropped,
    )


def upstream_url(target: Target, operation: Operation) -> str:
    """Returns where `operation` is; an older base URL may end in `/v1`, or mean the endpoint in OpenAI's shape."""
    return _OLDER.sub("/v2/", target.url(operation))


def chat_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; raises Unsupported for what Cohere cannot be told."""
    fields = call.fields
    report = survey(fields, CHAT)
    tools = read_tools(fields)
    names = legal_names([tool.name for tool in tools.tools])
    writer = Writer(names, report)
    body: Object = {"model": target.model, "stream": call.stream}
    _sampling(body, fields, report)
    _reasoning(body, fields, report)
    for name in _OWN:
        _add(body, name, value(fields, name))
    _tools(body, fields, tools, names, report)
    format = read_format(fields)
    given = value(fields, "documents")
    turns = read_turns(call, report)
    in_words = format.kind != "text" and bool(body.get("tools") or given)
    messages = writer.write(turns, format.prompt if in_words else "")
    if in_words:
        report.drop("response_format")
    else:
        _format(body, format, report)
    _documents(body, given, writer.documents)
    body["messages"] = messages
    return post(call, target, body, report)


def _add(body: Object, name: str, found: object) -> None:
    if found is not None:
        body[name] = found


def _sampling(body: Object, fields: Fields, report: Report) -> None:
    _add(body, "max_tokens", max_tokens(fields))
    stops = [stop for stop in texts(fields, "stop") if stop]
    if len(stops) > MAX_STOPS:
        raise Unsupported("stop", f"stop may hold at most {MAX_STOPS} strings for Cohere, got {len(stops)}")
    _add(body, "stop_sequences", stops or None)
    _add(body, "temperature", _bounded(fields, "temperature", report))
    _add(body, "seed", _seed(fields, report))
    frequency, presence = (_bounded(fields, name, report) for name in ("frequency_penalty", "presence_penalty"))
    if frequency and presence:
        report.drop("presence_penalty")  # "cannot specify both" with many models
        presence = None
    _add(body, "frequency_penalty", frequency or None)
    _add(body, "presence_penalty", presence or None)
    _add(body, "logprobs", boolean(fields, "logprobs") or None)
    top_p = number(fields, "top_p")
    _add(body, "p", value(fields, "p") if top_p is None or "p" in fields else min(max(top_p, 0.01), 0.99))
    top_k = integer(fields, "top_k")
    _add(body, "k", value(fields, "k") if top_k is None or "k" in fields else min(max(top_k, 0), 500))


def _bounded(fields: Fields, name: str, report: Report) -> int | float | None:
    """Returns a number of OpenAI's range moved into Cohere's, which is 0 to 1."""
    found = number(fields, name)
    if found is None or 0 <= found <= 1:
        return found
    report.drop(name)
    return 0 if found < 0 else 1


def _seed(fields: Fields, report: Report) -> int | None:
    seed = integer(fields, "seed")
    if seed is None or 0 <= seed <= MAX_SEED:
        return seed
    report.drop("seed")
    return None


def _reasoning(body: Object, fields: Fields, report: Report) -> None:
    own = members(fields, "thinking")
    effort = text(fields, "reasoning_effort")
    if own is not None and own.get("type") not in ("enabled", "disabled"):
        report.drop("thinking")  # another vendor's words
        own = None
    if own is not None:
        unknown = [name for name in own if name not in ("type", "token_budget")]
        report.drop(*(f"thinking.{name}" for name in unknown))
        body["thinking"] = {name: own[name] for name in own if name not in unknown}
        return
    if effort is None:
        return
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    if effort not in _BUDGETS:
        known = ", ".join(("none", *_BUDGETS))
        raise Unsupported("reasoning_effort", f"reasoning_effort {effort[:64]!r} is not one of {known}")
    budget = _BUDGETS[effort]
    thinking: Object = {"type": "enabled"}
    if budget is not None:
        limit: int | None = body.get("max_tokens")
        if limit is not None:
            budget = min(budget, max(limit - _ANSWER_TOKENS, limit // 2, 1))
        thinking["token_budget"] = budget
    body["thinking"] = thinking


def _tools(body: Object, fields: Fields, box: Toolbox, names: Mapping[str, str], report: Report) -> None:
    tools, mode = _chosen(box)
    if not tools:
        return
    body["tools"] = [_tool(tool, names[tool.name]) for tool in tools]
    if any(tool.cache is not None for tool in tools):
        report.drop("tools.cache_control")
    strict = value(fields, "strict_tools")
    if strict is None and any(tool.strict for tool in tools):
        if all(_has_required(tool) for tool in tools):
            strict = True
        else:  # a 400 for a tool without one (docs.cohere.com/docs/structured-outputs, read 2026-08-20)
            report.drop("tools.function.strict")
    _add(body, "strict_tools", strict)
    _add(body, "tool_choice", mode)


def _chosen(box: Toolbox) -> tuple[list[Tool], str | None]:
    """Returns the tools to send and Cohere's word for the choice: a tool that must be used is sent alone."""
    choice, tools = box.choice, list(box.tools)
    for tool in tools:
        if tool.is_custom:
            message = f"{tool.where}: Cohere has no custom tools; write a function with one string parameter"
            raise Unsupported("tools", message)
    if choice is None:
        return tools, None
    if choice.mode == "named":
        return [tool for tool in tools if tool.name == choice.name], "REQUIRED"
    if choice.allowed:
        tools = [tool for tool in tools if tool.name in choice.allowed]
    if choice.mode == "required" and not tools:
        raise Unsupported("tool_choice", "tool_choice asks for a tool, but there is none in tools")
    return tools, {"none": "NONE", "required": "REQUIRED"}.get(choice.mode)


def _tool(tool: Tool, name: str) -> Object:
    function: Object = {"name": name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or _NO_PARAMETERS
    return {"type": "function", "function": function}


def _has_required(tool: Tool) -> bool:
    return bool(as_object(tool.parameters).get("required"))


def _format(body: Object, format: Format, report: Report) -> None:
    if format.kind == "text":
        return
    made: Object = {"type": "json_object"}
    if format.schema:
        made["json_schema"] = format.schema
    if format.description:
        report.drop("response_format.json_schema.description")
    body["response_format"] = made


def _documents(body: Object, given: object, files: list[Object]) -> None:
    if given is None and not files:
        return
    if given is not None and not isinstance(given, list):
        raise Unsupported("documents", "documents must be an array")
    body["documents"] = [*(given or ()), *files]
