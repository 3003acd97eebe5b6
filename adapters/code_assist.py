"""Code Assist, which Google's Gemini CLI calls: Gemini's bodies in an envelope, for tokens of a login alone.

`POST .../v1internal:generateContent` and `:streamGenerateContent?alt=sse` take `{model, project, user_prompt_id,
request}` and answer `{response, ...}`, each event of a stream likewise (google-gemini/gemini-cli,
packages/core/src/code_assist/converter.ts and server.ts, read 2026-11-21). It has no embeddings and no list of models.

Which project an account works with, `:loadCodeAssist` says (setup.ts, ditto). One that was never set up has none;
setting it up (`:onboardUser`) is left to whoever has the account.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Raw, Struct

from adapters.codec import as_list, as_object, as_text, decode, is_null
from adapters.errors import Malformed
from adapters.failures import Failure, FailureKind
from adapters.fidelity import Table, dropped, renamed, survey
from adapters.gemini import choices_apart
from adapters.gemini.failures import read_failure
from adapters.gemini.models import bare_name
from adapters.gemini.reply import read_chat
from adapters.gemini.request import chat_body, written
from adapters.gemini.stream import GeminiStream
from adapters.gemini.tables import CHAT
from adapters.types import JSON_HEADERS, Call, Head, Headers, HttpRequest, Operation, Reply, StreamDecoder, Target

__all__ = ["CodeAssistAdapter", "CodeAssistPrelude"]

Object = dict[str, Any]
_ABSENT: Final = Raw()
_ARRAY: Final = b"["
_TABLE: Final[Table] = {
    **CHAT,
    "model": renamed("model", "`models/`, `google/` and `gemini/` before it are taken off"),
    "service_tier": dropped("the envelope has no place for it"),
}
_QUESTION: Final = (
    b'{"metadata":{"ideType":"IDE_UNSPECIFIED","platform":"PLATFORM_UNSPECIFIED","pluginType":"PLUGIN_UNSPECIFIED"}}'
)
"""We are none of the programs that it knows."""
_PROJECT: Final = re.compile(r"[A-Za-z0-9.:_-]{1,128}")
_AFTER: Final = re.compile(r"reset after (?:(\d{1,4})h)?(?:(\d{1,4})m)?(?:(\d{1,6})(?:\.\d{1,9})?s)?", re.IGNORECASE)


class _Envelope(Struct):
    response: Raw = _ABSENT
    error: Raw = _ABSENT


_read: Final = msgspec.json.Decoder(_Envelope).decode
_read_all: Final = msgspec.json.Decoder(list[Raw]).decode


class CodeAssistAdapter:
    """Speaks Code Assist."""

    protocol: ClassVar[str] = "code_assist"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT})
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType({})
    fidelity: ClassVar[Mapping[Operation, Table]] = MappingProxyType({Operation.CHAT: _TABLE})

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns one call for each choice that the model cannot make beside others."""
        return choices_apart(call, target)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises Unsupported."""
        report = survey(call.fields, _TABLE)
        inner = chat_body(call, target, report)
        inner.pop("serviceTier", None)
        body: Object = {"model": bare_name(target.model)}
        if target.options.project:
            body["project"] = target.options.project
        body |= {"user_prompt_id": call.id, "request": inner}
        verb = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        url, headers = f"{target.base_url}:{verb}", target.headers + JSON_HEADERS
        return HttpRequest("POST", url, headers, written(body), report.dropped)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises Malformed or UpstreamSaid."""
        return read_chat(call, target, head, _unwrapped(body))

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a decoder of one chat stream."""
        return _Stream(call, target, head, whole=self.reply)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx; its wait stands in the words, for hours."""
        failure = read_failure(target, head, body)
        if failure.retry_after is None and failure.kind is FailureKind.RATE_LIMIT:
            failure = replace(failure, retry_after=_wait(failure.message))
        return failure


class CodeAssistPrelude:
    """Asks for the project of an account."""

    option: ClassVar[str] = "project"
    remedy: ClassVar[str] = "run `gemini` and sign in, which has Google set the account up"

    def question(self, base_url: str, headers: Headers) -> HttpRequest:
        """Returns the request that asks."""
        return HttpRequest("POST", f"{base_url}:loadCodeAssist", headers + JSON_HEADERS, _QUESTION)

    def answer(self, body: bytes) -> str:
        """Returns the project; raises Malformed with Google's reasons where the account has none."""
        try:
            said = as_object(decode(body))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise Malformed("what it says of the account cannot be read") from None
        named = said.get("cloudaicompanionProject")
        project = as_text(named) or as_text(as_object(named).get("id"))
        if _PROJECT.fullmatch(project):
            return project
        tiers = map(as_object, as_list(said.get("ineligibleTiers")))
        reasons = "; ".join(filter(None, (as_text(tier.get("reasonMessage")) for tier in tiers)))
        raise Malformed("the account has no project" + (f" ({reasons})" if reasons else ""))

    def completed(self, request: HttpRequest, answer: str) -> HttpRequest:
        """Returns a request of the adapter, whose body is an object with members, with the project in it."""
        body = b'{"project":' + msgspec.json.encode(answer) + b"," + request.body[1:]
        return HttpRequest(request.method, request.url, request.headers, body, request.dropped)


class _Stream(GeminiStream):
    """Decodes a stream of envelopes."""

    def event(self, event: bytes) -> None:
        """Reads one response; raises Malformed or UpstreamSaid."""
        super().event(_unwrapped(event))


def _unwrapped(body: bytes) -> bytes:
    """Returns what is in the envelope, or the same bytes if that is none: an error, or nothing that can be read."""
    try:
        if body.lstrip()[:1] == _ARRAY:
            return b"[" + b",".join(_opened(bytes(each)) for each in _read_all(body)) + b"]"
        return _opened(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return body


def _opened(body: bytes) -> bytes:
    envelope = _read(body)
    return body if is_null(envelope.response) or not is_null(envelope.error) else bytes(envelope.response)


def _wait(message: str) -> float | None:
    """Returns the seconds of "Your quota will reset after 12h34m16s."."""
    found = _AFTER.search(message)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return float(hours * 3600 + minutes * 60 + seconds) or None
