"""Hugging Face's errors: text, a list of texts, or a backend's own object, and how long a model still loads."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec

from adapters.codec import JSON, as_list, as_object, decode
from adapters.failures import (
    Description,
    Failure,
    FailureKind,
    FailureRule,
    describe,
    describe_bytes,
    from_description,
)
from adapters.types import Head, Target

_MOVED: Final = "; this address serves no models any more: set the provider's base_url to https://router.huggingface.co"
_LONGEST_SECONDS: Final = 24 * 3600.0
"""A longer loading time is no estimate."""
RULES: Final = (
    # huggingface.co/docs/inference-providers and what the router answers, 2026-11-21.
    FailureRule(FailureKind.QUOTA, status=402),
    FailureRule(FailureKind.MODEL_MISSING, status=400, phrase="not supported by any provider"),
    FailureRule(FailureKind.MODEL_MISSING, status=400, phrase="does not exist"),
    FailureRule(FailureKind.OVERLOADED, phrase="is currently loading"),
    # The old host: answered so since November 2025 for every model, so that no model is missing.
    FailureRule(FailureKind.UNKNOWN, status=410),
)


def with_rules(target: Target) -> Target:
    """Returns the target with these rules behind its row's own."""
    return replace(target, failure_rules=target.failure_rules + RULES)


def read_failure(target: Target, head: Head, body: bytes) -> Failure:
    """Classifies a response whose status is not 2xx."""
    failure = from_description(describe_error(body), head.status, head.headers, target.failure_rules + RULES)
    if head.status == 410:
        return replace(failure, message=failure.message + _MOVED)
    return with_wait(failure, body)


def with_wait(failure: Failure, body: bytes) -> Failure:
    """Returns the failure with the time that the body's `estimated_time` says a model still loads."""
    if failure.retry_after is not None or b'"estimated_time"' not in body:
        return failure
    try:
        seconds: JSON = as_object(decode(body)).get("estimated_time")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return failure
    is_time = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= _LONGEST_SECONDS
    return replace(failure, kind=FailureKind.OVERLOADED, retry_after=float(seconds)) if is_time else failure


def describe_error(body: bytes) -> Description:
    """Returns what an error body says; a list of texts is one message."""
    try:
        value: JSON = decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return describe_bytes(body)
    texts = as_list(as_object(value).get("error"))
    if texts and all(isinstance(text, str) for text in texts):
        return Description("; ".join(texts))
    return describe(value)
