"""Google Vertex AI: Gemini in Google's protocol, Claude in Anthropic's, the other publishers in OpenAI's.

The base URL ends with the project and the location (`.../v1/projects/P/locations/L`), or with `/v1` for a key of
express mode, which serves Google's own models only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, Final

import msgspec

from adapters.anthropic import AnthropicAdapter
from adapters.anthropic.host import Host
from adapters.anthropic.request import build_body, build_headers
from adapters.anthropic.table import FIDELITY as CLAUDE_TABLES
from adapters.codec import JSON, as_list, as_object, decode, encode
from adapters.errors import Unsupported
from adapters.failures import Failure
from adapters.fidelity import Table, passed, renamed, survey
from adapters.gemini import choices_apart
from adapters.gemini.failures import read_failure
from adapters.gemini.reply import read_chat
from adapters.gemini.request import chat_body, written
from adapters.gemini.stream import GeminiStream
from adapters.gemini.tables import CHAT, EMBEDDINGS
from adapters.openai import OpenAIAdapter
from adapters.types import JSON_HEADERS, Adapter, Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target
from adapters.vertex.embeddings import embeddings_reply, embeddings_request, split_texts
from adapters.vertex.place import claude_name, claude_url, gemini_url, kind_of, openai_url

__all__ = ["VertexAdapter"]

_CLAUDE: Final = AnthropicAdapter()
_OPENAI: Final = OpenAIAdapter()
_OTHERS: Final[Mapping[str, Adapter]] = {"claude": _CLAUDE, "openai": _OPENAI}
_VERTEX: Final = Host(body_version="vertex-2023-10-16", takes_urls=False, has_files=False, binds_thinking=False)
"""platform.claude.com, Claude on Vertex AI, 2026-11."""
_TABLE: Final[Table] = {
    **CHAT,
    "messages.content.file": renamed("inlineData, fileData", "the name only with inline data"),
    "messages.content.file.filename": renamed("displayName", "dropped beside an address"),
    "labels": passed(),
}


class VertexAdapter:
    """Speaks to the models of Vertex AI, each in the protocol that it has there."""

    protocol: ClassVar[str] = "vertex"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT, Operation.EMBEDDINGS})
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType({})
    fidelity: ClassVar[Mapping[Operation, Table]] = MappingProxyType(
        {Operation.CHAT: _TABLE, Operation.EMBEDDINGS: EMBEDDINGS}
    )

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns one call for each choice or text that the model cannot take beside others."""
        other = _OTHERS.get(kind_of(target.model))
        if other is not None:
            return other.parts(call, target)
        return split_texts(call, target) if call.operation is Operation.EMBEDDINGS else choices_apart(call, target)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises Unsupported."""
        kind = kind_of(target.model)
        if kind != "gemini" and call.operation is not Operation.CHAT:
            raise Unsupported("model", f"model {target.model!r} makes no embeddings at Vertex AI")
        if kind == "openai":
            return _OPENAI.request(call, replace(target, paths=openai_url(target)))
        if kind == "claude":
            return _claude_request(call, target)
        return embeddings_request(call, target) if call.operation is Operation.EMBEDDINGS else _chat(call, target)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises Malformed or UpstreamSaid."""
        other = _OTHERS.get(kind_of(target.model))
        if other is not None:
            return other.reply(call, _named(target), head, body)
        read = embeddings_reply if call.operation is Operation.EMBEDDINGS else read_chat
        return read(call, target, head, body)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a decoder of one chat stream."""
        other = _OTHERS.get(kind_of(target.model))
        return GeminiStream(call, target, head) if other is None else other.stream(call, _named(target), head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx: Google's own error, or that of the model's protocol."""
        other = _OTHERS.get(kind_of(target.model))
        if other is None or _is_googles(body):
            return read_failure(target, head, body)
        return other.failure(target, head, body)


def _chat(call: Call, target: Target) -> HttpRequest:
    report = survey(call.fields, _TABLE)
    body = chat_body(call, target, report, is_vertex=True)
    url = gemini_url(target, "streamGenerateContent?alt=sse" if call.stream else "generateContent")
    return HttpRequest("POST", url, target.headers + JSON_HEADERS, written(body), report.dropped)


def _claude_request(call: Call, target: Target) -> HttpRequest:
    report = survey(call.fields, CLAUDE_TABLES[Operation.CHAT])
    built = build_body(call, _named(target), report, _VERTEX)
    named = build_headers(target, built.betas)
    headers = tuple(pair for pair in named if pair[0] != "anthropic-version")  # it stands in the body
    return HttpRequest("POST", claude_url(call, target), headers, encode(built.body), report.dropped)


def _named(target: Target) -> Target:
    """Returns the target with the name under which the model's own protocol knows it."""
    return replace(target, model=claude_name(target.model)) if kind_of(target.model) == "claude" else target


def _is_googles(body: bytes) -> bool:
    try:
        decoded: JSON = decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    if isinstance(decoded, list):
        decoded = next(iter(as_list(decoded)), None)
    error = as_object(as_object(decoded).get("error"))
    return isinstance(error.get("status"), str) and isinstance(error.get("code"), int)
