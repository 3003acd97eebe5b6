"""Bedrock's errors -> failures.

The name of an error comes in the header `x-amzn-errortype`, sometimes with a prefix or an address around it, the
message in the body under `message` or `Message`; inside a stream both are in the message that carries the exception.
(Names and statuses: `Converse` and `ConverseStream` of botocore 1.44.5; wordings: answers recorded 2025-02 to 2026-09.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec

from adapters.codec import JSON, as_object, decode
from adapters.failures import Description, Failure, FailureKind, FailureRule, describe_bytes, from_description
from adapters.framing.eventstream import Message
from adapters.types import Head, Target

FAILURE_RULES: Final = (
    FailureRule(FailureKind.QUOTA, code="ServiceQuotaExceededException"),
    FailureRule(FailureKind.QUOTA, phrase="too many tokens per day"),
    FailureRule(FailureKind.MODEL_MISSING, phrase="model identifier is invalid"),
    FailureRule(FailureKind.MODEL_MISSING, phrase="access to the model"),
    FailureRule(FailureKind.MODEL_MISSING, phrase="on-demand throughput isn"),
    FailureRule(FailureKind.MODEL_MISSING, phrase="reached the end of its life"),
    FailureRule(FailureKind.MODEL_MISSING, code="ResourceNotFoundException"),
    FailureRule(FailureKind.CONTEXT_LENGTH, phrase="input is too long"),
    FailureRule(FailureKind.CONTEXT_LENGTH, phrase="prompt is too long"),
    FailureRule(FailureKind.CONTEXT_LENGTH, phrase="too many input tokens"),
    FailureRule(FailureKind.CONTEXT_LENGTH, phrase="exceed context limit"),
    FailureRule(FailureKind.CONTENT_FILTER, phrase="blocked by content filtering policy"),
    FailureRule(FailureKind.AUTH, code="AccessDeniedException"),
    FailureRule(FailureKind.AUTH, code="UnrecognizedClientException"),
    FailureRule(FailureKind.AUTH, code="InvalidSignatureException"),
    FailureRule(FailureKind.AUTH, code="ExpiredTokenException"),
    FailureRule(FailureKind.OVERLOADED, code="ModelNotReadyException"),
    FailureRule(FailureKind.OVERLOADED, code="ServiceUnavailableException"),
    FailureRule(FailureKind.RATE_LIMIT, code="ThrottlingException"),
    FailureRule(FailureKind.TIMEOUT, code="ModelTimeoutException"),
    FailureRule(FailureKind.SERVER, code="ModelErrorException"),
    FailureRule(FailureKind.SERVER, code="ModelStreamErrorException"),
    FailureRule(FailureKind.SERVER, code="InternalServerException"),
    FailureRule(FailureKind.SERVER, code="InternalFailure"),
    FailureRule(FailureKind.SERVER, code="InternalError"),
    FailureRule(FailureKind.BAD_REQUEST, code="ValidationException"),
    FailureRule(FailureKind.SERVER, status=424),
)
"""What Bedrock's names and words mean; the first that fits counts, a provider's own rules before all of them."""

_NAME_HEADER: Final = "x-amzn-errortype"


def classify_response(target: Target, head: Head, body: bytes) -> Failure:
    """Classifies a response whose status is not 2xx."""
    return _failure(_described(body), head.headers.get(_NAME_HEADER, ""), head.status, target, head)


def classify_message(target: Target, head: Head, message: Message) -> Failure:
    """Classifies an exception or error inside a stream."""
    heading = message.heading
    said = _described(message.payload)
    if heading.message and not said.message:
        said = replace(said, message=heading.message)
    name = heading.name[:1].upper() + heading.name[1:]
    return _failure(said, name, said.status or 0, target, head)


def classify_body(target: Target, head: Head, body: bytes) -> Failure | None:
    """Classifies an error that came under a 2xx status; None for a body that says nothing of an error."""
    said = _described(body)
    named = head.headers.get(_NAME_HEADER, "")
    if not (named or said.code or said.type or said.message):
        return None
    return _failure(said, named, said.status or 0, target, head)


def _failure(said: Description, name: str, status: int, target: Target, head: Head) -> Failure:
    name = name.partition(":")[0].rpartition("#")[2].strip()
    if name:
        said = replace(said, code=name)
    return from_description(said, status, head.headers, (*target.failure_rules, *FAILURE_RULES))


def _described(body: bytes) -> Description:
    said = describe_bytes(body)
    try:
        value: JSON = decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return said
    members = as_object(value)
    message: JSON = members.get("Message")
    if not said.message and isinstance(message, str):
        said = replace(said, message=message)
    kind: JSON = members.get("__type")
    if not said.code and isinstance(kind, str):
        said = replace(said, code=kind.rpartition("#")[2])
    status: JSON = members.get("originalStatusCode")
    if isinstance(status, int) and 400 <= status < 600:
        said = replace(said, status=status)
    return said
