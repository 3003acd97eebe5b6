"""Which checks a request has to pass, and what its client hears of them."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.admission import (
    Estimate,
    Span,
    checks,
    duration,
    is_countable,
    owners,
    rate_headers,
    refusal,
    span,
    worst_cost,
)
from gateway.errors import BudgetExceeded, LimitsUnavailable, RateLimited
from gateway.records import Budget, Limits, Project, Team, VirtualKey, Window
from gateway.state.admission import MAX_NANO_USD, MAX_RATE, Admission, Check, Kind, judged

NOW_MS = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()) * 1000
DOLLAR = 10**9
NONE = Limits()
KEY = VirtualKey("k1", "ci", b"")


def free(owner: str) -> int:
    return 0


def nothing(owner: str, at: Span) -> int:
    return 0


def key(limits: Limits = NONE, *budgets: Budget) -> VirtualKey:
    return VirtualKey("k1", "ci", b"", limits=limits, budgets=budgets)


def wanted(owner: VirtualKey, estimate: Estimate, spent: int = 0) -> list[Check]:
    return checks([owner], estimate, NOW_MS, lambda _owner, _span: spent, free)


def answered(owner: VirtualKey, estimate: Estimate, *levels: int) -> Admission:
    return judged(wanted(owner, estimate), levels, [0] * len(levels))


@pytest.mark.parametrize(
    ("window", "name", "start", "end"),
    [
        (Window.DAY, "2026-11-21", "2026-11-21", "2026-11-22"),
        (Window.WEEK, "2026-W47", "2026-11-16", "2026-11-23"),
        (Window.MONTH, "2026-11", "2026-11-01", "2026-12-01"),
    ],
)
def test_windows_begin_at_midnight_utc(window: Window, name: str, start: str, end: str) -> None:
    def ms(day: str) -> int:
        return int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()) * 1000

    assert span(window, NOW_MS) == Span(name, ms(start), ms(end))


def test_the_first_days_of_a_year_may_be_in_the_last_week_of_another() -> None:
    new_year = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp()) * 1000
    assert span(Window.WEEK, new_year).name == "2026-W53"
    assert span(Window.TOTAL, new_year) == Span("total", 0, None)


@given(st.integers(0, 4 * 10**12), st.sampled_from([Window.DAY, Window.WEEK, Window.MONTH]))
def test_windows_follow_each_other_without_a_gap(now_ms: int, window: Window) -> None:
    now = span(window, now_ms)
    assert now.end_ms is not None and now.start_ms <= now_ms < now.end_ms
    assert span(window, now.end_ms - 1) == span(window, now.start_ms) == now
    assert span(window, now.end_ms).start_ms == now.end_ms
    assert span(window, now.end_ms).name != now.name


def test_a_request_is_charged_to_its_key_its_project_and_its_team() -> None:
    limits = Limits(requests_per_minute=5)
    charged = owners(key(limits), Project("p1", "site", limits=limits), Team("t1", "web", limits=limits))
    assert [(each.owner, each.label) for each in checks(charged, Estimate(1), NOW_MS, nothing, free)] == [
        ("key:k1", "key 'ci'"),
        ("project:p1", "project 'site'"),
        ("team:t1", "team 'web'"),
    ]


def test_who_has_no_limits_is_not_checked() -> None:
    assert checks(owners(KEY, None, None), Estimate(10**6, 10**6, 10**12), NOW_MS, nothing, free) == []


def test_every_limit_becomes_a_check() -> None:
    owner = key(Limits(60, 1000, 5), Budget(DOLLAR, Window.MONTH), Budget(2 * DOLLAR))
    asked: list[tuple[str, str]] = []

    def spent(owner: str, at: Span) -> int:
        asked.append((owner, at.name))
        return 7

    found = checks([owner], Estimate(100, 200, 300), NOW_MS, spent, free)
    assert [(each.kind, each.limit, each.amount) for each in found] == [
        (Kind.REQUESTS, 60, 1),
        (Kind.TOKENS, 1000, 300),
        (Kind.IN_FLIGHT, 5, 1),
        (Kind.BUDGET, DOLLAR, 300),
        (Kind.BUDGET, 2 * DOLLAR, 300),
    ]
    assert asked == [("key:k1", "2026-11"), ("key:k1", "total")]
    assert [each.spent_nano_usd for each in found[3:]] == [7, 7]
    assert [each.seconds_left for each in found[3:]] == [9.5 * 86_400, None]


def test_of_two_budgets_of_one_window_the_smaller_one_counts() -> None:
    found = wanted(key(Limits(), Budget(5, Window.DAY), Budget(3, Window.DAY)), Estimate(1, 1, 1))
    assert [each.limit for each in found] == [3]


def test_output_that_may_never_come_makes_no_request_too_large() -> None:
    limited = key(Limits(tokens_per_minute=1000))
    assert wanted(limited, Estimate(200, 128_000))[0].amount == 1000
    assert wanted(limited, Estimate(1200, 10))[0].amount == 1200


def test_a_request_of_unknown_price_goes_until_the_budget_is_used_up() -> None:
    owner = key(Limits(), Budget(DOLLAR))
    (check,) = wanted(owner, Estimate(10), spent=DOLLAR - 1)
    assert judged([check], [DOLLAR - 1], [0]).is_admitted
    assert not judged([check], [DOLLAR], [0]).is_admitted


def test_what_costs_nothing_needs_no_budget() -> None:
    assert wanted(key(Limits(), Budget(0)), Estimate(10, 10, 0)) == []


def test_the_worst_cost_is_rounded_up() -> None:
    assert worst_cost(1, 0, 1, 0) == 1
    assert worst_cost(1000, 500, 2_500_000_000, 10_000_000_000) == 7_500_000
    assert worst_cost(0, 0, 5, 5) == 0


def test_limits_that_cannot_be_counted_are_known() -> None:
    assert is_countable(Limits(), ())
    assert is_countable(Limits(MAX_RATE, MAX_RATE, 10), [Budget(MAX_NANO_USD)])
    assert not is_countable(Limits(tokens_per_minute=MAX_RATE + 1), ())
    assert not is_countable(Limits(requests_per_minute=-1), ())
    assert not is_countable(Limits(), [Budget(1), Budget(MAX_NANO_USD + 1)])


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0s"),
        (0.0004, "0s"),
        (0.12, "120ms"),
        (1, "1s"),
        (8.64, "8.64s"),
        (59.999, "59.999s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (432.5, "7m12.5s"),
        (3600, "1h0m0s"),
        (90_061.25, "25h1m1.25s"),
    ],
)
def test_times_are_written_as_openai_writes_them(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_headers_tell_of_the_limit_that_is_nearest() -> None:
    limits = Limits(requests_per_minute=60, tokens_per_minute=1000)
    charged = owners(key(limits), None, Team("t1", "web", limits=Limits(requests_per_minute=10)))
    admission = judged(checks(charged, Estimate(100), NOW_MS, nothing, free), [0, 0, 8 * 60_000], [0, 0, 0])
    assert dict(rate_headers(admission)) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "54s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "900",
        "x-ratelimit-reset-tokens": "6s",
    }


def test_without_rates_there_are_no_headers() -> None:
    assert rate_headers(answered(key(Limits(max_in_flight=3)), Estimate(1), 1)) == ()


def test_too_many_requests_are_refused_until_a_moment_that_is_told() -> None:
    error = refusal(answered(key(Limits(requests_per_minute=40)), Estimate(1), 40 * 60_000))
    assert isinstance(error, RateLimited)
    assert (error.status, error.type, error.code) == (429, "requests", "rate_limit_exceeded")
    headers = dict(error.headers())
    assert headers["x-should-retry"] == "true"
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "1500")
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert error.message == (
        "key 'ci' may have 40 requests per minute (its `requests_per_minute`): 0 are left, this request needs 1; "
        "try again in 1.5s"
    )


def test_too_many_tokens_are_of_the_type_tokens() -> None:
    error = refusal(answered(key(Limits(tokens_per_minute=1000)), Estimate(100, 400), 600 * 60_000))
    assert (error.type, error.code) == ("tokens", "rate_limit_exceeded")
    assert "400 are left, this request needs 500; try again in 6s, or set a smaller `max_tokens`" in error.message


def test_a_request_that_never_fits_is_not_to_be_tried_again() -> None:
    error = refusal(answered(key(Limits(tokens_per_minute=1000)), Estimate(1001), 0))
    headers = dict(error.headers())
    assert headers["x-should-retry"] == "false" and "retry-after" not in headers
    assert "it can never go; send less, or ask for a higher limit" in error.message


def test_too_many_at_the_same_time_are_told_to_wait_for_one() -> None:
    error = refusal(answered(key(Limits(max_in_flight=2)), Estimate(1), 2))
    assert (error.type, dict(error.headers())["retry-after"]) == ("requests", "1")
    assert "2 requests at the same time (its `max_in_flight`), and all of them are under way" in error.message


def test_a_budget_that_is_used_up_is_not_to_be_tried_again() -> None:
    spent = wanted(key(Limits(), Budget(10 * DOLLAR, Window.MONTH)), Estimate(1, 1, 5), 10 * DOLLAR)
    error = refusal(judged(spent, [10 * DOLLAR], [0]))
    assert isinstance(error, BudgetExceeded)
    assert (error.status, error.type, error.code) == (429, "insufficient_quota", "insufficient_quota")
    assert dict(error.headers()) == {"x-should-retry": "false"}
    assert error.message == (
        "the budget of key 'ci', 10.00 USD for 2026-11, is used up; the next one begins in 228h0m0s"
    )


def test_a_budget_that_is_held_and_not_spent_is_not_said_to_be_used_up() -> None:
    checks = wanted(key(Limits(), Budget(DOLLAR)), Estimate(1, 1, DOLLAR // 4), DOLLAR // 2)
    error = refusal(judged(checks, [DOLLAR], [DOLLAR // 2]))
    assert error.message == (
        "the budget of key 'ci', 1.00 USD for total, is held by requests under way, 0.00 USD are free, "
        "and this one may cost 0.25 USD; wait"
    )
    assert (error.code, error.should_retry) == ("insufficient_quota", True)
    assert dict(error.headers())["retry-after"] == "1"


def test_a_share_of_a_limit_is_called_a_share() -> None:
    check = Check(Kind.REQUESTS, "key:k1", 5, label="key 'ci'", whole=20)
    error = refusal(judged([check], [5 * 60_000], [0]))
    assert "may have 20 requests per minute" in error.message
    assert "this replica 5 of them while it cannot ask the others" in error.message


def test_a_budget_that_has_too_little_says_how_much() -> None:
    error = refusal(answered(key(Limits(), Budget(DOLLAR)), Estimate(1, 1, DOLLAR // 2), 3 * DOLLAR // 4))
    assert error.message == (
        "the budget of key 'ci', 1.00 USD for total, has 0.25 USD left, and this request may cost 0.50 USD; "
        "set a smaller `max_tokens`; ask whoever runs this gateway to raise it"
    )


def test_limits_that_nobody_can_count_now_are_our_own_fault() -> None:
    (check,) = wanted(key(Limits(requests_per_minute=5)), Estimate(1))
    error = refusal(Admission(refused=check, wait_seconds=1.0, is_unavailable=True))
    assert isinstance(error, LimitsUnavailable)
    assert (error.status, error.code, dict(error.headers())["retry-after"]) == (503, "limits_unavailable", "1")


def test_who_is_admitted_is_not_refused() -> None:
    with pytest.raises(ValueError, match="admitted"):
        refusal(Admission())


def test_the_body_of_a_refusal_has_openais_shape() -> None:
    error = refusal(answered(key(Limits(requests_per_minute=1)), Estimate(1), 60_000))
    assert set(msgspec.json.decode(error.body())["error"]) == {"message", "type", "param", "code"}
