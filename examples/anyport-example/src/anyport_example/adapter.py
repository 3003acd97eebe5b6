"""The toy protocol: one text in, one text out.

    POST /say     {"model": "m", "text": "user: Hello", "limit": 100, "stream": false}
    -> 200        {"text": "Hi!", "read": 3, "wrote": 2}

With `stream` the answer is one JSON object a line, `{"text": "Hi"}`, and the last one has the counts. An error is
`{"error": "..."}` with a status that says the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from adapters.chunks import completion, message
from adapters.codec import encode
from adapters.conversation import Text, read_turns
from adapters.errors import Malformed, Unsupported
from adapters.failures import Failure, classify
from adapters.fidelity import Table, dropped, emulated, passed, refused, renamed, survey
from adapters.fields import max_tokens
from adapters.framing.ndjson import LineSplitter
from adapters.parts import split_choices
from adapters.translated import TranslatedStream, json_string
from adapters.types import (
    JSON_HEADERS,
    MAX_EVENT_BYTES,
    Call,
    Head,
    HttpRequest,
    Operation,
    Reply,
    StreamDecoder,
    Target,
    Usage,
)

_CHAT: Table = {
    "model": passed(),
    "messages": emulated("one text, each message after the name of its role"),
    "max_tokens": renamed("limit"),
    "max_completion_tokens": renamed("limit"),
    "stream": passed(),
    "stream_options": emulated("the last object of a stream has the counts"),
    "n": emulated("one call for each choice"),
    "temperature": dropped(),
    "tools": refused("the toy protocol knows no tools"),
}


class Said(msgspec.Struct):
    """One object of an answer."""

    text: str = ""
    read: int | None = None
    wrote: int | None = None


class ToyAdapter:
    """Speaks the toy protocol."""

    protocol: ClassVar[str] = "toy"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT})
    paths: ClassVar[Mapping[Operation, str]] = {Operation.CHAT: "/say", Operation.MODELS: "/models"}
    fidelity: ClassVar[Mapping[Operation, Table]] = {Operation.CHAT: _CHAT}

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns one call for each choice."""
        return split_choices(call)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises Unsupported for tools and media."""
        report = survey(call.fields, _CHAT)
        lines: list[str] = []
        for turn in read_turns(call, report):
            for part in turn.parts:
                if not isinstance(part, Text):
                    raise Unsupported(part.where, f"{part.where}: the toy protocol takes text alone")
                lines.append(f"{turn.role}: {part.text}")
        body: dict[str, object] = {"model": target.model, "text": "\n".join(lines), "stream": call.stream}
        if (limit := max_tokens(call.fields)) is not None:
            body["limit"] = limit
        url = target.url(Operation.CHAT)
        return HttpRequest("POST", url, target.headers + JSON_HEADERS, encode(body), report.dropped)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises Malformed."""
        try:
            said = msgspec.json.decode(body, type=Said)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Malformed("the answer is not as the toy protocol promises") from error
        return completion(call, model=target.model, choices=[(message(said.text), "stop")], usage=_usage(said))

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a fresh decoder for one response."""
        return ToyStream(call, target, head, LineSplitter(MAX_EVENT_BYTES))

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return classify(head.status, head.headers, body, target.failure_rules)


class ToyStream(TranslatedStream[bytes]):
    """Decodes one stream; its base keeps the rules of OpenAI's streams."""

    def event(self, event: bytes) -> None:
        """Reads one line."""
        said = msgspec.json.decode(event, type=Said)
        if said.text:
            self.say(json_string(said.text))
        if said.wrote is not None:
            self.usage: Usage | None = _usage(said)
            self.end("stop")
            self.complete()


def _usage(said: Said) -> Usage:
    return Usage(prompt=said.read or 0, completion=said.wrote or 0)
