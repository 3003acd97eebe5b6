"""Amazon Bedrock: chats through Converse, for the models of all makers alike; the rest through `/invoke`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

from adapters.bedrock.embeddings import build_embeddings, read_embeddings, split_embeddings
from adapters.bedrock.failures import classify_response
from adapters.bedrock.reply import read_reply
from adapters.bedrock.request import build_chat
from adapters.bedrock.rerank import build_rerank, read_ranking
from adapters.bedrock.stream import BedrockStream
from adapters.bedrock.table import CHAT, EMBEDDINGS, RERANK
from adapters.failures import Failure
from adapters.fidelity import Table
from adapters.parts import split_choices
from adapters.types import Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target

__all__ = ["BedrockAdapter"]

_BUILDERS: Final = {
    Operation.CHAT: build_chat,
    Operation.EMBEDDINGS: build_embeddings,
    Operation.RERANK: build_rerank,
}
_READERS: Final = {
    Operation.CHAT: read_reply,
    Operation.EMBEDDINGS: read_embeddings,
    Operation.RERANK: read_ranking,
}


class BedrockAdapter:
    """Speaks Bedrock's runtime API; what each model takes is in adapters/bedrock/models.py."""

    protocol: ClassVar[str] = "bedrock"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT, Operation.EMBEDDINGS, Operation.RERANK})
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType({})
    fidelity: ClassVar[Mapping[Operation, Table]] = MappingProxyType(
        {Operation.CHAT: CHAT, Operation.EMBEDDINGS: EMBEDDINGS, Operation.RERANK: RERANK}
    )

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns one call for each choice of a chat, or for as many inputs as the model reads in one."""
        if call.operation is Operation.CHAT:
            return split_choices(call)
        return split_embeddings(call, target) if call.operation is Operation.EMBEDDINGS else (call,)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises Unsupported naming the field that cannot be expressed."""
        return _BUILDERS[call.operation](call, target)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under status 200."""
        return _READERS[call.operation](call, target, head, body)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a decoder of one ConverseStream answer."""
        return BedrockStream(call, target, head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return classify_response(target, head, body)
