"""What the client hears of each kind of failure: status, code, type, and whether its SDK should try again."""

from __future__ import annotations

import pytest

from adapters.failures import Failure
from adapters.failures import FailureKind as K
from adapters.types import Head
from gateway.engine.client_errors import client_error, passed_on
from gateway.errors import UpstreamError, UpstreamRejected, UpstreamTimeout, UpstreamUnavailable

UP = "upstream_error"
BAD = "invalid_request_error"
TABLE: list[tuple[K, type[UpstreamError], int, str, str, bool]] = [
    (K.CONNECT, UpstreamUnavailable, 502, "upstream_connection_error", UP, True),
    (K.TIMEOUT, UpstreamTimeout, 504, "upstream_timeout", UP, True),
    (K.SERVER, UpstreamUnavailable, 502, "upstream_error", UP, True),
    (K.OVERLOADED, UpstreamUnavailable, 503, "upstream_overloaded", UP, True),
    (K.RATE_LIMIT, UpstreamUnavailable, 429, "rate_limit_exceeded", "rate_limit_error", True),
    (K.QUOTA, UpstreamUnavailable, 429, "insufficient_quota", "insufficient_quota", False),
    (K.AUTH, UpstreamUnavailable, 502, "upstream_auth_error", UP, False),
    (K.MODEL_MISSING, UpstreamRejected, 404, "model_not_found", BAD, False),
    (K.CONTEXT_LENGTH, UpstreamRejected, 400, "context_length_exceeded", BAD, False),
    (K.CONTENT_FILTER, UpstreamRejected, 400, "content_filter", BAD, False),
    (K.BAD_REQUEST, UpstreamRejected, 400, "invalid_request", BAD, False),
    (K.MALFORMED, UpstreamUnavailable, 502, "upstream_invalid_response", UP, True),
    (K.CANCELLED, UpstreamUnavailable, 502, "upstream_error", UP, False),
    (K.UNKNOWN, UpstreamUnavailable, 502, "upstream_error", UP, False),
]


def heard(failure: Failure) -> UpstreamError:
    return client_error(failure, deployment="p/m", message=failure.message)


@pytest.mark.parametrize(("kind", "cls", "status", "code", "type", "retry"), TABLE, ids=[row[0].value for row in TABLE])
def test_a_failure_is_heard_as(kind: K, cls: type, status: int, code: str, type: str, retry: bool) -> None:
    error = heard(Failure(kind, "m"))
    assert (error.__class__, error.status, error.code, error.type) == (cls, status, code, type)
    assert dict(error.headers()) == {"x-should-retry": "true" if retry else "false"}
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
    ("seconds", "whole", "milliseconds", "retry"),
    [
        (0.25, "1", "250", "true"),
        (1.0, "1", "1000", "true"),
        (30.0, "30", "30000", "true"),
        (60.0, "60", "60000", "true"),
        (60.5, "61", "60500", "false"),
        (3600.0, "3600", "3600000", "false"),
        (1e12, "2678400", "2678400000", "false"),
    ],
)
def test_the_wait_is_passed_on_but_nobody_is_frozen(seconds: float, whole: str, milliseconds: str, retry: str) -> None:
    error = heard(Failure(K.RATE_LIMIT, "m", retry_after=seconds))
    expected = {"x-should-retry": retry, "retry-after": whole, "retry-after-ms": milliseconds}
    assert dict(error.headers()) == expected


def test_an_empty_account_is_never_retried_whatever_the_upstream_says() -> None:
    assert dict(heard(Failure(K.QUOTA, "m", retry_after=1.0)).headers())["x-should-retry"] == "false"


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
