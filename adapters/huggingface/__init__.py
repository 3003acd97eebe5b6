"""Hugging Face's router: chats on OpenAI's wire, embeddings through the feature-extraction task.

Facts are from Hugging Face's hub-docs and the client huggingface_hub 2.4.0, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from adapters.failures import Failure
from adapters.fidelity import Table
from adapters.huggingface.embeddings import TABLE, embedding_request, read_embeddings
from adapters.huggingface.failures import read_failure, with_rules
from adapters.huggingface.request import chat_request
from adapters.openai import OpenAIAdapter
from adapters.types import Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target

__all__ = ["HuggingFaceAdapter"]


class HuggingFaceAdapter(OpenAIAdapter):
    """Speaks to the router, and to dedicated endpoints, which have the same paths."""

    protocol: ClassVar[str] = "huggingface"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT, Operation.EMBEDDINGS})
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType(
        {Operation.CHAT: "/v1/chat/completions", Operation.MODELS: "/v1/models"}
    )
    fidelity: ClassVar[Mapping[Operation, Table]] = MappingProxyType({Operation.EMBEDDINGS: TABLE})

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises Unsupported naming the field that cannot be expressed."""
        return (embedding_request if call.operation is Operation.EMBEDDINGS else chat_request)(call, target)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under status 200."""
        if call.operation is Operation.EMBEDDINGS:
            return read_embeddings(call, target, head, body)
        return super().reply(call, with_rules(target), head, body)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a decoder that relays the stream's bytes and watches them."""
        return super().stream(call, with_rules(target), head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return read_failure(target, head, body)
