"""A whole answer of generateContent as OpenAI's chat completion."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from adapters.chunks import completion, message, tool_call
from adapters.codec import as_list, decode, is_null
from adapters.errors import Malformed, UpstreamSaid
from adapters.gemini.answer import (
    Names,
    arguments_of,
    detail_of,
    extra_of,
    image_of,
    raise_for_nothing,
    raise_if_broken,
    text_of,
)
from adapters.gemini.failures import failure_of
from adapters.gemini.partial import PartialCall
from adapters.gemini.wire import (
    Answer,
    Candidate,
    FunctionCall,
    Part,
    annotations_of,
    block_reason,
    finish_of,
    logprobs_of,
    read_answer,
    read_usage,
)
from adapters.translated import TRUNCATED
from adapters.types import Call, Head, Reply, Target, Usage

Object = dict[str, Any]
_ARRAY: Final = b"["
_read_answers: Final = msgspec.json.Decoder(list[Answer]).decode


class _Choice:
    """One choice, put together from its parts."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[Object] = []
        self._details: list[Object] = []
        self._images: list[Object] = []
        self._partial: PartialCall | None = None

    @property
    def is_empty(self) -> bool:
        return not (any(self._texts) or self._thoughts or self._calls or self._images)

    def add(self, part: Part) -> None:
        raw = text_of(part)
        text: str = decode(raw) if raw else ""
        if part.thought:
            self._thoughts.append(text)
        else:
            self._texts.append(text)
        if part.functionCall is not None and self._partial is not None and not part.functionCall.name:
            self._continue(part.functionCall)
        elif part.functionCall is not None:
            name, is_custom = self._names.name(part.functionCall.name or "")
            arguments = arguments_of(part.functionCall, is_custom=is_custom)
            id, extra = self._names.id(part.functionCall.id), extra_of(part.thoughtSignature)
            self._calls.append(tool_call(id, name, arguments, extra, is_custom=is_custom))
            if part.functionCall.willContinue:
                self._partial = PartialCall(len(self._calls) - 1)
                self._continue(part.functionCall)
        elif part.thoughtSignature and raw:
            thought = text if part.thought else None
            self._details.append(detail_of(part.thoughtSignature, thought, len(self._details)))
        if part.inlineData is not None and (image := image_of(part.inlineData, len(self._images))):
            self._images.append(image)

    def _continue(self, call: FunctionCall) -> None:
        partial = self._partial
        if partial is not None:
            partial.add(call.partialArgs)
            made = self._calls[partial.index]
            is_custom = made["type"] == "custom"
            gathered = arguments_of(FunctionCall(args=Raw(partial.arguments().encode())), is_custom=is_custom)
            made["custom" if is_custom else "function"]["input" if is_custom else "arguments"] = gathered
            if not call.willContinue:
                self._partial = None

    def message(self, candidate: Candidate, finish: str) -> tuple[Object, str]:
        """Returns the message, and the finish reason that fits it."""
        if self._partial is not None and finish == "stop":
            raise Malformed("a call of the upstream's answer ended before its arguments did", code=TRUNCATED)
        text = "".join(self._texts)
        refusal = candidate.finishMessage if finish == "content_filter" else None
        made = message(
            None if not text and (self._calls or refusal or self._images) else text,
            tool_calls=self._calls,
            reasoning="".join(self._thoughts),
            details=self._details,
            refusal=refusal,
            annotations=annotations_of(candidate, text.encode()),
        )
        if self._images:
            made["images"] = self._images
        return made, "tool_calls" if finish == "stop" and self._calls else finish


class _Whole(Struct):
    """The events of an answer, laid together."""

    candidates: dict[int, list[Candidate]]
    usage: Usage | None = None
    model: str | None = None
    blocked: str | None = None


def read_chat(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under a 2xx status."""
    try:
        return _read(call, target, head, body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"the upstream's answer cannot be read ({len(body)} bytes)") from error


def _read(call: Call, target: Target, head: Head, body: bytes) -> Reply:
    whole = _laid_together(_answers(target, head, body))
    model = whole.model or target.model
    if not whole.candidates:
        if whole.blocked is None:
            raise Malformed("the upstream's answer has no candidates", code="upstream_empty_response")
        choices = [(message(None, refusal=whole.blocked), "content_filter")]
        return completion(call, model=model, choices=choices, usage=whole.usage)
    names = Names(call)
    made = [_choice(candidates, names) for _, candidates in sorted(whole.candidates.items())]
    return completion(
        call,
        model=model,
        choices=[(said, finish) for said, finish, _ in made],
        usage=whole.usage,
        logprobs=[found for _, _, found in made],
    )


def _answers(target: Target, head: Head, body: bytes) -> list[Answer]:
    """Reads one response, or an array of them: what a stream is without `alt=sse`."""
    is_array = body.lstrip()[:1] == _ARRAY
    answers = _read_answers(body) if is_array else [read_answer(body)]
    if not body.isascii():
        body.decode()  # msgspec leaves undecoded members unchecked
    for index, answer in enumerate(answers):
        if not is_null(answer.error):
            decoded = decode(body)
            raise UpstreamSaid(failure_of(target, head, as_list(decoded)[index] if is_array else decoded))
    return answers


def _laid_together(answers: list[Answer]) -> _Whole:
    whole = _Whole({})
    for answer in answers:
        whole.usage = read_usage(answer.usageMetadata, whole.usage)
        whole.model = whole.model or answer.modelVersion
        whole.blocked = whole.blocked or block_reason(answer.promptFeedback)
        for candidate in answer.candidates or ():
            whole.candidates.setdefault(candidate.index or 0, []).append(candidate)
    return whole


def _choice(candidates: list[Candidate], names: Names) -> tuple[Object, str, Object | None]:
    """Returns the message, finish reason and log probabilities of the pieces of one choice."""
    choice = _Choice(names)
    last = candidates[-1]
    finish = None
    logprobs: Object | None = None
    for candidate in candidates:
        for part in (candidate.content.parts if candidate.content else None) or ():
            choice.add(part)
        raise_if_broken(candidate)
        logprobs = logprobs_of(candidate.logprobsResult) or logprobs
        if (found := finish_of(candidate.finishReason)) is not None:
            finish, last = found, candidate
    if choice.is_empty and finish in (None, "stop"):
        raise_for_nothing(last)
    said, finish = choice.message(last, finish or "stop")
    return said, finish, logprobs
