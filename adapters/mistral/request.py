"""OpenAI request -> Mistral request. Mistral refuses every field that it does not know (422), so that only these go.

Fields are written in one order, the messages last: a longer conversation then begins with the same bytes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.codec import as_list, as_object, decode, encode, is_null
from adapters.conversation import read_turns
from adapters.errors import Unsupported
from adapters.fidelity import Report, is_neutral, survey
from adapters.fields import Fields, integer, max_tokens, members, number, pass_on, text
from adapters.mistral.messages import messages
from adapters.mistral.table import CHAT, EMBEDDINGS, MAX_TEMPERATURE
from adapters.settled import settle
from adapters.structured import read_format
from adapters.tools import add_functions, read_tools
from adapters.types import Call, Target

Object = dict[str, Any]
Built = tuple[bytes, tuple[str, ...]]
_PASSED: Final = (
    "top_p", "n", "stop", "presence_penalty", "frequency_penalty", "parallel_tool_calls", "random_seed", "metadata",
    "prompt_cache_key", "safe_prompt", "prompt_mode", "guardrails",
)  # fmt: skip
_EFFORTS: Final = {"minimal": "none", "low": "high", "medium": "high", "xhigh": "high", "max": "high"}


class _Message(Struct):
    role: str = ""
    content: Raw = Raw()
    prefix: bool | None = None
    tool_calls: Raw = Raw()


_messages = msgspec.json.Decoder(list[_Message]).decode


def chat_body(call: Call, target: Target) -> Built:
    """Returns the body of a chat and the fields that it had to leave out; raises Unsupported."""
    fields = call.fields
    report = survey(fields, CHAT)
    body = sampling(call, target, report)
    _effort(body, fields, report)
    prediction = members(fields, "prediction")
    if prediction is not None:
        body["prediction"] = {"type": "content", "content": _joined(prediction.get("content"))}
    _tools(body, fields, report)
    _response_format(body, fields)
    turns = settle(read_turns(call, report))
    body["messages"] = messages(turns, report, replays_thinking=_reasons(target.model, fields))
    return encode(body), report.dropped


def embedding_body(call: Call, target: Target) -> Built:
    """Returns the body of an embeddings request; raises Unsupported."""
    fields = call.fields
    report = survey(fields, EMBEDDINGS)
    body: Object = {"model": target.model}
    if bytes(fields["input"])[:1] == b"[":
        _refuse_tokens(decode(fields["input"]))
    for name in ("output_dtype", "metadata"):
        if not is_neutral(name, fields.get(name, Raw())):
            body[name] = fields[name]
    dimensions = integer(fields, "output_dimension")
    dimensions = integer(fields, "dimensions") if dimensions is None else dimensions
    if dimensions is not None:
        body["output_dimension"] = dimensions
    body["input"] = fields["input"]
    return encode(body), report.dropped


def _refuse_tokens(inputs: object) -> None:
    if any(not isinstance(item, str) for item in as_list(inputs)):
        raise Unsupported("input", "input must be a text or texts for Mistral, which takes no token ids")


def sampling(call: Call, target: Target, report: Report) -> Object:
    """Returns the fields that chats and text completions share."""
    fields = call.fields
    body: Object = {"model": target.model}
    if call.stream:
        body["stream"] = True
    temperature = number(fields, "temperature")
    if temperature is not None:
        body["temperature"] = min(temperature, MAX_TEMPERATURE)
        if temperature > MAX_TEMPERATURE:
            report.drop("temperature")
    limit = max_tokens(fields)
    if limit is not None:
        body["max_tokens"] = limit
    pass_on(fields, _PASSED, body)
    seed = integer(fields, "seed")
    if seed is not None and "random_seed" not in body:
        if seed < 0:
            report.drop("seed")
        else:
            body["random_seed"] = seed
    return body


def _effort(body: Object, fields: Fields, report: Report) -> None:
    effort = text(fields, "reasoning_effort")
    if effort is not None:
        body["reasoning_effort"] = _EFFORTS.get(effort, effort)
        if effort in _EFFORTS:
            report.drop("reasoning_effort")


def _joined(content: object) -> str:
    if isinstance(content, str):
        return content
    pieces = (as_object(part).get("text") for part in as_list(content))
    return "".join(piece for piece in pieces if isinstance(piece, str))


def _tools(body: Object, fields: Fields, report: Report) -> None:
    box = read_tools(fields)
    if not add_functions(body, box, report, "Mistral", takes_strict=True):
        body.pop("parallel_tool_calls", None)
        if box.parallel is not None:
            report.drop("parallel_tool_calls")


def _response_format(body: Object, fields: Fields) -> None:
    wanted = read_format(fields)
    if wanted.kind == "json_object" or (wanted.kind == "json_schema" and not wanted.schema):
        body["response_format"] = {"type": "json_object"}
    elif wanted.kind == "json_schema":
        schema: Object = {"name": wanted.name, "schema": wanted.schema, "strict": wanted.strict}
        if wanted.description:
            schema["description"] = wanted.description
        body["response_format"] = {"type": "json_schema", "json_schema": schema}


def _reasons(model: str, fields: Fields) -> bool:
    """True if reasoning may be sent back: other models than those that reason know no such parts.

    A client that writes Mistral's own parts knows what it does.
    """
    return (
        "magistral" in model.lower()
        or not is_null(fields.get("reasoning_effort"))
        or not is_null(fields.get("prompt_mode"))
        or b'"thinking"' in bytes(fields["messages"])
    )


def implied_prefix(call: Call) -> str:
    """Returns the text of an assistant turn that the conversation ends with although it is not marked as a prefix.

    Mistral refuses such a turn unless it is marked, and repeats a prefix in its answer; a client that did not ask for
    Mistral's way expects what follows only. Who marks the turn gets what Mistral says.
    """
    raw = call.fields.get("messages")
    if raw is None or b'"assistant"' not in bytes(raw):
        return ""
    try:
        messages = _messages(raw)
    except msgspec.MsgspecError:
        return ""
    for last in reversed(messages):
        if last.role != "assistant" or last.prefix or not is_null(last.tool_calls):
            return ""
        if found := _joined(decode(last.content)) if not is_null(last.content) else "":
            return found
    return ""
