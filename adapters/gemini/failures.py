"""Google's errors: `{"error": {code, message, status, details}}`, alone or in an array of one.

The wait stands in the details (`RetryInfo`, fractional seconds) or in the message, never in a header; a limit per day
names one, but it does not help. (ai.google.dev/gemini-api/docs/troubleshooting and api-errors, read 2026-11.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

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

Object = dict[str, Any]
RULES: Final = (
    # ai.google.dev/gemini-api/docs/troubleshooting, 2026-11: a wrong key is a 400.
    FailureRule(FailureKind.AUTH, status=400, code="API_KEY_INVALID"),
    FailureRule(FailureKind.AUTH, status=400, phrase="api key not valid"),
    FailureRule(FailureKind.AUTH, status=400, phrase="api key expired"),
    # The same page: the region, or a project without billing.
    FailureRule(FailureKind.AUTH, status=400, code="FAILED_PRECONDITION"),
    FailureRule(FailureKind.QUOTA, status=402),
    FailureRule(FailureKind.CONTEXT_LENGTH, status=400, phrase="exceeds the maximum number of tokens"),
    FailureRule(FailureKind.BAD_REQUEST, status=403, phrase="cachedcontent not found"),
    FailureRule(FailureKind.SERVER, status=499),
    FailureRule(FailureKind.TIMEOUT, status=504),
    # Every limit is said to be a quota; what is left here comes back within a minute.
    FailureRule(FailureKind.RATE_LIMIT, status=429),
)
_PER_DAY: Final = FailureRule(FailureKind.QUOTA, status=429)
_STATUS_OF_WORD: Final[Mapping[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""google.rpc.Code as HTTP (github.com/googleapis/googleapis, google/rpc/code.proto)."""
_SECONDS: Final = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")
_IN_MESSAGE: Final = re.compile(r"retry in (\d{1,6}(?:\.\d{1,9})?) ?s", re.IGNORECASE)
_MANY_DETAILS: Final = 50


def read_failure(target: Target, head: Head, body: bytes) -> Failure:
    """Returns the failure that a response means whose status is not 2xx."""
    try:
        decoded: JSON = decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return from_description(describe_bytes(body), head.status, head.headers, (*target.failure_rules, *RULES))
    return failure_of(target, head, decoded)


def failure_of(target: Target, head: Head, decoded: JSON) -> Failure:
    """Returns the failure that a decoded error body means; under status 200 its own code counts."""
    while isinstance(decoded, list) and decoded:
        decoded = as_list(decoded)[0]
    error = as_object(as_object(decoded).get("error"))
    details = [as_object(detail) for detail in as_list(error.get("details"))[:_MANY_DETAILS]]
    said = _described(decoded, error, details)
    is_daily = any(_is_daily(detail) for detail in details)
    rules = (*target.failure_rules, *((_PER_DAY,) if is_daily else ()), *RULES)
    failure = from_description(said, head.status, head.headers, rules)
    if failure.retry_after is None and failure.kind is not FailureKind.QUOTA:
        failure = replace(failure, retry_after=_wait(details, failure.message))
    return failure


def _described(decoded: JSON, error: Object, details: list[Object]) -> Description:
    said = describe(decoded)
    word = error.get("status")
    if not isinstance(word, str):
        return said
    reason = next((reason for each in details if isinstance(reason := each.get("reason"), str) and reason), None)
    status = said.status or _STATUS_OF_WORD.get(word)
    return replace(said, code=reason or word, type=word, status=status)


def _is_daily(detail: Object) -> bool:
    """True for a limit that no wait of seconds lifts: one per day, or one of nothing at all."""
    for violation in as_list(detail.get("violations"))[:_MANY_DETAILS]:
        members = as_object(violation)
        if "PerDay" in str(members.get("quotaId")) or members.get("quotaValue") == "0":
            return True
    metadata = as_object(detail.get("metadata"))
    return "PerDay" in str(metadata.get("quota_limit")) or metadata.get("quota_limit_value") == "0"


def _wait(details: list[Object], message: str) -> float | None:
    found = None
    for detail in details:
        if isinstance(delay := detail.get("retryDelay"), str):
            found = found or _SECONDS.fullmatch(delay)
    found = found or _IN_MESSAGE.search(message)
    seconds = float(found[1]) if found else 0.0
    return seconds if seconds > 0 else None
