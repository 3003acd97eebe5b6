"""Gemini's stream: each event is a whole response with the pieces that are new.

There is no event for the end: the stream is whole if a finish reason came before the end of file. Calls come whole; a
call may stand in an earlier event than the finish reason, which never says that there were calls.
(ai.google.dev/gemini-api/docs/text-generation, streaming, read 2026-11.)
"""

from __future__ import annotations

from msgspec import Raw

from adapters.codec import decode, is_null
from adapters.errors import UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.framing.sse import DataSplitter
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
from adapters.gemini.reply import read_chat
from adapters.gemini.wire import (
    ABSENT,
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
from adapters.translated import TRUNCATED, TranslatedStream, json_string
from adapters.types import MAX_EVENT_BYTES, Call, Head, Target
from adapters.whole import WholeReader

_OPEN_ARRAY = b"["


class GeminiStream(TranslatedStream[bytes]):
    """Decodes one stream of a chat."""

    def __init__(self, call: Call, target: Target, head: Head, whole: WholeReader = read_chat) -> None:
        """`whole` reads an answer in one piece, if that is not Gemini's own."""
        super().__init__(call, target, head, DataSplitter(MAX_EVENT_BYTES), whole=whole)
        self._names = Names(call)
        self._annotations = 0
        self._details = 0
        self._images = 0
        self._partial: PartialCall | None = None
        self._is_custom = False
        """Whether that call is one of a custom tool."""
        self._said: list[bytes] = []
        """The text as JSON strings: where sources belong can only be told with all of it at hand."""
        self._length = 0

    def event(self, event: bytes) -> None:
        """Reads one response; raises Malformed or UpstreamSaid."""
        if not event.isascii():
            event.decode()  # msgspec leaves undecoded members unchecked
        if event.startswith(_OPEN_ARRAY):
            raise UpstreamSaid(failure_of(self._target, self._head, decode(event)))
        answer = read_answer(event)
        if answer.error is not ABSENT and not is_null(answer.error):
            raise UpstreamSaid(failure_of(self._target, self._head, decode(event)))
        if self.model is None:
            self.begin(answer.modelVersion)
        self.usage = read_usage(answer.usageMetadata, self.usage)
        for candidate in answer.candidates or ():
            if not candidate.index:
                self._candidate(candidate)
        if answer.promptFeedback is not ABSENT and self.finish is None:
            self._blocked(answer)

    def _candidate(self, candidate: Candidate) -> None:
        content = candidate.content
        if content is not None:
            for part in content.parts or ():
                self._part(part)
        if candidate.logprobsResult is not ABSENT and (found := logprobs_of(candidate.logprobsResult)):
            self.add_logprobs(found)
        if candidate.finishReason is not None:
            self._finish(candidate)

    def _part(self, part: Part) -> None:
        text = text_of(part)
        if part.thought:
            self.think(text)
        elif text:
            self.say(text)
            self._length += len(text)
            if self._length < MAX_EVENT_BYTES:
                self._said.append(text)
        if part.thoughtSignature is None and part.functionCall is None and part.inlineData is None:
            return
        if part.functionCall is not None:
            self._call_of(part.functionCall, part.thoughtSignature)
        elif part.thoughtSignature and part.text is not ABSENT:
            thought = decode(text) if part.thought and text else None
            self.add(reasoning_details=[detail_of(part.thoughtSignature, thought, self._details)])
            self._details += 1
        if part.inlineData is not None and (image := image_of(part.inlineData, self._images)):
            self.add(images=[image])
            self._images += 1

    def _call_of(self, call: FunctionCall, signature: str | None) -> None:
        if self._partial is not None and not call.name:
            self._continue(call)
            return
        if self.finish == "stop":
            self.end("tool_calls")  # it came behind the finish reason
        name, is_custom = self._names.name(call.name or "")
        index = self.open_tool(self._names.id(call.id), name, extra_of(signature), is_custom=is_custom)
        if call.willContinue:
            self._partial, self._is_custom = PartialCall(index), is_custom
            self._continue(call)
            return
        self.add_arguments(index, json_string(arguments_of(call, is_custom=is_custom)), is_custom=is_custom)

    def _continue(self, call: FunctionCall) -> None:
        partial = self._partial
        if partial is None:
            return
        partial.add(call.partialArgs)
        if not call.willContinue:
            self._tell(partial)

    def _tell(self, partial: PartialCall) -> None:
        gathered = FunctionCall(args=Raw(partial.arguments().encode()))
        arguments = json_string(arguments_of(gathered, is_custom=self._is_custom))
        self.add_arguments(partial.index, arguments, is_custom=self._is_custom)
        self._partial = None

    def complete(self) -> None:
        """Tells what there is of a call whose end the upstream's limit took; no other end may take it."""
        if self._partial is not None and self.finish in ("stop", "tool_calls"):
            message = "a call of the upstream's answer ended before its arguments did"
            self._fail(Failure(FailureKind.MALFORMED, message, code=TRUNCATED))
            return
        if self._partial is not None:
            self._tell(self._partial)
        super().complete()

    def _finish(self, candidate: Candidate) -> None:
        raise_if_broken(candidate)
        finish = finish_of(candidate.finishReason)
        if finish is None:
            return
        if not is_null(candidate.groundingMetadata) or not is_null(candidate.citationMetadata):
            said = "".join(map(decode, self._said)).encode()
            for annotation in annotations_of(candidate, said):
                # Without an index, the OpenAI SDK's accumulator raises at the second one.
                self.add(annotations=[{"index": self._annotations, **annotation}])
                self._annotations += 1
        if finish == "stop":
            if not self.has_content:
                raise_for_nothing(candidate)
            finish = "tool_calls" if self.tool_count else finish
        elif finish == "content_filter" and candidate.finishMessage:
            self.add(refusal=candidate.finishMessage)
        self.end(finish)

    def _blocked(self, answer: Answer) -> None:
        """Ends the answer to a prompt that was refused: there are no candidates then."""
        if (reason := block_reason(answer.promptFeedback)) is not None:
            self.add(refusal=reason)
            self.end("content_filter")
