"""The vendor's errors as failures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from adapters.failures import FailureKind, FailureRule
from adapters.types import Head
from tests.adapters.anthropic.asking import ADAPTER
from tests.adapters.recorded import target_of


def failure(status: int, body: Any, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ADAPTER.failure(target_of(protocol="anthropic"), Head(status, headers), data)


def said(type: str, message: str = "m", **members: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type, "message": message, **members}, "request_id": "req_1"}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, said("invalid_request_error"), FailureKind.BAD_REQUEST),
        (
            400,
            said("invalid_request_error", "prompt is too long: 201 tokens > 200 maximum"),
            FailureKind.CONTEXT_LENGTH,
        ),
        (400, said("invalid_request_error", "Your credit balance is too low to access the API"), FailureKind.QUOTA),
        (400, said("invalid_request_error", "You have reached your specified API usage limits."), FailureKind.QUOTA),
        (400, said("invalid_request_error", "Output blocked by content filtering policy"), FailureKind.CONTENT_FILTER),
        (400, said("invalid_request_error", "This credential is only authorized for use with X"), FailureKind.AUTH),
        (401, said("authentication_error"), FailureKind.AUTH),
        (402, said("billing_error"), FailureKind.QUOTA),
        (403, said("permission_error"), FailureKind.AUTH),
        (404, said("not_found_error", "model: x"), FailureKind.MODEL_MISSING),
        (413, said("request_too_large"), FailureKind.BAD_REQUEST),
        (413, b"<html>413 Request Entity Too Large</html>", FailureKind.BAD_REQUEST),
        (429, said("rate_limit_error"), FailureKind.RATE_LIMIT),
        (429, said("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}), FailureKind.QUOTA),
        (500, said("api_error"), FailureKind.SERVER),
        (504, said("timeout_error"), FailureKind.TIMEOUT),
        (529, said("overloaded_error"), FailureKind.OVERLOADED),
        (529, b"", FailureKind.OVERLOADED),
    ],
)
def test_an_error_has_its_kind(status: int, body: Any, kind: FailureKind) -> None:
    found = failure(status, body)
    assert (found.kind, found.status) == (kind, status)
    assert found.message


def test_the_wait_that_was_asked_for_is_kept() -> None:
    assert failure(429, said("rate_limit_error"), **{"retry-after": "12"}).retry_after == 12


def test_a_rows_own_rule_comes_first() -> None:

    target = replace(
        target_of(protocol="anthropic"), failure_rules=(FailureRule(FailureKind.OVERLOADED, phrase="too long"),)
    )
    body = json.dumps(said("invalid_request_error", "prompt is too long")).encode()
    assert ADAPTER.failure(target, Head(400), body).kind is FailureKind.OVERLOADED
