"""What is left of a provider's limits, as its headers say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.allowances import allowance
from adapters.failures import classify

DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("250ms", 0.25),
        ("1m250ms", 60.25),
        ("2d", 172_800),
        ("7.66", 7.66),
        ("0", 0),
        ("-3", 0),
        ("nan", 0),
        ("inf", 0),
        ("", 0),
        ("soon", 0),
        ("9" * 400 + "s", 0),
    ],
)
def test_a_reset_is_a_duration_in_any_spelling(reset: str, seconds: float) -> None:
    told = allowance({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": reset})
    assert told is not None
    assert (told.left, told.empty_seconds) == ({"tokens": 0}, pytest.approx(seconds))


def test_anthropics_reset_is_a_moment_measured_against_the_responses_own_date() -> None:
    headers = {
        "date": DATE,
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:30Z",
        "anthropic-ratelimit-tokens-remaining": "4000",
    }
    told = allowance(headers)
    assert told is not None
    assert (told.left, told.empty_seconds) == ({"requests": 0, "tokens": 4000}, 30)


def test_what_is_left_says_nothing_about_a_wait() -> None:
    told = allowance({"x-ratelimit-remaining-requests": "12", "x-ratelimit-reset-requests": "9s"})
    assert told is not None
    assert (told.left, told.empty_seconds) == ({"requests": 12}, 0)


def test_without_such_headers_nothing_is_told() -> None:
    assert allowance({"content-type": "application/json", "x-ratelimit-limit-requests": "9"}) is None


def test_a_429_without_retry_after_waits_until_there_is_more_of_what_ran_out() -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "12s"}
    assert classify(429, headers, b"").retry_after == 12
    assert classify(429, {**headers, "retry-after": "2"}, b"").retry_after == 2
    assert classify(500, headers, b"").retry_after is None


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_no_header_does_any_harm(left: str, reset: str, date: str) -> None:
    for before, after, again in (("x-ratelimit-remaining-", "", "x-ratelimit-reset-tokens"),):
        told = allowance({f"{before}tokens{after}": left, again: reset, "date": date})
        assert told is not None and told.empty_seconds >= 0
    told = allowance(
        {"anthropic-ratelimit-tokens-remaining": left, "anthropic-ratelimit-tokens-reset": reset, "date": date}
    )
    assert told is not None and told.empty_seconds >= 0
