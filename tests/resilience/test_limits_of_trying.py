"""How often, how long and at whose cost is tried again; and what stands in the way of a try."""

from __future__ import annotations

import pytest

from adapters.failures import Failure
from gateway.health.vitals import Capacity, HealthPolicy
from gateway.resilience.steps import GiveUp, Wait
from tests.resilience.playbook import (
    Clock,
    K,
    Play,
    dies,
    eject,
    fails,
    gives_up,
    passes,
    play,
    tries,
    unreachable,
    waits,
    works,
)
from tests.resilience.scenery import deployment, fallback

# How often.


def test_attempts_count_over_the_whole_chain() -> None:
    told = play(deployment("a"), fallback(deployment("b"), deployment("c")), attempts=2) << tries("a")
    _ = told >> fails(K.SERVER) << tries("b") >> fails(K.SERVER) << gives_up(K.SERVER, "b")


def test_the_policy_of_the_route_that_was_asked_for_counts_in_its_fallbacks() -> None:
    told = play(deployment("a"), fallback(deployment("b")), attempts=9, per_deployment=1) << tries("a")
    _ = told >> fails(K.SERVER) << tries("b") >> fails(K.SERVER) << gives_up(K.SERVER, "b")


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_deployment_is_tried_so_often_and_no_more(most: int) -> None:
    told = play(deployment("a"), attempts=9, per_deployment=most, chance=0.0)
    for _ in range(most):
        told = told << tries("a") >> fails(K.SERVER)
    _ = told << gives_up(K.SERVER, "a")


def test_other_keys_of_a_deployment_are_tried_beyond_that() -> None:
    told = play(deployment("a", keys=3), attempts=9, per_deployment=1)
    for number in (1, 2, 3):
        told = told << tries("a", number) >> fails(K.RATE_LIMIT, retry_after=50)
    _ = told << gives_up(K.RATE_LIMIT, "a", wait=50)


