"""What the client hears of each kind of failure: status, code, type, and that its SDK need not try again."""

from __future__ import annotations

import json

import pytest

from adapters.failures import Failure
from adapters.failures import FailureKind as K
from adapters.types import Head
from gateway.domain import Attempt
from gateway.engine.client_errors import client_error, passed_on
from gateway.errors import UpstreamError, UpstreamRejected, UpstreamTimeout, UpstreamUnavailable
from gateway.resilience.closing import LIMIT_CODE

UP = "upstream_error"
BAD = "invalid_request_error"
TABLE: list[tuple[K, type[UpstreamError], int, str, str]] = [
    (K.CONNECT, UpstreamUnavailable, 502, "upstream_connection_error", UP),
    (K.TIMEOUT, UpstreamTimeout, 504, "upstream_timeout", UP),
    (K.SERVER, UpstreamUnavailable, 502, "upstream_error", UP),
    (K.OVERLOADED, UpstreamUnavailable, 503, "upstream_overloaded", UP),
    (K.RATE_LIMIT, UpstreamUnavailable, 429, "rate_limit_exceeded", "rate_limit_error"),
    (K.QUOTA, UpstreamUnavailable, 429, "insufficient_quota", "insufficient_quota"),
    (K.AUTH, UpstreamUnavailable, 502, "upstream_auth_error", UP),
    (K.MODEL_MISSING, UpstreamRejected, 404, "model_not_found", BAD),
    (K.CONTEXT_LENGTH, UpstreamRejected, 400, "context_length_exceeded", BAD),
    (K.CONTENT_FILTER, UpstreamRejected, 400, "content_filter", BAD),
    (K.BAD_REQUEST, UpstreamRejected, 400, "invalid_request", BAD),
    (K.MALFORMED, UpstreamUnavailable, 502, "upstream_invalid_response", UP),
    (K.CANCELLED, UpstreamUnavailable, 502, "upstream_error", UP),
    (K.UNKNOWN, UpstreamUnavailable, 502, "upstream_error", UP),
]


def heard(failure: Failure) -> UpstreamError:
    return client_error(failure, deployment="p/m", message=failure.message)


@pytest.mark.parametrize(("kind", "cls", "status", "code", "type"), TABLE, ids=[row[0].value for row in TABLE])
def test_a_failure_is_heard_as(kind: K, cls: type, status: int, code: str, type: str) -> None:
    error = heard(Failure(kind, "m"))
    assert (error.__class__, error.status, error.code, error.type) == (cls, status, code, type)
    assert dict(error.headers()) == {"x-should-retry": "false"}, "what could be tried has been"
    assert error.message.startswith("p/m: ")


def test_every_kind_has_its_line() -> None:
    assert {row[0] for row in TABLE} == set(K)


def test_our_own_findings_keep_their_more_precise_code() -> None:
    assert heard(Failure(K.CONNECT, "m", code="upstream_dns_error")).code == "upstream_dns_error"
    assert heard(Failure(K.MALFORMED, "m", code="upstream_truncated")).code == "upstream_truncated"


def test_a_vendors_code_is_passed_on_for_a_bad_request_only() -> None:
    assert heard(Failure(K.BAD_REQUEST, "m", code="unknown_parameter", param="x")).code == "unknown_parameter"
    assert heard(Failure(K.SERVER, "m", code="E1234")).code == "upstream_error"
    assert heard(Failure(K.AUTH, "m", code="invalid_api_key")).code == "upstream_auth_error"


def test_the_parameter_is_passed_on_where_the_request_is_at_fault() -> None:
    assert heard(Failure(K.BAD_REQUEST, "m", param="temperature")).param == "temperature"
    assert heard(Failure(K.MODEL_MISSING, "m", param="x")).param == "model"
    assert heard(Failure(K.SERVER, "m", param="x")).param is None


def test_a_body_too_large_stays_413() -> None:
    assert heard(Failure(K.BAD_REQUEST, "m", status=413)).status == 413
    assert heard(Failure(K.BAD_REQUEST, "m", status=422)).status == 400


def test_a_refused_credential_is_ours_not_the_clients() -> None:
    error = heard(Failure(K.AUTH, "bad key", status=401))
    assert error.status == 502
    assert error.message == "p/m: the provider refused our credential: bad key"


@pytest.mark.parametrize(
    ("seconds", "whole", "milliseconds"),
    [
        (0.25, "1", "250"),
        (1.0, "1", "1000"),
        (30.0, "30", "30000"),
        (60.5, "61", "60500"),
        (3600.0, "3600", "3600000"),
        (1e12, "2678400", "2678400000"),
    ],
)
@pytest.mark.parametrize("kind", [K.RATE_LIMIT, K.QUOTA, K.OVERLOADED])
def test_the_wait_is_passed_on_but_nobody_is_frozen(kind: K, seconds: float, whole: str, milliseconds: str) -> None:
    error = heard(Failure(kind, "m", retry_after=seconds))
    expected = {"x-should-retry": "false", "retry-after": whole, "retry-after-ms": milliseconds}
    assert dict(error.headers()) == expected


def test_only_where_nothing_was_sent_for_a_limit_of_the_file_the_client_may_try_again() -> None:
    error = heard(Failure(K.RATE_LIMIT, "its limits.max_in_flight is used up", code=LIMIT_CODE, retry_after=1.0))
    assert (error.status, error.code, error.should_retry) == (429, "deployment_limit", True)


def test_every_attempt_is_told_with_what_the_client_may_know_of_it() -> None:
    attempts = [
        Attempt(1, "a/m", 0.0, Failure(K.RATE_LIMIT, "a secret of theirs", status=429), key=2),
        Attempt(2, "b/m", 1.0, Failure(K.CONNECT, "no route to 10.0.0.1")),
        Attempt(3, "c/m", 2.0, is_lost=True),
    ]
    error = client_error(Failure(K.CONNECT, "m"), deployment="b/m", message="m", attempts=attempts)
    assert json.loads(error.body())["error"]["details"] == {
        "attempts": [
            {"deployment": "a/m", "kind": "rate_limit", "status": 429},
            {"deployment": "b/m", "kind": "connect"},
            {"deployment": "c/m", "kind": "lost"},
        ]
    }


def test_an_error_without_attempts_has_no_details() -> None:
    assert "details" not in json.loads(heard(Failure(K.CONNECT, "m")).body())["error"]


def test_anthropics_limits_are_told_under_openais_names() -> None:
    headers = {
        "date": "Sat, 21 Nov 2026 12:00:00 GMT",
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:12Z",
        "anthropic-ratelimit-tokens-remaining": "1000",
        "anthropic-ratelimit-tokens-reset": "soon",
        "anthropic-ratelimit-input-tokens-limit": "7",
    }
    assert dict(passed_on(Head(200, headers))) == {
        "x-ratelimit-limit-requests": "50",
        "x-ratelimit-remaining-requests": "49",
        "x-ratelimit-reset-requests": "12s",
        "x-ratelimit-remaining-tokens": "1000",
    }
    assert passed_on(Head(200, {"anthropic-ratelimit-requests-reset": "2026-11-21T12:00:12"})) == ()
