"""Cohere's own protocol, version 2: chat, embed and rerank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from adapters.cohere import fidelity
from adapters.cohere.embedding import MAX_INPUTS, embedding_request, read_embeddings
from adapters.cohere.failures import read_failure
from adapters.cohere.reply import read_chat
from adapters.cohere.request import chat_request
from adapters.cohere.rerank import read_ranking, rerank_request
from adapters.cohere.stream import CohereStream
from adapters.failures import Failure
from adapters.fidelity import Table
from adapters.parts import split_choices, split_inputs
from adapters.types import Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target

__all__ = ["CohereAdapter"]


class CohereAdapter:
    """Speaks Cohere's v2 protocol."""

    protocol: ClassVar[str] = "cohere"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT, Operation.EMBEDDINGS, Operation.RERANK})
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType(
        {
            Operation.CHAT: "/v2/chat",
            Operation.EMBEDDINGS: "/v2/embed",
            Operation.RERANK: "/v2/rerank",
            Operation.MODELS: "/v1/models?page_size=1000",  # 20 otherwise; v2 has no list
        }
    )
    fidelity: ClassVar[Mapping[Operation, Table]] = MappingProxyType(
        {
            Operation.CHAT: fidelity.CHAT,
            Operation.EMBEDDINGS: fidelity.EMBEDDINGS,
            Operation.RERANK: fidelity.RERANK,
        }
    )

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns one chat for each choice, and embeddings in groups of as many as Cohere takes."""
        if call.operation is Operation.CHAT:
            return split_choices(call)
        if call.operation is Operation.EMBEDDINGS:
            return split_inputs(call, MAX_INPUTS)
        return (call,)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises `Unsupported` naming the field that cannot be expressed."""
        if call.operation is Operation.EMBEDDINGS:
            return embedding_request(call, target)
        if call.operation is Operation.RERANK:
            return rerank_request(call, target)
        return chat_request(call, target)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises `Malformed`, or `UpstreamSaid` for an error under status 200."""
        if call.operation is Operation.EMBEDDINGS:
            return read_embeddings(call, target, head, body)
        if call.operation is Operation.RERANK:
            return read_ranking(call, target, head, body)
        return read_chat(call, target, head, body)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a fresh decoder for one response."""
        return CohereStream(call, target, head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return read_failure(target, head, body)
