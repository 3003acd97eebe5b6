"""Builders of OpenAI's answers, for protocols that do not speak OpenAI themselves.

Everything that a client can get of a translated answer is built here, so that all protocols answer alike: whole chat
completions, the frames of a stream, lists of embeddings. Text travels as the JSON string that the upstream wrote
(`raw`): decoding and encoding it again would cost more than all the rest of a frame.
"""

from __future__ import annotations

from typing import Any, Final

from adapters.codec import JSON, base64_from_floats, encode
from adapters.errors import Malformed
from adapters.fields import input_texts, text
from adapters.framing.sse import DONE_FRAME, frame
from adapters.types import Call, Reply, Usage

Object = dict[str, Any]
_OPEN: Final = b',"finish_reason":null}]}\n\n'
_NO_TOOLS: Final = (b"", b"null", b"[]")
EMPTY_STRINGS: Final = (b"", b'""', b"null")
"""JSON text of what is not worth a frame."""


def usage_object(usage: Usage) -> Object:
    """Returns `usage` as OpenAI writes it: prompt tokens include cached ones, completion tokens include reasoning."""
    prompt_details: Object = {"cached_tokens": usage.cached_prompt}
    if usage.cache_write:
        prompt_details["cache_write_tokens"] = usage.cache_write
    counts: Object = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": prompt_details,
    }
    if usage.reasoning:  # many providers do not count it apart: to tell 0 of an answer that was thought over is a lie
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return counts


def wants_function_call(call: Call) -> bool:
    """True for a client that wrote `functions` and so reads `function_call`, not `tool_calls`."""
    return "functions" in call.fields and bytes(call.fields.get("tools", b"")) in _NO_TOOLS


def tool_call(id: str, name: str, arguments: str, extra: JSON = None, *, is_custom: bool = False) -> Object:
    """Returns one member of `message.tool_calls`."""
    if is_custom:
        made: Object = {"id": id, "type": "custom", "custom": {"name": name, "input": arguments}}
    else:
        made = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
    if extra is not None:
        made["extra_content"] = extra
    return made


def message(
    content: str | None,
    *,
    tool_calls: list[Object] | None = None,
    reasoning: str = "",
    details: list[Object] | None = None,
    refusal: str | None = None,
    annotations: list[Object] | None = None,
) -> Object:
    """Returns an assistant message; members that say nothing are left out, but for `content` and `refusal`."""
    made: Object = {"role": "assistant", "content": content, "refusal": refusal}
    if annotations:
        made["annotations"] = annotations
    if tool_calls:
        made["tool_calls"] = tool_calls
    if reasoning:
        made["reasoning_content"] = reasoning
    if details:
        made["reasoning_details"] = details
    return made


def completion(
    call: Call,
    *,
    model: str,
    choices: list[tuple[Object, str]],
    usage: Usage | None,
    extra: Object | None = None,
    logprobs: list[JSON] | None = None,
) -> Reply:
    """Returns a whole chat completion of (message, finish reason) pairs; `logprobs` has one value for each."""
    made: list[Object] = []
    for index, (content, finish) in enumerate(choices):
        if wants_function_call(call) and content.get("tool_calls"):
            content = dict(content)
            content["function_call"] = content.pop("tool_calls")[0]["function"]
            finish = "function_call" if finish == "tool_calls" else finish
        found = logprobs[index] if logprobs else None
        made.append({"index": index, "message": content, "logprobs": found, "finish_reason": finish})
    body: Object = {
        "id": call.id,
        "object": "chat.completion",
        "created": call.created,
        "model": model,
        "choices": made,
        **(extra or {}),
    }
    if usage is not None:
        body["usage"] = usage_object(usage)
    return Reply(encode(body), usage, model, made[0]["finish_reason"])


