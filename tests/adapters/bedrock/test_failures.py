"""Bedrock's errors, by their names and words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.failures import FailureKind, FailureRule
from adapters.types import Head, Target
from tests.adapters.bedrock.asking import ADAPTER, target


def classified(status: int, body: Any, name: str = "", to: Target | None = None) -> Any:
    head = Head(status, {"x-amzn-errortype": name} if name else {})
    return ADAPTER.failure(to or target(), head, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "name", "message", "kind"),
    [
        (400, "ValidationException", "The provided model identifier is invalid.", FailureKind.MODEL_MISSING),
        (400, "ValidationException:http://x/", "Input is too long for requested model.", FailureKind.CONTEXT_LENGTH),
        (400, "ValidationException", "prompt is too long: 210000 tokens > 200000 maximum", FailureKind.CONTEXT_LENGTH),
        (400, "", "This model doesn't support the video content block.", FailureKind.BAD_REQUEST),
        (400, "ServiceQuotaExceededException", "no more", FailureKind.QUOTA),
        (403, "", "The security token included in the request is expired", FailureKind.AUTH),
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.",
         FailureKind.MODEL_MISSING),
        (403, "com.amazon#UnrecognizedClientException", "no", FailureKind.AUTH),
        (403, "InvalidSignatureException", "Signature expired", FailureKind.AUTH),
        (404, "ResourceNotFoundException", "This model version has reached the end of its life.",
         FailureKind.MODEL_MISSING),
        (408, "ModelTimeoutException", "slow", FailureKind.TIMEOUT),
        (424, "ModelErrorException", "broken", FailureKind.SERVER),
        (429, "ThrottlingException:http://internal.amazon.com/", "Too many requests", FailureKind.RATE_LIMIT),
        (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", FailureKind.QUOTA),
        (429, "ModelNotReadyException", "wait", FailureKind.OVERLOADED),
        (500, "InternalServerException", "oops", FailureKind.SERVER),
        (503, "ServiceUnavailableException", "busy", FailureKind.OVERLOADED),
    ],
)  # fmt: skip
def test_an_error_is_known_by_its_name_and_words(status: int, name: str, message: str, kind: FailureKind) -> None:
    failure = classified(status, {"message": message}, name)
    assert (failure.kind, failure.message, failure.status) == (kind, message, status)
    assert ":" not in (failure.code or "")
    assert "#" not in (failure.code or "")


def test_an_error_may_be_named_in_its_body() -> None:
    failure = classified(403, {"__type": "com.amazon.coral#AccessDeniedException", "Message": "no"})
    assert (failure.kind, failure.message, failure.code) == (FailureKind.AUTH, "no", "AccessDeniedException")


def test_an_error_without_a_body_is_known_by_its_status() -> None:
    assert classified(503, b"").kind is FailureKind.OVERLOADED
    assert classified(502, b"<html>").kind is FailureKind.SERVER


def test_a_rows_own_rules_come_first() -> None:
    row = Target("m", "http://h", {}, failure_rules=(FailureRule(FailureKind.QUOTA, phrase="too many requests"),))
    assert classified(429, {"message": "Too many requests"}, "ThrottlingException", row).kind is FailureKind.QUOTA
