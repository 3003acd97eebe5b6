"""Azure OpenAI and Microsoft Foundry: OpenAI's wire under other paths, with content filters told beside the answer.

`model` is the name of a deployment. The v1 paths need no version; `options.api_version` chooses the classic paths,
which have the deployment in them, and whose older versions know less. (learn.microsoft.com/azure/ai-foundry: API
lifecycle, REST reference, content filtering and asynchronous filter, read 2026-11-21; answers recorded 2025 to 2026.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, Final
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Raw, Struct

from adapters.codec import is_null
from adapters.failures import Failure, FailureKind, FailureRule, classify
from adapters.framing.sse import data_of
from adapters.openai import OpenAIAdapter
from adapters.openai.stream import OpenAIStream
from adapters.rules import ParamRules
from adapters.types import Call, Head, HttpRequest, Operation, StreamDecoder, Target

__all__ = ["AzureAdapter"]

FAILURE_RULES: Final = (
    FailureRule(FailureKind.CONTENT_FILTER, code="content_filter"),
    FailureRule(FailureKind.CONTENT_FILTER, code="ResponsibleAIPolicyViolation"),
    FailureRule(FailureKind.MODEL_MISSING, code="DeploymentNotFound"),
    FailureRule(FailureKind.MODEL_MISSING, code="unknown_model"),
    FailureRule(FailureKind.AUTH, code="PermissionDenied"),
)
"""Azure's own codes (answers recorded 2025 to 2026; learn.microsoft.com, content filtering, 2026-11-21)."""
FIRST_WITH_NEW_FIELDS: Final = "2024-09-01"
"""The first version that knows `stream_options`, `max_completion_tokens` and `parallel_tool_calls`."""
_V1_VERSIONS: Final = frozenset({"v1", "preview", "latest"})
"""Values of `api-version` that go with the v1 paths."""
_V1: Final = "/openai/v1"
_FOUNDRY: Final = "/models"
"""Where Foundry serves all makers' models; its versions are other ones."""
_ABSENT: Final = Raw()


class AzureAdapter(OpenAIAdapter):
    """Speaks OpenAI's protocol as Azure has it."""

    protocol: ClassVar[str] = "azure"
    operations: ClassVar[frozenset[Operation]] = frozenset(
        {Operation.CHAT, Operation.COMPLETIONS, Operation.EMBEDDINGS}
    )
    paths: ClassVar[Mapping[Operation, str]] = MappingProxyType(
        {
            Operation.CHAT: "/chat/completions",
            Operation.COMPLETIONS: "/completions",
            Operation.EMBEDDINGS: "/embeddings",
        }
    )
    """No list of models: Azure lists what could be deployed, not what is."""

    def request(self, call: Call, target: Target) -> HttpRequest:
        """Returns the upstream request: the received bytes if neither model nor rules change anything."""
        spoken = _as_spoken(target)
        made = super().request(call, spoken)
        dropped = made.dropped
        if spoken is not target and call.wants_usage:
            dropped = (*dropped, "stream_options")
        return msgspec.structs.replace(made, url=_url(target, call.operation), dropped=dropped)

    def stream(self, call: Call, target: Target, head: Head) -> StreamDecoder:
        """Returns a decoder that relays the stream's bytes without what the content filter says on its own."""
        return AzureStream(call, _as_spoken(target), head)

    def failure(self, target: Target, head: Head, body: bytes) -> Failure:
        """Classifies a response whose status is not 2xx."""
        return classify(head.status, head.headers, body, (*target.failure_rules, *FAILURE_RULES))


class AzureStream(OpenAIStream):
    """An OpenAI stream in which chunks may tell of the content filter and nothing else.

    Such chunks have choices without `delta`, which clients trip on; they come before the first text, and in the
    filter's asynchronous mode between and after the others.
    """

    def _event(self, block: bytes) -> bytes | None:
        if b'"delta"' not in block and b'"content_filter' in block and _is_filter_only(block):
            return b""
        return super()._event(block)


class _Choice(Struct):
    delta: Raw = _ABSENT
    text: Raw = _ABSENT
    message: Raw = _ABSENT
    finish_reason: str | None = None


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: Raw = _ABSENT
    error: Raw = _ABSENT


_chunk: Final = msgspec.json.Decoder(_Chunk).decode


def _is_filter_only(block: bytes) -> bool:
    try:
        chunk = _chunk(data_of(block))
    except (msgspec.MsgspecError, RecursionError):
        return False
    if not chunk.choices or not is_null(chunk.usage) or not is_null(chunk.error):
        return False
    return all(
        choice.finish_reason is None and all(is_null(said) for said in (choice.delta, choice.text, choice.message))
        for choice in chunk.choices
    )


def _as_spoken(target: Target) -> Target:
    """Returns the target with the rules of its version laid under its own."""
    version = target.options.api_version
    is_new = not version or version in _V1_VERSIONS or version[: len(FIRST_WITH_NEW_FIELDS)] >= FIRST_WITH_NEW_FIELDS
    if is_new or target.base_url.endswith(_FOUNDRY):
        return target
    rules: ParamRules = replace(
        target.rules,
        rename={"max_completion_tokens": "max_tokens", **target.rules.rename},
        drop=target.rules.drop | {"parallel_tool_calls"},
        stream_usage="none",
    )
    return replace(target, rules=rules)


def _url(target: Target, operation: Operation) -> str:
    """Returns the URL of an operation, whatever of its path the base URL already has."""
    url, base = target.url(operation), target.base_url
    if not url.startswith(base + "/"):
        return _versioned(url, target)  # a URL of the row's own
    path = url.removeprefix(base)
    root = base.removesuffix("/v1").removesuffix("/openai")
    version = target.options.api_version
    has_place = "/openai/deployments/" in base or urlsplit(base).path.endswith(("/v1", _FOUNDRY))
    if version and version not in _V1_VERSIONS:
        if base.endswith(_FOUNDRY) or "/openai/deployments/" in base:
            return _versioned(url, target)
        return _versioned(f"{root}/openai/deployments/{quote(target.model, safe='')}{path}", target)
    return _versioned(url if has_place else f"{root}{_V1}{path}", target)


def _versioned(url: str, target: Target) -> str:
    version = target.options.api_version
    return f"{url}?api-version={quote(version, safe='')}" if version else url
