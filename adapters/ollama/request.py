"""OpenAI chat request -> Ollama's `/api/chat` (docs.ollama.com/api/chat, read 2026-08-21).

Everything but the messages comes first, and the messages last: a longer conversation then begins with the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.conversation import Turn, read_turns
from adapters.errors import Unsupported
from adapters.fidelity import Report, survey
from adapters.fields import Fields, value
from adapters.ollama.messages import write_messages
from adapters.ollama.models import upstream_model
from adapters.ollama.sampling import add_flags, add_lifetime, add_logprobs, add_options, add_think, post
from adapters.ollama.table import CHAT
from adapters.ollama.toolset import write_tools
from adapters.structured import Format, read_format
from adapters.types import Call, HttpRequest, Target

Object = dict[str, Any]


def chat_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; raises Unsupported for what Ollama cannot be told."""
    fields = call.fields
    report = survey(fields, CHAT)
    body: Object = {"model": upstream_model(target), "stream": call.stream}
    add_think(body, fields, target.model, report)
    turns = read_turns(call, report)
    tools = write_tools(fields, report)
    prompt = _form(body, fields, turns, report, has_tools=bool(tools))
    add_lifetime(body, fields)
    add_flags(body, fields, "truncate", "shift")
    add_logprobs(body, fields)
    add_options(body, fields)
    if tools:
        body["tools"] = tools
    body["messages"] = write_messages(turns, report, prompt)
    return post(call, target, body, report)


def _form(body: Object, fields: Fields, turns: Sequence[Turn], report: Report, *, has_tools: bool) -> str:
    """Sets `format` and returns what has to be said in words.

    A format is a grammar for all of the answer, under which no tool can be called (the server's issues 8095 and
    11037), so that beside tools it is asked for in words. Without any word of JSON, a model that is held to it may
    write blanks without end.
    """
    own = value(fields, "format")
    if own is not None:
        if not isinstance(own, str | dict):
            raise Unsupported("format", "format must be `json` or a JSON Schema")
        if own:
            body["format"] = own
        return ""
    form = read_format(fields)
    if form.kind == "text":
        return ""
    if form.description:
        report.drop("response_format.json_schema.description")
    if has_tools:
        report.drop("response_format")
        return form.prompt
    body["format"] = form.schema or "json"
    return "" if form.schema or _speaks_of_json(turns) else Format("json_object").prompt


def _speaks_of_json(turns: Sequence[Turn]) -> bool:
    """True if the conversation's beginning does; later turns would change what has been said before them."""
    for turn in turns:
        if "json" in turn.text.lower():
            return True
        if turn.role == "user":
            return False
    return False
