"""What OpenAI's Codex calls with the login of ChatGPT: the Responses API, always streamed, with nothing kept there.

(The SDK openai-python, types/responses; zeroclaw-labs/zeroclaw, src/providers/openai_codex.rs; read 2026-11-21.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from adapters.codex.reply import read_chat
from adapters.codex.request import chat_request
from adapters.codex.stream import CodexStream
from adapters.codex.table import CHAT
from adapters.failures import Failure, classify
from adapters.fidelity import Table
from adapters.parts import split_choices
from adapters.types import Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target

__all__ = ["CodexAdapter"]


class CodexAdapter:
    """Speaks the Responses API as the back end of Codex takes it."""

    protocol: ClassVar[str] = "codex"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT})
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType({Operation.CHAT: "/responses"})
    fidelity: ClassVar[Mapping[Operation, Table]] = MappingProxyType({Operation.CHAT: CHAT})

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns one call for each choice."""
        return split_choices(call)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises Unsupported."""
        return chat_request(call, target)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer of a server that has not streamed; raises Malformed or UpstreamSaid."""
        return read_chat(call, target, head, body)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a decoder of one chat stream."""
        return CodexStream(call, target, head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return classify(head.status, head.headers, body, target.failure_rules)
