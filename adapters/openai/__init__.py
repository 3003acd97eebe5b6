"""OpenAI's wire protocol, for OpenAI itself and every compatible server: pass-through both ways, with a usage tap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

from adapters.failures import Failure, classify
from adapters.fidelity import Table
from adapters.openai.reply import read_reply
from adapters.openai.request import build_request
from adapters.openai.rerank import read_ranking, rerank_request
from adapters.openai.stream import OpenAIStream
from adapters.parts import split_choices
from adapters.types import Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target

__all__ = ["OpenAIAdapter"]

# Python 3.11 takes long to find a member at its class, and these are asked for in every request.
_CHAT: Final = Operation.CHAT
_RERANK: Final = Operation.RERANK


class OpenAIAdapter:
    """Speaks OpenAI's protocol; the row's rules say where a server deviates."""

    protocol: ClassVar[str] = "openai"
    operations: ClassVar[frozenset[Operation]] = frozenset(
        {Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS, Operation.RERANK}
    )
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType(
        {
            Operation.CHAT: "/chat/completions",
            Operation.COMPLETIONS: "/completions",
            Operation.EMBEDDINGS: "/embeddings",
            Operation.RERANK: "/rerank",
            Operation.MODELS: "/models",
        }
    )
    fidelity: ClassVar[Mapping[Operation, Table]] = MappingProxyType({})

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns the call itself, or one for each choice where the server is known to make a single one only."""
        is_split = call.operation is _CHAT and target.rules.reject_above.get("n") == 1
        return split_choices(call) if is_split else (call,)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request: the received bytes if neither model nor rules change anything."""
        if call.operation is _RERANK:
            return rerank_request(call, target)
        return build_request(call, target)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer: the received bytes unless a rule or the client's wish changes them."""
        if call.operation is _RERANK:
            return read_ranking(call, target, head, body)
        return read_reply(call, target, head, body)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a decoder that relays the stream's bytes and watches them."""
        return OpenAIStream(call, target, head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return classify(head.status, head.headers, body, target.failure_rules)
