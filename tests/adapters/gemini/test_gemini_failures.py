"""Google's errors, and what a client and the attempt loop learn from them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.failures import Failure, FailureKind, FailureRule
from adapters.types import Head, Target
from tests.adapters.gemini.asking import ADAPTER, target

RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "45.837906927s"}


def quota(id: str, value: str = "50") -> dict[str, Any]:
    violation = {"quotaMetric": "requests", "quotaId": id, "quotaValue": value}
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}


def reason(word: str, **metadata: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": word, "metadata": metadata}


def failure(code: int, status: str, message: str = "no", *details: Any, where: Target | None = None) -> Failure:
    error = {"error": {"code": code, "message": message, "status": status, "details": list(details)}}
    plain = ADAPTER.failure(where or target(), Head(code), json.dumps(error).encode())
    listed = ADAPTER.failure(where or target(), Head(code), json.dumps([error]).encode())
    assert plain == listed, "an array of one means the same"
    return plain


@pytest.mark.parametrize(
    ("code", "status", "message", "kind"),
    [
        (400, "INVALID_ARGUMENT", "bad", FailureKind.BAD_REQUEST),
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", FailureKind.AUTH),
        (400, "INVALID_ARGUMENT", "API key expired. Renew it.", FailureKind.AUTH),
        (400, "FAILED_PRECONDITION", "User location is not supported", FailureKind.AUTH),
        (400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8).",
         FailureKind.CONTEXT_LENGTH),
        (401, "UNAUTHENTICATED", "token", FailureKind.AUTH),
        (402, "RESOURCE_EXHAUSTED", "prepaid credit", FailureKind.QUOTA),
        (403, "PERMISSION_DENIED", "API disabled", FailureKind.AUTH),
        (403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)", FailureKind.BAD_REQUEST),
        (404, "NOT_FOUND", "models/x is not found", FailureKind.MODEL_MISSING),
        (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", FailureKind.RATE_LIMIT),
        (499, "CANCELLED", "cancelled", FailureKind.SERVER),
        (500, "INTERNAL", "internal", FailureKind.SERVER),
        (503, "UNAVAILABLE", "overloaded", FailureKind.OVERLOADED),
        (504, "DEADLINE_EXCEEDED", "late", FailureKind.TIMEOUT),
    ],
)  # fmt: skip
def test_a_status_and_its_words_have_a_kind(code: int, status: str, message: str, kind: FailureKind) -> None:
    found = failure(code, status, message)
    assert (found.kind, found.status, found.message, found.type) == (kind, code, message, status)


def test_a_wrong_key_is_known_by_its_reason() -> None:
    found = failure(400, "INVALID_ARGUMENT", "no", reason("API_KEY_INVALID"))
    assert (found.kind, found.code) == (FailureKind.AUTH, "API_KEY_INVALID")


@pytest.mark.parametrize(
    ("message", "details", "wait"),
    [
        ("no", [RETRY], 45.837906927),
        ("Please retry in 17.4s.", [], 17.4),
        ("Please retry in 17.4s.", [RETRY], 45.837906927),
        ("no", [{**RETRY, "retryDelay": "0s"}], None),
        ("no", [{**RETRY, "retryDelay": "-5s"}], None),
        ("no", [{**RETRY, "retryDelay": "1e9s"}], None),
        ("no", [{**RETRY, "retryDelay": 5}], None),
        ("no", [5, None], None),
    ],
)
def test_the_wait_stands_in_the_body(message: str, details: list[Any], wait: float | None) -> None:
    assert failure(429, "RESOURCE_EXHAUSTED", message, *details).retry_after == wait


def test_a_header_says_the_wait_better() -> None:
    body = json.dumps({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [RETRY]}}).encode()
    assert ADAPTER.failure(target(), Head(429, {"retry-after": "3"}), body).retry_after == 3


@pytest.mark.parametrize(
    "detail",
    [
        quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
        quota("GenerateRequestsPerMinute", "0"),
        reason("RATE_LIMIT_EXCEEDED", quota_limit="RequestsPerDay"),
        reason("RATE_LIMIT_EXCEEDED", quota_limit_value="0"),
    ],
)
def test_a_limit_per_day_or_of_nothing_is_not_waited_for(detail: dict[str, Any]) -> None:
    found = failure(429, "RESOURCE_EXHAUSTED", "Please retry in 36s.", detail, RETRY)
    assert (found.kind, found.retry_after) == (FailureKind.QUOTA, None)
    assert failure(429, "RESOURCE_EXHAUSTED", "no", quota("RequestsPerMinute"), RETRY).kind is FailureKind.RATE_LIMIT


def test_the_rows_own_rules_come_first() -> None:
    own = Target("m", "https://h", {}, failure_rules=(FailureRule(FailureKind.OVERLOADED, status=429),))
    assert failure(429, "RESOURCE_EXHAUSTED", "no", quota("PerDay"), where=own).kind is FailureKind.OVERLOADED


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"oops", b"[]", b"{}", b'{"error":"x"}', b'{"error":5}', b"null", b"\xff"]
)
def test_any_body_is_a_failure(body: bytes) -> None:
    found = ADAPTER.failure(target(), Head(502), body)
    assert found.kind is FailureKind.SERVER
    assert found.message
