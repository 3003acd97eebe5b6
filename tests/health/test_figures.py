"""Counts of the last seconds, buckets that refill, and how fast is fast."""

from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health.bucket import Bucket
from gateway.health.counts import WINDOW_SECONDS, RecentCounts
from gateway.health.latency import Latency, Percentile

# Counts.


def test_the_window_slides_by_whole_seconds() -> None:
    counts = RecentCounts()
    for second in range(WINDOW_SECONDS):
        counts.ended(second + 0.9, is_failure=second % 2 == 0)
        counts.begun(second + 0.9)
        counts.retried(second + 0.9)
    assert (counts.attempts, counts.failures, counts.firsts, counts.retries) == (10, 5, 10, 10)
    for second in range(WINDOW_SECONDS):
        counts.advance(WINDOW_SECONDS + second)
        assert counts.attempts == counts.firsts == counts.retries == 9 - second
    assert counts.failures == 0


@pytest.mark.parametrize("later", [10, 11, 19, 20, 1e6, 1e12])
def test_after_a_long_silence_everything_is_forgotten(later: float) -> None:
    counts = RecentCounts()
    for second in range(10):
        counts.ended(float(second), is_failure=True)
    counts.advance(9 + later)
    assert (counts.attempts, counts.failures) == (0, 0)


def test_forgetting_how_attempts_ended_keeps_what_was_begun() -> None:
    counts = RecentCounts()
    counts.begun(5)
    counts.retried(5)
    counts.ended(5, is_failure=True)
    counts.forget_ends()
    assert (counts.attempts, counts.failures, counts.firsts, counts.retries) == (0, 0, 1, 1)
    counts.ended(6, is_failure=True)
    counts.advance(15)
    assert (counts.attempts, counts.failures, counts.firsts, counts.retries) == (1, 1, 0, 0)
    counts.advance(16)
    assert (counts.attempts, counts.failures) == (0, 0)


def test_a_copy_counts_for_itself() -> None:
    counts = RecentCounts()
    counts.ended(5, is_failure=True)
    twin = counts.copy()
    twin.ended(5, is_failure=True)
    twin.advance(100)
    assert (counts.attempts, twin.attempts) == (1, 0)
    counts.advance(100)
    assert counts.attempts == 0


# Buckets.


def test_a_bucket_gives_a_minute_at_once_and_refills_steadily() -> None:
    bucket = Bucket(60)
    bucket.take(60, 0)
    assert [bucket.wait(1, now) for now in (0, 0.5, 1)] == [1, 0.5, 0]
    assert bucket.wait(60, 59) == 1
    bucket.take(1, 1000)
    assert bucket.wait(60, 1000) == 1


def test_what_was_taken_too_much_is_paid_back_first() -> None:
    bucket = Bucket(60)
    bucket.take(90, 0)
    assert bucket.wait(1, 0) == 31


def test_what_is_given_back_never_overflows() -> None:
    bucket = Bucket(60)
    bucket.take(10, 0)
    bucket.take(-1000, 0)
    bucket.take(60, 0)
    assert bucket.wait(1, 0) == 1


def test_a_clock_that_stands_still_or_steps_back_gives_nothing_for_free() -> None:
    bucket = Bucket(60)
    bucket.take(60, 100)
    assert bucket.wait(1, 100) == 1
    assert bucket.wait(1, 50) == 1
    bucket.take(0, 50)
    assert bucket.wait(1, 100) == 1


@given(
    size=st.integers(1, 10_000),
    takes=st.lists(st.tuples(st.integers(1, 500), st.floats(0, 30)), max_size=40),
    begins=st.sampled_from([0.0, 0.1, 1e3, 1e6]),
)
def test_whoever_waits_as_told_is_never_told_to_wait_again(
    size: int, takes: list[tuple[int, float]], begins: float
) -> None:
    bucket, now = Bucket(size), begins
    for amount, seconds in takes:
        now += bucket.wait(amount, now)
        assert bucket.wait(amount, now) == 0
        bucket.take(amount, now)
        now += seconds


@given(size=st.integers(1, 1000), gaps=st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_minute_gives_more_than_two_minutes_worth(size: int, gaps: list[float]) -> None:
    bucket, now, taken = Bucket(size), 0.0, list[float]()
    for gap in gaps:
        now += gap
        if not bucket.wait(1, now):
            bucket.take(1, now)
            taken.append(now)
    for start in taken:
        assert sum(start <= moment < start + 60 for moment in taken) <= 2 * size + 1


# How fast.


def test_the_first_sample_is_the_mean_and_later_ones_fade_in() -> None:
    latency = Latency()
    assert latency.seconds is None
    latency.observe(2.0, 100)
    assert latency.seconds == 2.0
    latency.observe(1.0, 110)
    assert latency.seconds == pytest.approx(2 * exp(-1) + 1 - exp(-1))


def test_samples_of_one_moment_count_a_tenth_each() -> None:
    latency = Latency()
    latency.observe(1.0, 0)
    latency.observe(2.0, 0)
    assert latency.seconds == pytest.approx(1.1)
    for _ in range(200):
        latency.observe(2.0, 0)
    assert latency.seconds == pytest.approx(2)


def test_whoever_was_never_asked_is_best_and_whoever_is_busy_is_worse() -> None:
    asked, new = Latency(), Latency()
    asked.observe(0.1, 0)
    assert new.score(0, 0) < asked.score(0, 0) < asked.score(0, 1) < asked.score(0, 9)


def test_what_was_slow_looks_better_with_time() -> None:
    slow, fast = Latency(), Latency()
    slow.observe(5.0, 0)
    fast.observe(0.5, 0)
    for now in range(0, 100, 10):
        fast.observe(0.5, now)
    assert slow.score(1, 0) > fast.score(1, 0)
    assert slow.score(95, 0) < fast.score(95, 0)


@given(samples=st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 100)), min_size=1, max_size=50))
def test_the_mean_stays_within_the_samples(samples: list[tuple[float, float]]) -> None:
    latency, now = Latency(), 0.0
    for seconds, gap in samples:
        now += gap
        latency.observe(seconds, now)
    low, high = min(each for each, _ in samples), max(each for each, _ in samples)
    assert latency.seconds is not None
    assert low - 1e-6 <= latency.seconds <= high + 1e-6


def test_a_percentile_needs_twenty_samples() -> None:
    percentile = Percentile()
    for number in range(19):
        percentile.observe(float(number))
        assert percentile.value is None
    percentile.observe(19.0)
    assert percentile.value == 19.0


def test_a_percentile_is_that_of_the_last_two_hundred() -> None:
    percentile = Percentile()
    for _ in range(1000):
        percentile.observe(100.0)
    for number in range(200):
        percentile.observe(float(number))
    assert percentile.value == pytest.approx(190, abs=1)


def test_a_copied_percentile_goes_its_own_way() -> None:
    percentile = Percentile()
    for _ in range(20):
        percentile.observe(1.0)
    twin = percentile.copy()
    for _ in range(200):
        twin.observe(9.0)
    assert (percentile.value, twin.value) == (1.0, 9.0)


def test_one_attempt_at_a_time_finds_out_how_fast_an_unknown_deployment_is() -> None:
    known, unknown = Latency(), Latency()
    known.observe(0.5, 100.0)
    assert unknown.score(100.0, 0) < known.score(100.0, 0)
    assert unknown.score(100.0, 1) > known.score(100.0, 3)
