"""The live state of one deployment: when it is ejected, for how long, how it comes back, what else is in its way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health.vitals import KNOCK_SECONDS, Capacity, HealthPolicy, Obstacle, Vitals

BY_ROW = HealthPolicy(consecutive_failures=5, min_attempts=10_000)
BY_RATIO = HealthPolicy(consecutive_failures=10_000, failure_ratio=0.5, min_attempts=20)


def fail(vitals: Vitals, now: float, *, began: float | None = None, is_unsent: bool = False) -> float:
    """One attempt that fails; how long that ejects it."""
    is_probe = vitals.begin(now if began is None else began, is_first=True)
    seconds = vitals.failed(now, began=now if began is None else began, is_unsent=is_unsent, reason="server")
    vitals.end(is_probe=is_probe)
    return seconds


def work(vitals: Vitals, now: float) -> None:
    """One attempt that ends well."""
    is_probe = vitals.begin(now, is_first=True)
    vitals.succeeded(now)
    vitals.end(is_probe=is_probe)


# When it is ejected.


def test_so_many_failures_in_a_row_eject_it() -> None:
    vitals = Vitals(BY_ROW)
    assert [fail(vitals, 0.0) for _ in range(5)] == [0, 0, 0, 0, 1]
    assert (vitals.obstacle(0.0), vitals.reason) == (Obstacle.EJECTED, "server")


def test_one_success_breaks_the_row() -> None:
    vitals = Vitals(BY_ROW)
    for _ in range(10):
        for _ in range(4):
            assert fail(vitals, 0.0) == 0
        work(vitals, 0.0)
    assert vitals.obstacle(0.0) is None


def test_a_row_has_no_age() -> None:
    vitals = Vitals(BY_ROW)
    assert [fail(vitals, hours * 3600.0) for hours in range(5)] == [0, 0, 0, 0, 1]


def test_a_share_of_failures_ejects_it_once_there_are_enough_attempts() -> None:
    vitals = Vitals(BY_RATIO)
    for number in range(9):
        work(vitals, number / 10)
        assert fail(vitals, number / 10) == 0
    work(vitals, 1.0)
    assert fail(vitals, 1.0) == 1


def test_a_smaller_share_does_not() -> None:
    vitals = Vitals(BY_RATIO)
    for number in range(1000):
        work(vitals, number / 1000)
        work(vitals, number / 1000)
        assert fail(vitals, number / 1000) == 0


def test_what_is_older_than_ten_seconds_counts_no_more() -> None:
    vitals = Vitals(BY_RATIO)
    for _ in range(19):
        fail(vitals, 0.5)
    assert fail(vitals, 10.5) == 0
    assert vitals.counts.attempts == 1


def test_what_a_client_gave_up_counts_neither_way() -> None:
    vitals = Vitals(BY_RATIO)
    for _ in range(100):
        vitals.end(is_probe=vitals.begin(0.0, is_first=True))
    assert (vitals.counts.attempts, vitals.counts.firsts, vitals.in_flight) == (0, 100, 0)


# For how long, and how it comes back.


def test_each_ejection_lasts_twice_as_long_up_to_the_longest() -> None:
    vitals, now, lasted = Vitals(HealthPolicy(consecutive_failures=1, max_ejection_seconds=5)), 0.0, []
    for _ in range(5):
        seconds = fail(vitals, now)
        lasted.append(seconds)
        now += seconds
    assert lasted == [1, 2, 4, 5, 5]


def test_a_thousand_ejections_break_no_arithmetic() -> None:
    vitals, now = Vitals(HealthPolicy(consecutive_failures=1)), 0.0
    for _ in range(2000):
        now += fail(vitals, now)
    assert fail(vitals, now) == 8


def test_whoever_was_readmitted_begins_anew() -> None:
    vitals = Vitals(HealthPolicy(consecutive_failures=2))
    assert [fail(vitals, 0), fail(vitals, 0), fail(vitals, 1)] == [0, 1, 2]
    vitals.readmit()
    assert vitals.obstacle(1) is None
    assert [fail(vitals, 2), fail(vitals, 2)] == [0, 1]


def test_half_open_one_attempt_is_the_probe_and_the_others_see_an_ejected_deployment() -> None:
    vitals = Vitals(HealthPolicy(consecutive_failures=1))
    fail(vitals, 0)
    assert (vitals.obstacle(0.9), vitals.obstacle(1)) == (Obstacle.EJECTED, None)
    assert vitals.begin(1, is_first=True) is True
    assert vitals.obstacle(1) is Obstacle.EJECTED
    assert vitals.begin(1, is_first=True) is False
    vitals.end(is_probe=False)
    assert vitals.obstacle(1) is Obstacle.EJECTED
    vitals.end(is_probe=True)
    assert vitals.obstacle(1) is None


def test_who_goes_there_in_spite_of_the_ejection_is_no_probe_and_does_not_prolong_it() -> None:
    vitals = Vitals(HealthPolicy(consecutive_failures=1))
    fail(vitals, 0)
    assert vitals.begin(0.5, is_first=True) is False
    assert vitals.failed(0.6, began=0.5, is_unsent=False, reason="server") == 0
    vitals.end()
    assert vitals.ejected_until == 1


def test_a_failure_of_an_attempt_from_before_the_ejection_is_no_answer_to_the_probe() -> None:
    vitals = Vitals(HealthPolicy(consecutive_failures=1))
    vitals.begin(0, is_first=True)
    fail(vitals, 0.1)
    is_probe = vitals.begin(1.1, is_first=True)
    assert vitals.failed(1.2, began=0, is_unsent=False, reason="timeout") == 0
    vitals.end()
    assert (vitals.ejected_until, vitals.obstacle(1.2), vitals.reason) == (1.1, Obstacle.EJECTED, "server")
    vitals.readmit()
    vitals.end(is_probe=is_probe)
    assert (vitals.obstacle(1.3), vitals.in_flight) == (None, 0)


def test_a_free_question_that_was_answered_opens_the_door_for_one_request() -> None:
    vitals = Vitals(HealthPolicy(consecutive_failures=1, ejection_seconds=60, max_ejection_seconds=60))
    fail(vitals, 100)
    vitals.probed()
    assert vitals.obstacle(101) is None
    assert vitals.begin(101, is_first=True) is True
    assert vitals.obstacle(101) is Obstacle.EJECTED


def test_a_free_question_changes_nothing_about_one_that_is_not_ejected() -> None:
    vitals = Vitals(HealthPolicy())
    vitals.probed()
    assert (vitals.ejected_until, vitals.is_half_open) == (None, False)


# Pauses.


@pytest.mark.parametrize(
    ("first", "second", "until", "obstacle"),
    [
        ((60, True), (10, True), 60, Obstacle.COOLING),
        ((60, True), (90, True), 91, Obstacle.COOLING),
        ((60, True), (600, False), 60, Obstacle.COOLING),
        ((10, False), (600, False), 601, Obstacle.PUT_ASIDE),
        ((600, False), (10, False), 600, Obstacle.PUT_ASIDE),
        ((600, False), (10, True), 11, Obstacle.COOLING),
    ],
)
def test_a_pause_that_was_told_is_shortened_by_nothing(
    first: tuple[float, bool], second: tuple[float, bool], until: float, obstacle: Obstacle
) -> None:
    vitals = Vitals(HealthPolicy())
    vitals.cool(first[0], 0, is_told=first[1], reason="one")
    vitals.cool(second[0], 1, is_told=second[1], reason="two")
    assert (vitals.cooling_until, vitals.obstacle(5)) == (until, obstacle)
    assert vitals.wait(until - 1) == 1
    assert vitals.obstacle(until) is None


def test_a_pause_comes_before_limits_and_limits_before_an_ejection() -> None:
    vitals = Vitals(HealthPolicy(consecutive_failures=1), Capacity(max_in_flight=1))
    fail(vitals, 0)
    assert vitals.obstacle(0) is Obstacle.EJECTED
    vitals.begin(0, is_first=True)
    assert vitals.obstacle(0) is Obstacle.BUSY
    vitals.cool(1, 0, is_told=True, reason="overloaded")
    assert vitals.obstacle(0) is Obstacle.COOLING


# Unreachable.


def test_after_a_row_without_a_connection_one_a_second_may_knock() -> None:
    vitals = Vitals(HealthPolicy())
    for _ in range(4):
        fail(vitals, 0, is_unsent=True)
    assert not vitals.is_unreachable(0)
    fail(vitals, 0, is_unsent=True)
    assert vitals.is_unreachable(KNOCK_SECONDS - 0.01)
    assert not vitals.is_unreachable(KNOCK_SECONDS)
    vitals.begin(KNOCK_SECONDS, is_first=True)
    assert vitals.is_unreachable(KNOCK_SECONDS)


def test_one_failure_after_a_connection_means_that_it_can_be_reached() -> None:
    vitals = Vitals(HealthPolicy())
    for _ in range(9):
        fail(vitals, 0, is_unsent=True)
    fail(vitals, 0)
    assert not vitals.is_unreachable(0)


@pytest.mark.parametrize("news", [Vitals.probed, Vitals.readmit, lambda vitals: vitals.succeeded(0)])
def test_good_news_means_that_it_can_be_reached(news: object) -> None:
    vitals = Vitals(HealthPolicy())
    for _ in range(9):
        fail(vitals, 0, is_unsent=True)
    assert callable(news)
    news(vitals)
    assert not vitals.is_unreachable(0)


# Limits, and the budget of retries.


def test_limits_are_looked_at_before_an_attempt_and_given_back_after_it() -> None:
    vitals = Vitals(HealthPolicy(), Capacity(max_in_flight=2))
    vitals.begin(0, is_first=True)
    assert vitals.obstacle(0) is None
    vitals.begin(0, is_first=True)
    assert (vitals.obstacle(0), vitals.wait(0)) == (Obstacle.BUSY, 0)
    vitals.end()
    assert vitals.obstacle(0) is None


def test_requests_a_minute_are_a_bucket() -> None:
    vitals = Vitals(HealthPolicy(), Capacity(requests_per_minute=2))
    work(vitals, 0)
    work(vitals, 0)
    assert (vitals.obstacle(0), vitals.wait(0)) == (Obstacle.RATE, 30)
    assert vitals.obstacle(30) is None


def test_tokens_a_minute_are_estimated_first_and_corrected_then() -> None:
    vitals = Vitals(HealthPolicy(), Capacity(tokens_per_minute=600))
    vitals.begin(0, is_first=True, tokens=500)
    assert (vitals.obstacle(0, 200), vitals.wait(0, 200)) == (Obstacle.TOKENS, 10)
    vitals.spent(-400, 0)
    assert vitals.obstacle(0, 200) is None
    vitals.spent(1000, 0)
    assert vitals.wait(0, 100) == 60


def test_a_request_larger_than_the_limit_waits_for_a_full_bucket_and_not_for_ever() -> None:
    vitals = Vitals(HealthPolicy(), Capacity(tokens_per_minute=600))
    assert vitals.obstacle(0, 5000) is None
    vitals.begin(0, is_first=True, tokens=5000)
    assert vitals.wait(0, 5000) == 500
    assert vitals.obstacle(500, 5000) is None


@given(share=st.floats(0, 1), floor=st.floats(0, 5), firsts=st.integers(0, 200))
def test_retries_never_exceed_the_larger_of_share_and_floor(share: float, floor: float, firsts: int) -> None:
    vitals = Vitals(HealthPolicy())
    for _ in range(firsts):
        vitals.end(is_probe=vitals.begin(3.0, is_first=True))
    retries = 0
    while vitals.may_retry(3.0, share, floor):
        vitals.counts.retried(3.0)
        retries += 1
    assert retries <= max(share * firsts, floor * 10) < retries + 1


# Clocks and copies.


@given(
    moments=st.lists(st.tuples(st.floats(0, 60), st.sampled_from(["fail", "work", "ask", "wait"])), max_size=60),
    stands_still=st.booleans(),
)
def test_no_sequence_of_moments_leaves_a_wrong_count(moments: list[tuple[float, str]], stands_still: bool) -> None:
    vitals = Vitals(HealthPolicy(), Capacity(requests_per_minute=5, tokens_per_minute=50))
    ends: list[tuple[int, bool]] = []
    now = 100.0
    for seconds, what in moments:
        now += 0 if stands_still else seconds
        match what:
            case "fail":
                fail(vitals, now)
                ends.append((int(now), True))
            case "work":
                work(vitals, now)
                ends.append((int(now), False))
            case "ask":
                vitals.obstacle(now, 10)
            case _:
                assert vitals.wait(now, 10) >= 0
        vitals.counts.advance(now)
        recent = [is_failure for second, is_failure in ends if second > int(now) - 10]
        assert (vitals.counts.attempts, vitals.counts.failures) == (len(recent), sum(recent))
    assert vitals.in_flight == 0


def test_a_clock_that_stands_still_ejects_and_knocks_all_the_same() -> None:
    vitals = Vitals(HealthPolicy())
    for _ in range(5):
        fail(vitals, 0, is_unsent=True)
    assert vitals.obstacle(0) is Obstacle.EJECTED
    assert vitals.is_unreachable(0)
    work(vitals, 0)
    vitals.readmit()
    assert vitals.obstacle(0) is None


def test_a_copy_has_the_same_state_and_a_life_of_its_own() -> None:
    vitals = Vitals(
        HealthPolicy(consecutive_failures=2), Capacity(max_in_flight=5, requests_per_minute=9, tokens_per_minute=9)
    )
    fail(vitals, 0)
    vitals.latency.observe(1.0, 0)
    twin = vitals.copy()
    assert fail(twin, 0) == 1
    twin.latency.observe(9.0, 0)
    twin.begin(0, is_first=True, tokens=100)
    twin.cool(10, 0, is_told=True, reason="overloaded")
    assert (vitals.ejected_until, vitals.cooling_until, vitals.in_flight) == (None, 0, 0)
    assert (vitals.counts.failures, vitals.latency.seconds, vitals.wait(0, 1)) == (1, 1.0, 0)
    assert twin.wait(0, 1) > 10


def test_what_says_nothing_may_be_forgotten() -> None:
    vitals = Vitals(HealthPolicy(consecutive_failures=1))
    assert vitals.is_at_rest
    is_probe = vitals.begin(0, is_first=True)
    assert not vitals.is_at_rest
    vitals.end(is_probe=is_probe)
    assert vitals.is_at_rest
    fail(vitals, 0)
    assert not vitals.is_at_rest
