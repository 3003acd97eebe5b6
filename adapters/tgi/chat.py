"""Chats: OpenAI's wire as TGI understands it, which is narrower and has words of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

import msgspec

from adapters.codec import as_list, as_object, decode, encode
from adapters.errors import Unsupported
from adapters.fidelity import Report, survey
from adapters.fields import Fields, integer, max_tokens, members, pass_on, text, texts
from adapters.openai.reply import read_reply
from adapters.openai.stream import OpenAIStream
from adapters.rules import ParamRules
from adapters.structured import read_format
from adapters.tgi.failures import with_rules
from adapters.tgi.messages import messages
from adapters.tgi.table import CHAT
from adapters.tools import add_functions, read_tools
from adapters.types import JSON_HEADERS, Call, Head, HttpRequest, Operation, Reply, Target

Object = dict[str, Any]
ANY_MODEL: Final = "tgi"
"""The name that means the server's own model; every other one is looked for among its adapters (404 or 422)."""
_PASSED: Final = ("temperature", "top_p", "frequency_penalty", "logprobs", "top_logprobs", "tool_prompt")
_WIRE: Final = ParamRules(wrap_functions=True)
_ENDS: Final = ("stop", "eos_token", "stop_sequence")
_END: Final = re.compile(rb'"finish_reason":"(?:stop|eos_token|stop_sequence)"')
_NO_ID: Final = b'"id":""'
_NO_MODEL: Final = b'"model":"tgi"'


def chat_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; raises Unsupported."""
    if "{model}" in target.paths.get(Operation.COMPLETIONS, ""):
        message = "the text-generation task has no chats; send a text completion in the model's own prompt template"
        raise Unsupported("messages", message)
    fields = call.fields
    report = survey(fields, CHAT)
    body: Object = {"model": text(fields, "adapter_id") or ANY_MODEL}
    if call.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    limit = max_tokens(fields)
    if limit is not None:
        body["max_tokens"] = limit
    pass_on(fields, _PASSED, body)
    if stop := texts(fields, "stop"):
        body["stop"] = stop
    seed = integer(fields, "seed")
    if seed is not None and seed >= 0:
        body["seed"] = seed
    elif seed is not None:
        report.drop("seed")
    add_functions(body, read_tools(fields), report, "TGI")
    _response_format(body, fields, report)
    body["messages"] = messages(call, report)
    return HttpRequest("POST", target.url(Operation.CHAT), target.headers + JSON_HEADERS, encode(body), report.dropped)


def _response_format(body: Object, fields: Fields, report: Report) -> None:
    """Says the form of the answer as a grammar, whose payload stands under `value` at TGI."""
    given = members(fields, "response_format")
    if given is None:
        return
    if "value" in given:
        grammar: Object = given  # TGI's own words already
    else:
        wanted = read_format(fields)
        if wanted.kind == "text":
            return
        if wanted.description:
            report.drop("response_format.json_schema.description")
        grammar = {"type": "json_object", "value": wanted.schema or {"type": "object"}}
    if "tools" in body:
        raise Unsupported("response_format", "response_format and tools exclude each other at TGI; send one of them")
    body["response_format"] = grammar


def as_openai(target: Target) -> Target:
    """Returns the target as the readers of OpenAI's wire must see it, whatever its row says."""
    return replace(with_rules(target), rules=_WIRE)


def read_chat(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed or UpstreamSaid."""
    body = named(body, call, target)
    if b'"tool_calls"' in body:
        body = _with_calls(body)
    return read_reply(call, as_openai(target), head, body)


def named(data: bytes, call: Call, target: Target) -> bytes:
    """Returns an answer or chunk with an id, which TGI leaves empty, and not with the model's name that we made up.

    A quote inside a string is escaped, so that what is found before the choices are keys of the top level.
    """
    head, choices, rest = data.partition(b'"choices"')
    if not choices or (_NO_ID not in head and _NO_MODEL not in head):
        return data
    head = head.replace(_NO_ID, b'"id":' + encode(call.id), 1)
    head = head.replace(_NO_MODEL, b'"model":' + encode(target.model), 1)
    return head + choices + rest


def _with_calls(body: bytes) -> bytes:
    """Says that tool calls end an answer, which is a plain end at TGI, and takes `_name` out of TGI 2's arguments."""
    try:
        answer = as_object(decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return body  # the reader says what is wrong with it
    for choice in map(as_object, as_list(answer.get("choices"))):
        calls = as_list(as_object(choice.get("message")).get("tool_calls"))
        if calls and choice.get("finish_reason") in _ENDS:
            choice["finish_reason"] = "tool_calls"
        for call in map(as_object, calls):
            arguments = as_object(as_object(call.get("function")).get("arguments"))
            arguments.pop("_name", None)
    return encode(answer) if answer else body


class ChatStream(OpenAIStream):
    """Decoder of one chat stream."""

    def __init__(self, call: Call, target: Target, head: Head) -> None:
        super().__init__(call, as_openai(target), head)

    def _event(self, block: bytes) -> bytes | None:
        changed = named(block, self._call, self._target)
        if b'"finish_reason":"' in changed and any(state.tool_calls for state in self._choices.values()):
            changed = _END.sub(b'"finish_reason":"tool_calls"', changed)
        instead = super()._event(changed)
        return changed + b"\n\n" if instead is None and changed is not block else instead
