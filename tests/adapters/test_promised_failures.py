"""Which failures may be tried again and which may not, as docs/seeds.md promises it."""

from __future__ import annotations

import json

import pytest

from adapters.failures import FailureKind, classify

K = FailureKind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, K.BAD_REQUEST),
        (401, K.AUTH),
        (403, K.AUTH),
        (404, K.MODEL_MISSING),
        (408, K.TIMEOUT),
        (409, K.SERVER),
        (422, K.BAD_REQUEST),
        (425, K.SERVER),
        (429, K.RATE_LIMIT),
        (500, K.SERVER),
        (502, K.SERVER),
        (503, K.OVERLOADED),
        (504, K.SERVER),
        (529, K.OVERLOADED),
    ],
)
def test_a_status_says_whether_to_try_again(status: int, kind: K) -> None:
    assert classify(status, {}, b'{"error": {"message": "model unknown"}}').kind is kind


@pytest.mark.parametrize(
    "message", ["Your plan does not include this model", "insufficient balance", "quota exhausted"]
)
def test_a_429_of_an_account_without_money_is_no_rate_limit(message: str) -> None:
    assert classify(429, {}, json.dumps({"error": {"message": message}}).encode()).kind is K.QUOTA


@pytest.mark.parametrize("word", ["invalid api key", "unauthorized", "forbidden", "model not found"])
def test_words_of_a_refused_request_do_not_speak_against_its_key(word: str) -> None:
    assert classify(400, {}, json.dumps({"error": {"message": f"cannot read {word!r}"}}).encode()).kind is K.BAD_REQUEST