def text_completion(call: Call, *, model: str, choices: list[tuple[str, str, JSON]], usage: Usage | None) -> Reply:
    """Returns a whole text completion of (text, finish reason, log probabilities or None) triples."""
    body: Object = {
        "id": call.id,
        "object": "text_completion",
        "created": call.created,
        "model": model,
        "choices": [
            {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
            for index, (text, finish, logprobs) in enumerate(choices)
        ],
    }
    if usage is not None:
        body["usage"] = usage_object(usage)
    return Reply(encode(body), usage, model, choices[0][1])


def embedding_list(call: Call, *, model: str, vectors: list[list[float]], usage: Usage | None) -> Reply:
    """Returns a list of embeddings in the encoding that the client asked for.

    Raises Malformed for what are no numbers, and for vectors that are not as many as the texts: they could be others'.
    """
    count = len(input_texts(call.fields))
    if not vectors:
        raise Malformed("the upstream's answer has no embeddings", code="upstream_empty_response")
    if len(vectors) != count:
        raise Malformed(f"the upstream made {len(vectors)} embeddings of {count} inputs")
    if not all(vectors):
        raise Malformed("an embedding of the upstream's answer cannot be read")
    as_text = text(call.fields, "encoding_format") == "base64"
    try:
        data = [
            {"object": "embedding", "index": index, "embedding": base64_from_floats(vector) if as_text else vector}
            for index, vector in enumerate(vectors)
        ]
    except ValueError as error:
        raise Malformed("an embedding of the upstream's answer cannot be read") from error
    body: Object = {"object": "list", "data": data, "model": model}
    tokens = usage.prompt if usage else 0
    body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Reply(encode(body), usage, model)


class Chunks:
    """Builds the frames of one translated chat stream; it remembers nothing but what is the same in all of them."""

    __slots__ = ("_constant", "_head", "_legacy")

    def __init__(self, call: Call, model: str) -> None:
        self._constant = (
            b'data: {"id":%s,"object":"chat.completion.chunk","created":%d,"model":%s,'
            % (encode(call.id), call.created, encode(model))
        )  # fmt: skip
        self._head = self._constant + b'"choices":[{"index":0,"delta":'
        self._legacy = wants_function_call(call)

    def role(self, *, has_text: bool = True) -> bytes:
        """The first frame; an answer that begins with a tool call may have no text at all."""
        content = b'""' if has_text else b"null"
        return self._head + b'{"role":"assistant","content":' + content + b"}" + _OPEN

    def text(self, raw: bytes) -> bytes:
        """A piece of the answer; `raw` is a JSON string."""
        return self._head + b'{"content":' + raw + b"}" + _OPEN

    def reasoning(self, raw: bytes) -> bytes:
        """A piece of reasoning; `raw` is a JSON string."""
        return self._head + b'{"reasoning_content":' + raw + b"}" + _OPEN

    def delta(self, members: Object) -> bytes:
        """Any other delta."""
        return self._head + encode(members) + _OPEN

    def tool(self, index: int, id: str, name: str, extra: JSON = None, *, is_custom: bool = False) -> bytes:
        """The head of a tool call; its arguments follow."""
        if self._legacy:
            return self.delta({"function_call": {"name": name, "arguments": ""}}) if index == 0 else b""
        return self.delta({"tool_calls": [{"index": index, **tool_call(id, name, "", extra, is_custom=is_custom)}]})

    def arguments(self, index: int, raw: bytes, *, is_custom: bool = False) -> bytes:
        """A piece of a call's arguments; `raw` is a JSON string that holds a piece of JSON text."""
        if self._legacy:
            return self._head + b'{"function_call":{"arguments":' + raw + b"}}" + _OPEN if index == 0 else b""
        kind = b'"custom":{"input":' if is_custom else b'"function":{"arguments":'
        return self._head + b'{"tool_calls":[{"index":%d,' % index + kind + raw + b"}}]}" + _OPEN

    def logprobs(self, found: JSON) -> bytes:
        """The log probabilities of what was said, as OpenAI's `logprobs` object."""
        return self._head + b'{},"logprobs":' + encode(found) + _OPEN

    def finish(self, reason: str) -> bytes:
        """The frame that says why the answer ended."""
        if self._legacy and reason == "tool_calls":
            reason = "function_call"
        return self._head + b'{},"finish_reason":' + encode(reason) + b"}]}\n\n"

    def usage(self, usage: Usage) -> bytes:
        """The frame of token counts."""
        return self._constant + b'"choices":[],"usage":' + encode(usage_object(usage)) + b"}\n\n"


class TextChunks(Chunks):
    """Builds the frames of one translated text completion, which has no place for roles, reasoning and tools."""

    __slots__ = ()

    def __init__(self, call: Call, model: str) -> None:
        super().__init__(call, model)
        self._constant = self._constant.replace(b'"chat.completion.chunk"', b'"text_completion"', 1)
        self._head = self._constant + b'"choices":[{"index":0,"text":'

    def role(self, *, has_text: bool = True) -> bytes:
        """There is none."""
        return b""

    def text(self, raw: bytes, logprobs: bytes = b"null") -> bytes:
        """A piece of the answer; `raw` is a JSON string, `logprobs` a JSON value."""
        return self._head + raw + b',"logprobs":' + logprobs + _OPEN

    def reasoning(self, raw: bytes) -> bytes:
        """There is no place for it."""
        return b""

    def delta(self, members: Object) -> bytes:
        """There is no place for it."""
        return b""

    def arguments(self, index: int, raw: bytes, *, is_custom: bool = False) -> bytes:
        """There is no place for them."""
        return b""

    def logprobs(self, found: JSON) -> bytes:
        """They stand beside the text here."""
        return b""

    def finish(self, reason: str) -> bytes:
        """The frame that says why the answer ended."""
        return self._head + b'"","logprobs":null,"finish_reason":' + encode(reason) + b"}]}\n\n"


__all__ = [
    "DONE_FRAME", "EMPTY_STRINGS", "Chunks", "TextChunks", "completion", "embedding_list", "frame", "message",
    "text_completion", "tool_call", "usage_object", "wants_function_call",
]  # fmt: skip
