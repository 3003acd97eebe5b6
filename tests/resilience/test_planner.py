"""What the attempt loop does next, told as plays: a try, how it ended, the next step."""

from __future__ import annotations

from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.failures import Failure
from adapters.failures import FailureKind as K
from gateway.resilience.planner import AttemptPlanner, GiveUp, Try, past_deadline
from tests.engine.doubles import Stage

DEPLOYMENT = Stage().deployment
DEAD = Failure(K.CONNECT, "the connection died")
BUSY = Failure(K.OVERLOADED, "busy", status=503)
ANY = Try(DEPLOYMENT)
FRESH = Try(DEPLOYMENT, fresh=True)


class Play:
    """A planner, a clock and the steps that are expected of them."""

    def __init__(self, *, deadline: float = 100.0) -> None:
        self.planner = AttemptPlanner(DEPLOYMENT, deadline)
        self.now = 0.0

    def __lshift__(self, step: Try | GiveUp) -> Self:
        assert self.planner.next(self.now) == step
        return self

    def fails(self, failure: Failure, *, replayable: bool = False, after: float = 1.0) -> Self:
        self.now += after
        self.planner.record(failure, is_replayable=replayable)
        return self


def test_the_first_step_is_a_try_on_any_connection() -> None:
    _ = Play() << ANY


@pytest.mark.parametrize("kind", list(K))
def test_a_failure_of_any_kind_ends_the_request(kind: K) -> None:
    failure = Failure(kind, "m")
    _ = (Play() << ANY).fails(failure) << GiveUp(failure)


def test_a_dead_pooled_connection_is_replaced_by_a_fresh_one() -> None:
    _ = (Play() << ANY).fails(DEAD, replayable=True) << FRESH


def test_the_replacement_is_made_once() -> None:
    play = (Play() << ANY).fails(DEAD, replayable=True) << FRESH
    _ = play.fails(DEAD, replayable=True) << GiveUp(DEAD)


def test_what_the_replacement_hears_is_what_counts() -> None:
    play = (Play() << ANY).fails(DEAD, replayable=True) << FRESH
    _ = play.fails(BUSY) << GiveUp(BUSY)


def test_no_try_begins_at_or_after_the_deadline() -> None:
    _ = Play(deadline=0.0) << GiveUp(past_deadline())


def test_no_replacement_is_made_after_the_deadline_and_the_failure_is_told() -> None:
    _ = (Play(deadline=5.0) << ANY).fails(DEAD, replayable=True, after=5.0) << GiveUp(DEAD)


def test_the_limit_is_named() -> None:
    failure = past_deadline()
    assert (failure.kind, failure.code, failure.setting) == (K.TIMEOUT, "upstream_timeout", "upstream.total_seconds")
    assert "upstream.total_seconds" in failure.message


ENDS = st.tuples(st.sampled_from(list(K)), st.booleans(), st.floats(0, 50))


@given(ends=st.lists(ENDS, min_size=4, max_size=12), deadline=st.floats(0, 100))
def test_every_play_ends_in_time_after_at_most_one_replacement(
    ends: list[tuple[K, bool, float]], deadline: float
) -> None:
    planner = AttemptPlanner(DEPLOYMENT, deadline)
    now, tries = 0.0, []
    for kind, replayable, seconds in ends:
        step = planner.next(now)
        if isinstance(step, GiveUp):
            assert step.failure
            break
        assert now < deadline
        tries.append(step)
        now += seconds
        planner.record(Failure(kind, "m"), is_replayable=replayable)
    else:
        pytest.fail("the play did not end")
    assert len(tries) <= 2
    assert sum(step.fresh for step in tries) <= 1
    assert isinstance(planner.next(now), GiveUp), "the end stays the end"
