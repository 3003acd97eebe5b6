"""Anthropic's Messages API, for Anthropic itself and every compatible server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from adapters.anthropic.failures import classify_response
from adapters.anthropic.reply import read_reply
from adapters.anthropic.request import build_request
from adapters.anthropic.stream import AnthropicStream
from adapters.anthropic.table import FIDELITY
from adapters.failures import Failure
from adapters.fidelity import Table
from adapters.parts import split_choices
from adapters.types import Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target

__all__ = ["AnthropicAdapter"]


class AnthropicAdapter:
    """Speaks the Messages API, version 2023-06-01."""

    protocol: ClassVar[str] = "anthropic"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.CHAT})
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType(
        {Operation.CHAT: "/v1/messages", Operation.MODELS: "/v1/models"}
    )
    fidelity: ClassVar[Mapping[Operation, Table]] = FIDELITY

    def parts(self, call: Call, target: Target) -> Sequence[Call]:
        """Returns one call for each choice: the protocol makes one at a time."""
        return split_choices(call)

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request; raises Unsupported naming the field that cannot be expressed."""
        return build_request(call, target)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns the checked answer; raises Malformed, or UpstreamSaid for an error under status 200."""
        return read_reply(call, target, head, body)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a fresh decoder for one response."""
        return AnthropicStream(call, target, head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return classify_response(target, head, body)
