"""What follows each kind of failure: one play for each row of the table of verdicts, and who has to rest after it."""

from __future__ import annotations

import pytest

from adapters.failures import Failure
from gateway.resilience.consequences import Turn
from gateway.resilience.verdicts import NONSENSE_SECONDS, pause_seconds, told_seconds
from tests.resilience.playbook import (
    Clock,
    K,
    Play,
    dies,
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


def turns(play: Play) -> list[Turn]:
    return [event.turn for event in play.events]


@pytest.mark.parametrize("kind", [K.CONNECT, K.SERVER, K.MALFORMED])
def test_trouble_goes_to_another_deployment_at_once_and_to_the_same_one_as_a_last_resort(kind: K) -> None:
    told = play(deployment("a", keys=2), deployment("b"), per_deployment=2) << tries("a", 1) >> fails(kind)
    told = told << tries("b", reason=kind.value) >> fails(kind) << waits(0.05) << tries("a", 1) >> fails(kind)
    _ = told << waits(0.1) << tries("b") >> fails(kind) << gives_up(kind, "b")
    assert told.events == []
    assert told.planner.plan.route.deployments[0].vitals.consecutive == 2


def test_what_is_overloaded_rests_and_is_asked_again_as_a_last_resort() -> None:
    a, b = deployment("a"), deployment("b")
    told = play(a, b) << tries("a") >> fails(K.OVERLOADED) << tries("b") >> fails(K.OVERLOADED)
    _ = told << waits(0.05) << tries("a") >> works
    assert turns(told) == [Turn.DEPLOYMENT_COOLED, Turn.DEPLOYMENT_COOLED]
    assert (a.vitals.strikes, b.vitals.strikes) == (0, 1)


def test_a_rate_limit_goes_to_another_key_then_to_another_deployment() -> None:
    told = play(deployment("a", keys=2), deployment("b"))
    told = told << tries("a", 1) >> fails(K.RATE_LIMIT, retry_after=2) << tries("a", 2, charged="a")
    _ = told >> fails(K.RATE_LIMIT, retry_after=3) << tries("b") >> works
    assert turns(told) == [Turn.KEY_COOLED, Turn.KEY_COOLED]


def test_the_same_key_is_asked_again_after_exactly_the_pause_of_its_rate_limit() -> None:
    _ = (
        play(deployment("a"))
        << tries("a", 1)
        >> fails(K.RATE_LIMIT, retry_after=2)
        << waits(2)
        << tries("a", 1)
        >> works
    )


@pytest.mark.parametrize(("kind", "seconds"), [(K.QUOTA, 3600), (K.AUTH, 600)])
def test_a_key_that_is_empty_or_refused_is_put_aside_and_not_asked_again(kind: K, seconds: float) -> None:
    a = deployment("a", keys=2)
    told = play(a, deployment("b")) << tries("a", 1) >> fails(kind) << tries("a", 2) >> fails(kind)
    _ = told << tries("b") >> fails(K.TIMEOUT) << gives_up(K.TIMEOUT, "b")
    assert [(event.turn, event.seconds, event.needs_attention) for event in told.events] == [
        (Turn.KEY_COOLED, seconds, True),
        (Turn.KEY_COOLED, seconds, True),
    ]
    assert a.key_ring.wait(told.clock.now) == pytest.approx(seconds)


def test_a_credential_that_could_not_be_had_is_looked_for_again_soon() -> None:
    told = play(deployment("a")) << tries("a") >> fails(K.AUTH, code="credential_unavailable") << gives_up(K.AUTH, "a")
    assert [(event.seconds, event.needs_attention) for event in told.events] == [(5, False)]


def test_a_model_that_is_not_there_puts_its_deployment_aside() -> None:
    told = play(deployment("a", keys=2), deployment("b")) << tries("a") >> fails(K.MODEL_MISSING) << tries("b")
    _ = told >> fails(K.MODEL_MISSING) << gives_up(K.MODEL_MISSING, "b")
    assert [(event.turn, event.seconds) for event in told.events] == [(Turn.DEPLOYMENT_COOLED, 300)] * 2


def test_a_timeout_is_not_repeated_where_it_was() -> None:
    told = play(deployment("a", keys=2), deployment("b")) << tries("a") >> fails(K.TIMEOUT) << tries("b")
    _ = told >> fails(K.TIMEOUT) << gives_up(K.TIMEOUT, "b")
    assert told.events == []


def test_an_upstreams_own_timeout_may_be_repeated() -> None:
    _ = play(deployment("a")) << tries("a") >> fails(K.TIMEOUT, status=408) << waits(0.05) << tries("a") >> works


def test_what_nobody_knows_goes_elsewhere_but_not_to_the_same_again() -> None:
    told = play(deployment("a", keys=2), deployment("b")) << tries("a") >> fails(K.UNKNOWN) << tries("b")
    _ = told >> fails(K.UNKNOWN) << gives_up(K.UNKNOWN, "b")
    assert told.events == []


def test_a_cancelled_request_goes_nowhere() -> None:
    told = play(deployment("a", keys=2), deployment("b")) << tries("a") >> fails(K.CANCELLED)
    _ = told << gives_up(K.CANCELLED, "a")


@pytest.mark.parametrize("kind", [K.BAD_REQUEST, K.CONTENT_FILTER, K.CONTEXT_LENGTH])
def test_what_is_the_requests_own_fault_stays_with_it(kind: K) -> None:
    told = play(deployment("a", keys=2), deployment("b")) << tries("a") >> fails(kind) << gives_up(kind, "a")
    assert told.events == []


@pytest.mark.parametrize("code", ["upstream_tls_error", "upstream_redirect"])
def test_what_a_second_try_would_only_show_again_is_not_repeated(code: str) -> None:
    _ = play(deployment("a")) << tries("a") >> fails(K.CONNECT, code=code) << gives_up(K.CONNECT, "a")


def test_a_connection_that_never_was_goes_elsewhere_for_free() -> None:
    _ = play(deployment("a"), deployment("b")) << tries("a") >> unreachable << tries("b", charged="") >> works


def test_a_full_pool_of_ours_does_not_speak_against_a_deployment() -> None:
    a, clock = deployment("a"), Clock()
    full = fails(K.CONNECT, code="overloaded", is_unsent=True, retry_after=5)
    told = play(a, deployment("b"), clock=clock) << tries("a") >> full << tries("b") >> works
    assert (a.vitals.consecutive, told.events) == (0, [])
    _ = play(a, deployment("b"), clock=clock) << tries("a")


@pytest.mark.parametrize("kind", [K.RATE_LIMIT, K.QUOTA, K.AUTH, K.MODEL_MISSING, K.UNKNOWN, K.BAD_REQUEST])
def test_what_says_nothing_about_a_deployment_never_ejects_it(kind: K) -> None:
    a, b, clock = deployment("a", keys=30), deployment("b"), Clock()
    for _ in range(30):
        _ = play(a, b, attempts=1, clock=clock) << tries("a") >> fails(kind, retry_after=0.001) >> passes(0.01)
    assert (a.vitals.consecutive, a.vitals.counts.failures, a.vitals.ejected_until) == (0, 0, None)


# How long is rested.


@pytest.mark.parametrize(
    ("told", "seconds"),
    [(None, None), (0, None), (-1, None), (0.001, 0.001), (86_400, 86_400), (86_401, NONSENSE_SECONDS)],
)
def test_a_pause_is_obeyed_up_to_a_day_and_more_is_nonsense(told: float | None, seconds: float | None) -> None:
    assert told_seconds(Failure(K.RATE_LIMIT, "m", retry_after=told)) == seconds


@pytest.mark.parametrize("told", [float("inf"), float("nan")])
def test_a_pause_that_is_no_number_is_nonsense_too(told: float) -> None:
    assert told_seconds(Failure(K.RATE_LIMIT, "m", retry_after=told)) == NONSENSE_SECONDS


def test_pauses_that_nobody_told_the_length_of_double_up_to_half_a_minute() -> None:
    failure = Failure(K.RATE_LIMIT, "m")
    assert [pause_seconds(failure, strikes) for strikes in (0, 1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_key_that_worked_begins_with_a_short_pause_again() -> None:
    a = deployment("a", keys=1)
    told = play(a, attempts=3, per_deployment=3) << tries("a") >> fails(K.RATE_LIMIT) << waits(1) << tries("a")
    _ = told >> fails(K.RATE_LIMIT) << waits(2) << tries("a") >> works
    _ = play(a, clock=told.clock) << tries("a") >> fails(K.RATE_LIMIT) << waits(1) << tries("a")


def test_a_server_that_says_when_to_come_back_is_left_alone_until_then() -> None:
    a, b = deployment("a"), deployment("b")
    told = play(a, b) << tries("a") >> fails(K.SERVER, retry_after=20) << tries("b") >> works
    assert turns(told) == [Turn.DEPLOYMENT_COOLED]
    told.clock.now += 19.9
    assert a.vitals.wait(told.clock.now) == pytest.approx(0.1)


def test_a_timeout_of_the_upstreams_own_that_says_when_to_come_back_is_obeyed() -> None:
    a, b = deployment("a"), deployment("b")
    told = play(a, b) << tries("a") >> fails(K.TIMEOUT, status=408, retry_after=20) << tries("b") >> works
    assert a.vitals.wait(told.clock.now) == pytest.approx(20)


def test_a_server_that_says_to_come_back_soon_is_waited_for() -> None:
    told = play(deployment("a"), chance=0.0) << tries("a") >> fails(K.SERVER, retry_after=2) << waits(2) << tries("a")
    _ = told >> works


# Replays.


def test_a_dead_pooled_connection_is_replaced_at_once_and_costs_nothing() -> None:
    a = deployment("a")
    told = play(a, attempts=1) << tries("a") >> dies << tries("a", fresh=True, charged="") >> works
    assert (a.vitals.counts.retries, a.vitals.counts.firsts, a.vitals.consecutive) == (0, 1, 0)
    assert told.events == []


def test_it_is_replaced_once_and_then_counts_as_a_failure() -> None:
    told = play(deployment("a"), deployment("b"), attempts=2) << tries("a") >> dies << tries("a", fresh=True) >> dies
    _ = told << tries("b", reason="connect") >> works


def test_each_try_may_be_replaced() -> None:
    told = play(deployment("a"), deployment("b")) << tries("a") >> dies << tries("a", fresh=True) >> fails(K.SERVER)
    _ = told << tries("b") >> dies << tries("b", fresh=True) >> works


def test_it_is_not_replaced_past_the_deadline() -> None:
    told = play(deployment("a"), seconds=5) << tries("a")
    told.clock.now += 5
    _ = told >> dies << gives_up(K.TIMEOUT, "a", says="upstream.total_seconds (5 s)")


def test_it_is_not_replaced_while_its_key_was_told_to_rest_by_another_request() -> None:
    a, b = deployment("a"), deployment("b")
    told = play(a, b) << tries("a")
    _ = play(a, clock=told.clock) << tries("a") >> fails(K.RATE_LIMIT, retry_after=30)
    _ = told >> dies << tries("b") >> works


def test_it_is_not_replaced_while_its_deployment_was_told_to_rest_by_another_request() -> None:
    a, b = deployment("a", keys=2), deployment("b")
    told = play(a, b) << tries("a")
    _ = play(a, clock=told.clock) << tries("a") >> fails(K.OVERLOADED, retry_after=30)
    _ = told >> dies << tries("b") >> works


def test_a_first_attempt_that_nothing_came_of_leaves_its_fallback_unasked_for_other_kinds() -> None:
    spare = fallback(deployment("b"), on=[K.TIMEOUT])
    told = play(deployment("a"), spare, attempts=2, chance=0.0) << tries("a") >> fails(K.SERVER)
    _ = told << tries("a") >> fails(K.SERVER) << gives_up(K.SERVER, "a")
