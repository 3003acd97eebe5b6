"""A stream told as a whole answer, for upstreams that stream although nobody asked them to; the reverse of whole.py."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from adapters.chunks import wants_function_call
from adapters.codec import JSON, as_list, as_object, as_text, decode, encode
from adapters.errors import Malformed, UpstreamSaid
from adapters.framing.sse import DONE, data_of
from adapters.types import Adapter, Call, Head, Operation, Reply, Target

Object = dict[str, Any]
_JOINED: Final = ("content", "refusal", "reasoning_content")
_LISTED: Final = ("annotations", "images", "reasoning_details")


_BEGINNINGS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")


def is_stream(body: bytes) -> bool:
    """True for a body of events: no JSON begins like one, whatever the response says that it is."""
    return body[:1] != b"{" and body[:64].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_BEGINNINGS)


def gather_reply(adapter: Adapter, call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the whole answer that the events in `body` make; raises Malformed or UpstreamSaid as a reply does."""
    decoder = adapter.stream(msgspec.structs.replace(call, stream=True, wants_usage=True), target, head)
    frames = decoder.feed(body)
    frames += decoder.close()
    if decoder.failure is not None:
        raise UpstreamSaid(decoder.failure)
    answer = _gathered(call, frames)
    choices = as_list(answer["choices"])
    if not choices:
        raise Malformed("the upstream's stream holds no answer", code="upstream_empty_response")
    return Reply(encode(answer), decoder.usage, decoder.model, choices[0]["finish_reason"])


def _gathered(call: Call, frames: bytes) -> Object:
    is_chat = call.operation is Operation.CHAT
    answer: Object = {}
    choices: dict[int, Object] = {}
    for block in frames.split(b"\n\n"):
        data = data_of(block)
        if not data or data == DONE:
            continue
        chunk = as_object(decode(data))
        for choice in map(as_object, as_list(chunk.pop("choices", None))):
            _take(choice, choices, is_chat=is_chat)
        answer |= {name: value for name, value in chunk.items() if value is not None}
    answer["object"] = "chat.completion" if is_chat else "text_completion"
    made = [choices[index] for index in sorted(choices)]
    for choice in made:
        choice["finish_reason"] = choice["finish_reason"] or "stop"
        if is_chat:
            _finish_message(choice, call)
    return {**answer, "choices": made}


def _take(choice: Object, choices: dict[int, Object], *, is_chat: bool) -> None:
    index = choice.get("index", 0)
    begun: Object = {"index": index, "logprobs": None, "finish_reason": None}
    begun |= {"message": {"role": "assistant", "content": None}} if is_chat else {"text": ""}
    made = choices.setdefault(index, begun)
    made["finish_reason"] = choice.get("finish_reason") or made["finish_reason"]
    if found := as_object(choice.get("logprobs")):
        made["logprobs"] = _extended(as_object(made["logprobs"]), found)
    if not is_chat:
        made["text"] += as_text(choice.get("text"))
        return
    delta, message = as_object(choice.get("delta")), made["message"]
    for name in _JOINED:
        if isinstance(delta.get(name), str):
            message[name] = (message.get(name) or "") + delta[name]
    for name in _LISTED:
        if items := as_list(delta.get(name)):
            message[name] = [*as_list(message.get(name)), *items]
    for call in map(as_object, as_list(delta.get("tool_calls"))):
        _take_call(call, message.setdefault("tool_calls", {}))
    if function := as_object(delta.get("function_call")):
        message["function_call"] = _joined(as_object(message.get("function_call")), function)


def _take_call(call: Object, calls: dict[int, Object]) -> None:
    made = calls.setdefault(call.pop("index", len(calls)), {})
    for name, value in call.items():
        is_text = name in ("function", "custom") and isinstance(value, dict)
        made[name] = _joined(as_object(made.get(name)), as_object(value)) if is_text else value


def _joined(made: Object, more: Object) -> Object:
    """Returns a function's name and arguments with another piece of each."""
    texts = {name: as_text(made.get(name)) + value for name, value in more.items() if isinstance(value, str)}
    return {**made, **texts}


def _extended(made: Object, more: Object) -> Object:
    lists = {name: [*as_list(made.get(name)), *as_list(value)] for name, value in more.items() if value is not None}
    return {**made, **lists}


def _finish_message(choice: Object, call: Call) -> None:
    message: Object = choice["message"]
    message.setdefault("refusal", None)
    calls: JSON = message.get("tool_calls")
    if calls is not None:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    elif message["content"] is None and not wants_function_call(call):
        message["content"] = ""