def test_pauses_double_up_to_the_longest_and_are_a_share_of_that() -> None:
    told = play(deployment("a"), attempts=9, per_deployment=9, chance=0.5) << tries("a") >> fails(K.SERVER)
    for seconds in (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        told = told << waits(seconds) << tries("a") >> fails(K.SERVER)


def test_no_pause_reaches_the_deadline() -> None:
    told = play(deployment("a"), seconds=0.05) << tries("a") >> fails(K.SERVER) << gives_up(K.SERVER, "a")
    assert told.clock.now == 1000.0


def test_at_the_deadline_it_is_over_and_the_setting_is_named() -> None:
    told = play(deployment("a"), deployment("b"), seconds=3) << tries("a") >> fails(K.SERVER, after=3)
    _ = told << gives_up(K.TIMEOUT, "a", says="upstream.total_seconds (3 s)")


# At whose cost.


def test_failures_may_cause_three_more_attempts_a_second_in_any_case() -> None:
    a, clock = deployment("a", policy=HealthPolicy(consecutive_failures=1000, min_attempts=1000)), Clock()
    for _ in range(30):
        told = play(a, clock=clock, attempts=2, chance=0.0) << tries("a") >> fails(K.SERVER) << tries("a", charged="a")
        _ = told >> fails(K.SERVER) << gives_up(K.SERVER, "a", over_budget=False)
    _ = play(a, clock=clock) << tries("a") >> fails(K.SERVER) << gives_up(K.SERVER, "a", over_budget=True)
    clock.now += 10
    _ = play(a, clock=clock, chance=0.0) << tries("a") >> fails(K.SERVER) << tries("a") >> works


def test_failures_may_cause_more_attempts_for_a_share_of_the_first_ones() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    for _ in range(10):
        _ = play(a, clock=clock, budget_floor_per_second=0) << tries("a") >> works
    for _ in range(2):
        told = play(a, b, clock=clock, budget_floor_per_second=0) << tries("a") >> fails(K.SERVER)
        _ = told << tries("b", charged="a") >> works
    b.vitals.counts.ended(clock.now, is_failure=True)
    told = play(a, b, clock=clock, budget_floor_per_second=0) << tries("a") >> fails(K.SERVER)
    _ = told << gives_up(K.SERVER, "a")


def test_beyond_the_budget_a_deployment_that_had_no_trouble_of_late_takes_over_once_and_is_charged_to_nobody() -> None:
    a, b, c, clock = deployment("a"), deployment("b"), deployment("c"), Clock()
    for _ in range(4):  # a fifth would eject it
        told = play(a, b, c, clock=clock, budget_floor_per_second=0, budget=0) << tries("a") >> fails(K.SERVER)
        _ = told << tries("b", charged="") >> works
    assert a.vitals.counts.retries == 0
    told = play(a, b, c, clock=clock, budget_floor_per_second=0, budget=0) << tries("a") >> fails(K.SERVER)
    _ = told << tries("b") >> fails(K.TIMEOUT) << gives_up(K.TIMEOUT, "b")


def test_beyond_the_budget_nothing_is_taken_over_by_a_deployment_in_trouble() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    _ = play(b, clock=clock) << tries("b") >> fails(K.SERVER)
    told = play(a, b, clock=clock, budget_floor_per_second=0, budget=0) << tries("a") >> fails(K.SERVER)
    _ = told << gives_up(K.SERVER, "a")


def test_the_deployment_that_failed_pays_and_not_the_one_that_is_tried() -> None:
    a, b = deployment("a"), deployment("b")
    _ = play(a, b) << tries("a") >> fails(K.SERVER) << tries("b") >> works
    assert (a.vitals.counts.retries, b.vitals.counts.retries) == (1, 0)
    assert (a.vitals.counts.firsts, b.vitals.counts.firsts) == (1, 0)


def test_what_the_upstream_never_saw_is_free() -> None:
    a, b = deployment("a"), deployment("b")
    told = play(a, b, budget=0, budget_floor_per_second=0) << tries("a") >> unreachable << tries("b", charged="")
    _ = told >> fails(K.SERVER) << gives_up(K.SERVER, "b")
    assert a.vitals.counts.retries == 0


def test_a_replacement_is_free_too() -> None:
    told = play(deployment("a"), budget=0, budget_floor_per_second=0) << tries("a") >> dies
    _ = told << tries("a", fresh=True, charged="") >> fails(K.SERVER) << gives_up(K.SERVER, "a")


# Pauses that were asked for.


def test_a_short_pause_is_waited_for_exactly() -> None:
    told = play(deployment("a")) << tries("a") >> fails(K.RATE_LIMIT, retry_after=9.5) << waits(9.5) << tries("a")
    assert told.clock.now == 1009.5


def test_a_pause_as_long_as_the_longest_wait_is_waited_for() -> None:
    _ = play(deployment("a")) << tries("a") >> fails(K.RATE_LIMIT, retry_after=10) << waits(10) << tries("a") >> works


def test_a_pause_longer_than_the_longest_wait_is_told_to_the_client() -> None:
    told = play(deployment("a")) << tries("a") >> fails(K.RATE_LIMIT, retry_after=10.5, after=1)
    _ = told << gives_up(K.RATE_LIMIT, "a", wait=10.5)


def test_a_pause_that_ends_past_the_deadline_is_told_to_the_client() -> None:
    told = play(deployment("a"), seconds=5) << tries("a") >> fails(K.RATE_LIMIT, retry_after=5)
    _ = told << gives_up(K.RATE_LIMIT, "a", wait=5)


def test_all_waits_of_a_request_together_are_bounded() -> None:
    told = play(deployment("a"), attempts=9, per_deployment=9) << tries("a") >> fails(K.RATE_LIMIT, retry_after=6)
    _ = told << waits(6) << tries("a") >> fails(K.RATE_LIMIT, retry_after=6) << gives_up(K.RATE_LIMIT, "a", wait=6)


def test_no_wait_at_all_if_the_route_says_so() -> None:
    told = play(deployment("a"), max_wait_seconds=0) << tries("a") >> fails(K.RATE_LIMIT, retry_after=0.1)
    _ = told << gives_up(K.RATE_LIMIT, "a", wait=0.1)


def test_of_several_pauses_the_first_to_end_is_waited_for() -> None:
    told = play(deployment("a"), deployment("b")) << tries("a") >> fails(K.RATE_LIMIT, retry_after=5) << tries("b")
    _ = told >> fails(K.RATE_LIMIT, retry_after=3) << waits(3) << tries("b") >> works


def test_the_client_hears_when_the_first_of_several_is_back() -> None:
    told = play(deployment("a"), deployment("b")) << tries("a") >> fails(K.RATE_LIMIT, retry_after=50) << tries("b")
    _ = told >> fails(K.RATE_LIMIT, retry_after=30) << gives_up(K.RATE_LIMIT, "b", wait=30)


def test_what_is_overloaded_for_long_is_told_with_its_wait() -> None:
    told = play(deployment("a")) << tries("a") >> fails(K.OVERLOADED, retry_after=40)
    _ = told << gives_up(K.OVERLOADED, "a", wait=40)


def test_a_pause_that_is_nonsense_is_told_as_a_quarter_of_an_hour() -> None:
    for kind in (K.SERVER, K.RATE_LIMIT, K.OVERLOADED):
        _ = play(deployment("a")) << tries("a") >> fails(kind, retry_after=1e9) << gives_up(kind, "a", wait=900)


def test_a_pause_holds_for_every_request() -> None:
    a, clock = deployment("a"), Clock()
    _ = play(a, clock=clock, attempts=1) << tries("a") >> fails(K.RATE_LIMIT, retry_after=20) >> passes(5)
    _ = play(a, clock=clock) << gives_up(K.RATE_LIMIT, "a", wait=15, says="its key is resting (rate_limit")
    _ = play(a, clock=clock) >> passes(6) << waits(9) << tries("a") >> works


def test_a_pause_of_a_deployment_holds_for_every_request() -> None:
    a, clock = deployment("a", keys=2), Clock()
    _ = play(a, clock=clock, attempts=1) << tries("a") >> fails(K.OVERLOADED, retry_after=20) >> passes(5)
    _ = play(a, clock=clock) << gives_up(K.OVERLOADED, "a", wait=15, says="asked for a pause")


def test_if_all_keys_rest_the_client_hears_how_many_and_for_how_long() -> None:
    a, clock = deployment("a", keys=2), Clock()
    told = play(a, clock=clock) << tries("a", 1) >> fails(K.RATE_LIMIT, retry_after=60) << tries("a", 2)
    _ = told >> fails(K.RATE_LIMIT, retry_after=30) >> passes(10)
    _ = play(a, clock=clock) << gives_up(K.RATE_LIMIT, "a", wait=20, says="all of its 2 keys are resting (rate_limit")


def test_a_key_that_rests_because_another_replica_said_so_is_told_as_that() -> None:
    a, clock = deployment("a"), Clock()
    failure = Failure(K.RATE_LIMIT, "another replica was told so")
    a.key_ring.keys[0].state.cool(60, clock.now, is_told=True, failure=failure)
    _ = play(a, clock=clock) << gives_up(K.RATE_LIMIT, "a", wait=60, says="its key is resting (rate_limit: another")


def test_a_key_that_was_put_aside_is_knocked_at_after_five_seconds() -> None:
    a, clock = deployment("a"), Clock()
    _ = play(a, clock=clock) << tries("a") >> fails(K.AUTH, status=401) >> passes(4.9)
    _ = play(a, clock=clock) << gives_up(K.AUTH, "a", says="its key is resting (auth") >> passes(0.1)
    _ = play(a, clock=clock) << tries("a") >> fails(K.AUTH, status=401) >> passes(4.9)
    _ = play(a, clock=clock) << gives_up(K.AUTH, "a") >> passes(0.1)
    _ = play(a, clock=clock) << tries("a") >> works
    _ = play(a, clock=clock) << tries("a") >> works


def test_one_request_knocks_at_a_time() -> None:
    a, clock = deployment("a"), Clock()
    _ = play(a, clock=clock) << tries("a") >> fails(K.QUOTA) >> passes(5)
    _ = play(a, clock=clock) << tries("a")
    _ = play(a, clock=clock) << gives_up(K.QUOTA, "a")


def test_a_key_that_was_told_to_rest_is_never_knocked_at() -> None:
    a, clock = deployment("a"), Clock()
    _ = play(a, clock=clock) << tries("a") >> fails(K.QUOTA, retry_after=500) >> passes(480)
    _ = play(a, clock=clock) << gives_up(K.QUOTA, "a", wait=20) >> passes(20)
    _ = play(a, clock=clock) << tries("a") >> works


def test_a_deployment_that_was_put_aside_is_tried_where_nothing_else_is_left() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    _ = play(a, b, clock=clock) << tries("a") >> fails(K.MODEL_MISSING) << tries("b") >> works
    told = play(a, b, clock=clock, per_deployment=1) << tries("b") >> fails(K.SERVER) << tries("a") >> fails(K.SERVER)
    _ = told << gives_up(K.SERVER, "a")


# Limits of the file.


def test_what_is_over_a_limit_goes_to_the_next_deployment() -> None:
    a, b, clock = deployment("a", limits=Capacity(max_in_flight=1)), deployment("b"), Clock()
    first = play(a, b, clock=clock) << tries("a")
    _ = play(a, b, clock=clock) << tries("b") >> works
    _ = first >> works
    _ = play(a, b, clock=clock) << tries("a") >> works


def test_a_full_deployment_is_looked_at_until_it_has_room() -> None:
    a, clock = deployment("a", limits=Capacity(max_in_flight=1)), Clock()
    first, second = play(a, clock=clock) << tries("a"), play(a, clock=clock)
    second = second << waits(0.05) << waits(0.05)
    _ = first >> works
    _ = second << tries("a") >> works


def test_a_full_deployment_is_waited_for_only_so_long() -> None:
    a, clock = deployment("a", limits=Capacity(max_in_flight=1)), Clock()
    _ = play(a, clock=clock) << tries("a")
    second = play(a, clock=clock, max_wait_seconds=1)
    while isinstance(step := second.planner.next(clock.now), Wait):
        clock.now += step.seconds
    assert isinstance(step, GiveUp)
    assert step.failure is not None
    assert (step.failure.kind, step.failure.code) == (K.RATE_LIMIT, "deployment_limit")
    assert clock.now == pytest.approx(1001, abs=0.06)


@pytest.mark.parametrize("limits", [Capacity(requests_per_minute=60), Capacity(tokens_per_minute=6000)])
def test_a_used_up_rate_is_waited_for_exactly(limits: Capacity) -> None:
    a, clock = deployment("a", limits=limits), Clock()
    for _ in range(60):
        _ = play(a, clock=clock, tokens=100) << tries("a") >> works
    _ = play(a, clock=clock, tokens=100) << waits(1) << tries("a") >> works


@pytest.mark.parametrize("limits", [Capacity(requests_per_minute=7), Capacity(tokens_per_minute=77)])
def test_a_wait_for_a_used_up_rate_is_long_enough(limits: Capacity) -> None:
    a, clock = deployment("a", limits=limits), Clock(1_000_000.1)
    for _ in range(300):
        told = play(a, clock=clock, tokens=11, max_wait_seconds=60)
        step = told.planner.next(clock.now)
        if isinstance(step, Wait):
            clock.now += step.seconds
            told = told << tries("a") >> works
        else:
            assert not isinstance(step, GiveUp)
            told.begin(step)
            _ = told >> works


# A second attempt beside the first.


def hedged(told: Play) -> str:
    step = told.planner.hedge(told.clock.now)
    if step is None:
        return ""
    told.begin(step)
    assert (step.is_first, step.charged, step.fresh) == (False, None, False)
    return step.deployment.id


def test_a_second_attempt_goes_to_another_deployment_of_the_stage() -> None:
    assert hedged(play(deployment("a"), deployment("b")) << tries("a")) == "b"
    assert hedged(play(deployment("a"), fallback(deployment("b"))) << tries("a")) == ""


def test_there_is_none_before_the_first_attempt_or_beyond_the_last() -> None:
    assert hedged(play(deployment("a"), deployment("b"))) == ""
    assert hedged(play(deployment("a"), deployment("b"), attempts=1) << tries("a")) == ""


def test_a_second_attempt_passes_over_what_is_ejected_resting_or_full() -> None:
    ejected, resting, clock = deployment("e"), deployment("k"), Clock()
    full = deployment("f", limits=Capacity(max_in_flight=1))
    eject(ejected, clock)
    _ = play(resting, clock=clock, attempts=1) << tries("k") >> fails(K.RATE_LIMIT)
    _ = play(full, clock=clock) << tries("f")
    told = play(deployment("a"), ejected, resting, full, deployment("b"), clock=clock) << tries("a")
    assert hedged(told) == "b"


def test_if_both_fail_the_next_one_follows() -> None:
    told = play(deployment("a"), deployment("b"), deployment("c")) << tries("a")
    assert hedged(told) == "b"
    _ = told >> fails(K.SERVER) >> fails(K.SERVER) << tries("c") >> works


def test_another_key_follows_at_the_deployment_whose_key_failed_last() -> None:
    told = play(deployment("a", keys=2), deployment("b", keys=2)) << tries("a", 1)
    assert hedged(told) == "b"
    _ = told >> fails(K.SERVER) >> fails(K.RATE_LIMIT) << tries("a", 2) >> works


def test_a_connection_that_died_beside_another_failure_is_replaced_all_the_same() -> None:
    told = play(deployment("a"), deployment("b")) << tries("a")
    assert hedged(told) == "b"
    told.open.reverse()
    _ = told >> dies >> fails(K.SERVER) << tries("a", fresh=True) >> works


def test_a_client_is_told_when_a_key_put_aside_is_asked_again_not_when_its_rest_would_be_over() -> None:
    told = play(deployment("a")) << tries("a") >> fails(K.QUOTA) << gives_up(K.QUOTA, "a", wait=5)
    assert told.planner


def test_a_pause_of_our_own_at_a_deployment_keeps_no_client_away() -> None:
    told = play(deployment("a"), per_deployment=1) << tries("a") >> fails(K.OVERLOADED) << gives_up(K.OVERLOADED, "a")
    assert told.planner
