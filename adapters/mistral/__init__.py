"""Mistral's protocol: OpenAI's wire with rules of its own for messages, tool ids, prefixes, reasoning and code infill.

Facts are from Mistral's OpenAPI file and the types of its SDK (mistralai 3.7.0), read 2026-11-21, and from recorded
exchanges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from adapters.failures import Failure
from adapters.fidelity import Table
from adapters.mistral.failures import read_failure
from adapters.mistral.fim import FimStream, fim_body, read_fim
from adapters.mistral.reply import as_openai, read_chat
from adapters.mistral.request import chat_body, embedding_body
from adapters.mistral.stream import MistralStream
from adapters.mistral.table import TABLES
from adapters.openai.reply import read_reply
from adapters.parts import split_choices
from adapters.types import JSON_HEADERS, Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target

__all__ = ["MistralAdapter"]

_BODIES = {
    Operation.CHAT: chat_body,
    Operation.COMPLETIONS: fim_body,
    Operation.EMBEDDINGS: embedding_body,
}


class MistralAdapter:
    """Speaks Mistral's protocol."""

    protocol: ClassVar[str] = "mistral"
    operations: ClassVar[frozenset[Operation]] = frozenset(_BODIES)
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType(
        {
            Operation.CHAT: "/chat/completions",
            Operation.COMPLETIONS: "/fim/completions",
            Operation.EMBEDDINGS: "/embeddings",
            Operation.MODELS: "/models",
        }
    )
    fidelity: ClassVar[Mapping[Operation, Table]] = TABLES

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns the call itself, or one call for each choice of a text completion; chats know `n`."""
        return split_choices(call) if call.operation is Operation.COMPLETIONS else (call,)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises Unsupported naming the field that cannot be expressed."""
        body, dropped = _BODIES[call.operation](call, target)
        return HttpRequest("POST", target.url(call.operation), target.headers + JSON_HEADERS, body, dropped)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under status 200."""
        if call.operation is Operation.CHAT:
            return read_chat(call, target, head, body)
        if call.operation is Operation.COMPLETIONS:
            return read_fim(call, target, head, body)
        return read_reply(call, as_openai(target), head, body)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a fresh decoder for one response."""
        if call.operation is Operation.COMPLETIONS:
            return FimStream(call, target, head)
        return MistralStream(call, target, head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return read_failure(target, head, body)
