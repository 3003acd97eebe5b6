"""Code infill: OpenAI's text completions on Mistral's `/fim/completions`, whose answers are those of chats."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.chunks import text_completion
from adapters.codec import as_list, as_object, decode, encode, is_null
from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import Failure, FailureKind, describe, from_description
from adapters.fidelity import survey
from adapters.fields import one_prompt, pass_on
from adapters.framing.sse import DONE, DataSplitter
from adapters.mistral.reply import as_openai, checked_object
from adapters.mistral.request import sampling
from adapters.mistral.table import COMPLETIONS
from adapters.openai.reply import read_reply
from adapters.openai.shapes import BROKEN_FINISH, finish_reason, join_content
from adapters.openai.usage import read_usage
from adapters.rules import NO_RULES
from adapters.translated import BAD_EVENT, EMPTY, TranslatedStream
from adapters.types import MAX_EVENT_BYTES, Call, Head, Operation, Reply, Target

_CHAT_ONLY: Final = ("n", "presence_penalty", "frequency_penalty", "guardrails", "safe_prompt", "prompt_mode")


_ABSENT = Raw()


class _Delta(Struct):
    content: Raw = _ABSENT


class _Choice(Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: Raw = _ABSENT
    model: str | None = None
    error: Raw = _ABSENT
    object: str | None = None


_chunk = msgspec.json.Decoder(_Chunk).decode


def fim_body(call: Call, target: Target) -> tuple[bytes, tuple[str, ...]]:
    """Returns the body of a text completion and the fields that it had to leave out; raises Unsupported."""
    prompt = one_prompt(call.fields)
    report = survey(call.fields, COMPLETIONS)
    body: dict[str, Any] = sampling(call, target, report)
    for name in _CHAT_ONLY:
        body.pop(name, None)
    pass_on(call.fields, ("min_tokens", "suffix"), body)
    body["prompt"] = prompt
    return encode(body), report.dropped


def read_fim(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer as a text completion; raises Malformed or UpstreamSaid."""
    as_chat = msgspec.structs.replace(call, operation=Operation.CHAT)
    reply = read_reply(as_chat, as_openai(target), head, body)
    choices = [
        (_text(as_object(choice).get("message")), as_object(choice).get("finish_reason") or "stop", None)
        for choice in as_list(checked_object(reply.body).get("choices"))
    ]
    return text_completion(call, model=reply.model or target.model, choices=choices, usage=reply.usage)


def _text(message: object) -> str:
    content = as_object(message).get("content")
    return content if isinstance(content, str) else ""


class FimStream(TranslatedStream[bytes]):
    """Decoder of one infill stream."""

    def __init__(self, call: Call, target: Target, head: Head) -> None:
        super().__init__(call, target, head, DataSplitter(MAX_EVENT_BYTES), whole=read_fim)

    def event(self, event: bytes) -> None:
        """Reads one chunk."""
        if event == DONE:
            if self.finish is None:
                raise Malformed("the upstream's stream ended without a finish reason", code=EMPTY)
            self.complete()
            return
        chunk = _chunk(event)
        if not event.isascii():
            event.decode()
        if (
            (chunk.error is not _ABSENT and not is_null(chunk.error))
            or chunk.object == "error"
            or chunk.choices is None
        ):
            raise self._error(event)
        self.begin(chunk.model)
        if chunk.usage is not _ABSENT and not is_null(chunk.usage):
            self.usage = read_usage(chunk.usage, NO_RULES) or self.usage
        for choice in chunk.choices[:1]:
            self._choice(choice)

    def _choice(self, choice: _Choice) -> None:
        content = b"" if choice.delta is None else bytes(choice.delta.content)
        if content[:1] == b"[":
            message = {"content": decode(content)}
            join_content(message)
            content = encode(message["content"])
        if content[:1] == b'"':
            self.say(content)
        word = choice.finish_reason
        if word in BROKEN_FINISH:
            raise UpstreamSaid(Failure(FailureKind.SERVER, f"the upstream ended its answer with {word!r}", code=word))
        if word:
            self.end(finish_reason(word, has_tool_calls=False) or "stop")

    def _error(self, event: bytes) -> Exception:
        said = describe(decode(event))
        if not (said.message or said.code):
            return Malformed("an event of the upstream's stream has no choices", code=BAD_EVENT)
        rules = as_openai(self._target).failure_rules
        return UpstreamSaid(from_description(said, self._head.status, self._head.headers, rules))
