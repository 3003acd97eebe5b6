"""TGI's own streams: one event a token, the last of them with the whole text and the counts, no `[DONE]`."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from adapters.chunks import TextChunks
from adapters.codec import encode, is_null
from adapters.errors import UpstreamSaid
from adapters.fields import boolean, integer, one_prompt, texts
from adapters.framing.sse import DONE, DataSplitter
from adapters.tgi.failures import read_failure
from adapters.tgi.generation import FINISH, Details, Token, counted, log_probabilities, read_generation
from adapters.translated import TranslatedStream
from adapters.types import MAX_EVENT_BYTES, Call, Head, Target

_ABSENT = Raw()


class _Event(Struct):
    token: Token | None = None
    generated_text: str | None = None
    details: Details | None = None
    error: Raw = _ABSENT
    top_tokens: list[Token] | None = None


_event = msgspec.json.Decoder(_Event).decode
_string = msgspec.json.Decoder(str).decode


class GenerationStream(TranslatedStream[bytes]):
    """Decoder of one stream of a text completion."""

    def __init__(self, call: Call, target: Target, head: Head) -> None:
        super().__init__(call, target, head, DataSplitter(MAX_EVENT_BYTES), whole=read_generation)
        self._stops = [stop for stop in texts(call.fields, "stop") if stop]
        self._held = ""
        self._wants_logprobs = bool(integer(call.fields, "logprobs"))
        self._offset = 0
        self._echo = one_prompt(call.fields) if boolean(call.fields, "echo") else ""

    def event(self, event: bytes) -> None:
        """Reads one token, or the error that ends the stream."""
        if event == DONE:
            return
        said = _event(event)
        if not event.isascii():
            event.decode()
        if said.error is not _ABSENT and not is_null(said.error):
            raise UpstreamSaid(read_failure(self._target, self._head, event))
        if self._echo:
            self.say(encode(self._echo))
            self._offset, self._echo = len(self._echo), ""
        token = said.token
        if token is not None and not token.special and bytes(token.text)[:1] == b'"':
            self._token(token, said.top_tokens)
        if said.details is not None or said.generated_text is not None:
            self._last(said.details or Details())

    def _token(self, token: Token, top: list[Token] | None) -> None:
        if self._wants_logprobs:
            self._tell(token, top)
        elif self._stops:
            self._hold(_string(token.text))
        else:
            self.say(bytes(token.text))

    def _tell(self, token: Token, top: list[Token] | None) -> None:
        """Sends a token with its probabilities; one that may begin a stop is not held back: it would lose them."""
        chunks = self._started()
        text = _string(token.text)
        if isinstance(chunks, TextChunks) and text:
            logprobs = log_probabilities([token], [top] if top else None, self._offset)
            self._out.append(chunks.text(bytes(token.text), encode(logprobs)))
            self._offset += len(text)

    def _hold(self, text: str) -> None:
        """Sends the text but for an end that may be, or begin, a stop: TGI tells the stop, OpenAI's answers do not."""
        text = self._held + text
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        if len(text) > keep:
            self.say(encode(text[: len(text) - keep]))

    def _last(self, details: Details) -> None:
        is_stop = details.finish_reason == "stop_sequence" and self._held in self._stops
        if self._held and not is_stop:
            self.say(encode(self._held))
        self.usage = counted(bytes(details.input_length), bytes(details.generated_tokens))
        self.end(FINISH.get(details.finish_reason or "", "stop"))
        self.complete()


def _overlap(text: str, stop: str) -> int:
    """Returns how many characters at the end of `text` begin `stop`, or are it."""
    return next((n for n in range(min(len(stop), len(text)), 0, -1) if text.endswith(stop[:n])), 0)
