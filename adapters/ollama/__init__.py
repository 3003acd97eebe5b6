"""Ollama's own protocol: `/api/chat`, `/api/generate` for text completions, `/api/embed`.

Its layer in OpenAI's shape is not used: that one cannot set the context's size, keeps no model loaded, forces its own
temperature, and tells an error in the middle of a stream as an empty chunk (docs.ollama.com, read 2026-08-21).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from adapters.failures import Failure
from adapters.fidelity import Table
from adapters.ollama.embeddings import embedding_request, read_embeddings
from adapters.ollama.failures import read_failure
from adapters.ollama.generation import generation_request
from adapters.ollama.reply import read_answer
from adapters.ollama.request import chat_request
from adapters.ollama.stream import OllamaStream
from adapters.ollama.table import TABLES
from adapters.parts import split_choices
from adapters.types import Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target

__all__ = ["OllamaAdapter"]


class OllamaAdapter:
    """Speaks Ollama's native protocol."""

    protocol: ClassVar[str] = "ollama"
    operations: ClassVar[frozenset[Operation]] = frozenset(
        {Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS}
    )
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType(
        {
            Operation.CHAT: "/api/chat",
            Operation.COMPLETIONS: "/api/generate",
            Operation.EMBEDDINGS: "/api/embed",
            Operation.MODELS: "/api/tags",
        }
    )
    fidelity: ClassVar[Mapping[Operation, Table]] = TABLES

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns one call for each choice: Ollama makes one at a time."""
        return (call,) if call.operation is Operation.EMBEDDINGS else split_choices(call)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises `Unsupported` naming the field that cannot be expressed."""
        if call.operation is Operation.EMBEDDINGS:
            return embedding_request(call, target)
        if call.operation is Operation.COMPLETIONS:
            return generation_request(call, target)
        return chat_request(call, target)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises `Malformed`, or `UpstreamSaid` for an error under status 200."""
        if call.operation is Operation.EMBEDDINGS:
            return read_embeddings(call, target, head, body)
        return read_answer(call, target, head, body)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a fresh decoder for one response."""
        return OllamaStream(call, target, head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return read_failure(target, head, body)
