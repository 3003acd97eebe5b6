"""Mistral's errors: flat objects, FastAPI's `detail`, or one inside the other."""

from __future__ import annotations

from typing import Final

import msgspec

from adapters.codec import JSON, as_object, decode
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

RULES: Final = (
    # docs.mistral.ai, error handling, and what its API answers, 2026-11-21.
    FailureRule(FailureKind.OVERLOADED, code="service_tier_capacity_exceeded"),
    FailureRule(FailureKind.OVERLOADED, status=429, phrase="service tier capacity exceeded"),
    FailureRule(FailureKind.MODEL_MISSING, status=400, phrase="invalid model"),
    FailureRule(FailureKind.CONTEXT_LENGTH, status=400, phrase="too large for model with"),
)


def read_failure(target: Target, head: Head, body: bytes) -> Failure:
    """Classifies a response whose status is not 2xx."""
    return from_description(describe_error(body), head.status, head.headers, target.failure_rules + RULES)


def describe_error(body: bytes) -> Description:
    """Returns what an error body says; `message` may itself be an object with `detail`."""
    try:
        value: JSON = decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return describe_bytes(body)
    inner = as_object(as_object(value).get("message"))
    return describe(inner if inner.get("detail") else value)
