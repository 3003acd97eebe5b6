"""An OpenAI chat as items of the Responses API; nothing is kept there, so that every request holds all of it.

The back end demands `instructions`, `store: false` and `stream: true`, takes `developer` in the place of `system`, and
is sent no temperature, top_p or limit (zeroclaw-labs/zeroclaw, src/providers/openai_codex.rs, read 2026-11-21).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from adapters.codec import encode
from adapters.codex.table import CHAT
from adapters.conversation import Media, Part, Text, Turn, read_turns
from adapters.errors import Unsupported
from adapters.fidelity import Report, survey
from adapters.fields import Fields, boolean, text
from adapters.losses import note_losses
from adapters.settled import settle
from adapters.structured import read_format
from adapters.tools import Tool, read_tools
from adapters.types import JSON_HEADERS, Call, Headers, HttpRequest, Operation, Target

Object = dict[str, Any]
_INSTRUCTIONS: Final = "Follow the messages of the developer and answer the user."
"""What has to be there; whatever the client says stands in the messages."""
_LOST: Final = ("name", "cache_control", "prefix", "is_error", "audio", "extra_content")
_HEADERS: Final[Headers] = (
    ("accept", "text/event-stream"),
    ("openai-beta", "responses=experimental"),
    ("originator", "anyport"),
)
_SILENCE: Final[Object] = {"type": "input_text", "text": ""}
"""What somebody says who says nothing: an input without items is refused."""
_NO_PARAMETERS: Final[Object] = {"type": "object", "properties": {}}


def chat_request(call: Call, target: Target) -> HttpRequest:
    """Returns the upstream request; raises Unsupported."""
    report = survey(call.fields, CHAT)
    body: Object = {"model": target.model, "instructions": _INSTRUCTIONS, "store": False, "stream": True}
    _tools(body, call.fields, report)
    _shape(body, call.fields)
    body["include"] = ["reasoning.encrypted_content"]
    if key := text(call.fields, "prompt_cache_key"):
        body["prompt_cache_key"] = key
    items = [item for turn in settle(read_turns(call, report)) for item in _items(turn, report)]
    body["input"] = items or [{"type": "message", "role": "user", "content": [_SILENCE]}]
    headers = target.headers + _HEADERS + JSON_HEADERS
    try:
        data = encode(body)
    except RecursionError:
        raise Unsupported("messages", "messages hold JSON that is nested too deeply") from None
    return HttpRequest("POST", target.url(Operation.CHAT), headers, data, report.dropped)


def _shape(body: Object, fields: Fields) -> None:
    """Adds how hard to think, and the form of the answer."""
    reasoning: Object = {"summary": "auto"}
    if effort := text(fields, "reasoning_effort"):
        reasoning["effort"] = effort
    body["reasoning"] = reasoning
    said: Object = {}
    format = read_format(fields)
    if format.kind == "json_object":
        said["format"] = {"type": "json_object"}
    elif format.kind == "json_schema":
        made: Object = {"type": "json_schema", "name": format.name, "schema": format.schema or {}}
        if format.description:
            made["description"] = format.description
        said["format"] = {**made, "strict": format.strict}
    if verbosity := text(fields, "verbosity"):
        said["verbosity"] = verbosity
    if said:
        body["text"] = said


def _tools(body: Object, fields: Fields, report: Report) -> None:
    box = read_tools(fields)
    choice, tools = box.choice, box.tools
    if choice is not None and choice.allowed:
        tools = tuple(tool for tool in tools if tool.name in choice.allowed)
    if not tools:
        return
    if any(tool.cache is not None for tool in tools):
        report.drop("tools.cache_control")
    body["tools"] = [_tool(tool) for tool in tools]
    if choice is not None:
        is_named = choice.mode == "named"
        body["tool_choice"] = {"type": "function", "name": choice.name} if is_named else choice.mode
    parallel = boolean(fields, "parallel_tool_calls")
    if parallel is not None:
        body["parallel_tool_calls"] = parallel


def _tool(tool: Tool) -> Object:
    if tool.is_custom:
        raise Unsupported("tools", f"{tool.where}: write a function with one string parameter in the place of it")
    made: Object = {"type": "function", "name": tool.name}
    if tool.description:
        made["description"] = tool.description
    return {**made, "parameters": tool.parameters or _NO_PARAMETERS, "strict": tool.strict}


def _items(turn: Turn, report: Report) -> Iterator[Object]:
    """Yields the items that a turn becomes."""
    note_losses(turn, report, *_LOST)
    report.drop(*(f"messages.{thought.member}" for thought in turn.thinking))
    if turn.role == "tool":
        if turn.media:
            report.drop("messages.content")
        yield {"type": "function_call_output", "call_id": turn.call_id, "output": turn.text}
        return
    is_answer = turn.role == "assistant"
    if turn.role == "system" and turn.media:
        report.drop("messages.content")
    parts = turn.parts if turn.role == "user" else tuple(part for part in turn.parts if isinstance(part, Text))
    content = list(_content(parts, "output_text" if is_answer else "input_text"))
    if content or not (is_answer or turn.role == "system"):
        role = "developer" if turn.role == "system" else turn.role
        yield {"type": "message", "role": role, "content": content or [_SILENCE]}
    for call in turn.calls:
        arguments = encode(call.input()).decode() if call.is_custom else call.arguments or "{}"
        yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments}


def _content(parts: Sequence[Part], kind: str) -> Iterator[Object]:
    for part in parts:
        if isinstance(part, Media):
            yield _image(part)
        elif part.text:
            yield {"type": kind, "text": part.text}


def _image(media: Media) -> Object:
    if media.kind != "image":
        raise Unsupported("messages", f"{media.where}: only text and images can be sent to Codex")
    if media.file_id:
        raise Unsupported("messages", f"{media.where}: files of OpenAI's API are not known to Codex; send the image")
    url = media.url or f"data:{media.media_type or 'image/png'};base64,{media.data}"
    made: Object = {"type": "input_image", "image_url": url}
    return {**made, "detail": media.detail} if media.detail else made
