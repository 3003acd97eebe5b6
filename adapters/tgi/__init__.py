"""Hugging Face's Text Generation Inference: chats on its `/v1`, text completions on its native `/generate`.

Where the row's path of text completions holds `{model}`, the server speaks the older text-generation task, as the
first inference API did and handlers of dedicated endpoints still do; it has no chats.

Facts are from TGI's OpenAPI file and its router's source, which is in maintenance since 2026-01, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from adapters.failures import Failure
from adapters.fidelity import Table
from adapters.parts import split_choices
from adapters.tgi.chat import ChatStream, chat_request, read_chat
from adapters.tgi.failures import read_failure
from adapters.tgi.generation import generation_request, read_generation
from adapters.tgi.stream import GenerationStream
from adapters.tgi.table import TABLES
from adapters.types import Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target

__all__ = ["TgiAdapter"]


class TgiAdapter:
    """Speaks TGI's protocol."""

    protocol: ClassVar[str] = "tgi"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT, Operation.COMPLETIONS})
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType(
        {Operation.CHAT: "/chat/completions", Operation.COMPLETIONS: "/generate", Operation.MODELS: "/models"}
    )
    fidelity: ClassVar[Mapping[Operation, Table]] = TABLES

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns one call for each choice: TGI ignores `n`."""
        return split_choices(call)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises Unsupported naming the field that cannot be expressed."""
        return (chat_request if call.operation is Operation.CHAT else generation_request)(call, target)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under status 200."""
        return (read_chat if call.operation is Operation.CHAT else read_generation)(call, target, head, body)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a fresh decoder for one response."""
        return (ChatStream if call.operation is Operation.CHAT else GenerationStream)(call, target, head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return read_failure(target, head, body)
