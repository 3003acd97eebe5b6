"""The vendor's errors as failures. (platform.claude.com: api/errors, rate limits; 2026-08-22.)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
    # An account without money is an ordinary 400 or 429 here (rate limits, "spend limits").
    FailureRule(FailureKind.QUOTA, code="enforced_spend_limit_reached"),
    FailureRule(FailureKind.QUOTA, phrase="credit balance is too low"),
    FailureRule(FailureKind.QUOTA, status=400, phrase="API usage limits"),
    FailureRule(FailureKind.QUOTA, code="billing_error"),
    FailureRule(FailureKind.CONTEXT_LENGTH, status=400, phrase="prompt is too long"),
    FailureRule(FailureKind.CONTEXT_LENGTH, status=400, phrase="exceed context limit"),
    # Tokens of a subscription are taken from the vendor's own programs only (terms of 2026-02).
    FailureRule(FailureKind.AUTH, phrase="only authorized for use with"),
    FailureRule(FailureKind.CONTENT_FILTER, status=400, phrase="blocked by content filtering policy"),
)


def classify_response(target: Target, head: Head, body: bytes) -> Failure:
    """Returns the failure that a response other than 2xx means."""
    try:
        members = as_object(decode(body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        members = {}
    said = _described(members) if members else describe_bytes(body)
    return from_description(said, head.status, head.headers, (*target.failure_rules, *RULES))


def said_inside(target: Target, headers: Mapping[str, str], members: Mapping[str, JSON]) -> Failure:
    """Returns the failure that an error object inside a response of status 200 means."""
    return from_description(_described(members), 200, headers, (*target.failure_rules, *RULES))


def _described(members: Mapping[str, JSON]) -> Description:
    said = describe(dict(members))
    code = as_object(as_object(members.get("error")).get("details")).get("error_code")
    return replace(said, code=code) if isinstance(code, str) and code else said
