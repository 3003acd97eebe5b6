"""Google's generateContent API, as served for API keys at generativelanguage.googleapis.com."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from adapters.failures import Failure
from adapters.fidelity import Table
from adapters.fields import integer
from adapters.gemini.embeddings import MOST_INPUTS, embeddings_request, read_embeddings
from adapters.gemini.failures import read_failure
from adapters.gemini.models import model_of
from adapters.gemini.reply import read_chat
from adapters.gemini.request import chat_request
from adapters.gemini.stream import GeminiStream
from adapters.gemini.tables import CHAT, EMBEDDINGS
from adapters.parts import split_choices, split_inputs
from adapters.types import Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target

__all__ = ["GeminiAdapter", "choices_apart"]


class GeminiAdapter:
    """Speaks Gemini's API; what a model takes is in models.py."""

    protocol: ClassVar[str] = "gemini"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT, Operation.EMBEDDINGS})
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType({Operation.MODELS: "/models"})
    fidelity: ClassVar[Mapping[Operation, Table]] = MappingProxyType(
        {Operation.CHAT: CHAT, Operation.EMBEDDINGS: EMBEDDINGS}
    )

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns one call for each choice that the model cannot make beside others, or for each hundred texts."""
        if call.operation is Operation.EMBEDDINGS:
            return split_inputs(call, MOST_INPUTS)
        return choices_apart(call, target)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises Unsupported."""
        return (
            embeddings_request(call, target) if call.operation is Operation.EMBEDDINGS else chat_request(call, target)
        )

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises Malformed or UpstreamSaid."""
        read = read_embeddings if call.operation is Operation.EMBEDDINGS else read_chat
        return read(call, target, head, body)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a decoder of one chat stream."""
        return GeminiStream(call, target, head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return read_failure(target, head, body)


def choices_apart(call: Call, target: Target) -> Sequence[Call]:
    """Returns the call itself where the model makes all choices at once, else one call for each choice."""
    count = integer(call.fields, "n")
    if count is not None and not call.stream and 1 <= count <= model_of(target.model).most_candidates:
        return (call,)
    return split_choices(call)
