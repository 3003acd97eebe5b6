"""One client's refused request keeps nobody else away."""

from __future__ import annotations

import pytest

from tests.resilience.playbook import Clock, K, fails, play, tries, works
from tests.resilience.scenery import deployment

REFUSALS = [(K.AUTH, 403), (K.AUTH, 401), (K.QUOTA, 402), (K.MODEL_MISSING, 404)]


@pytest.mark.parametrize(("kind", "status"), REFUSALS)
def test_what_has_worked_lately_goes_on_after_a_refusal(kind: K, status: int) -> None:
    a, clock = deployment("a"), Clock()
    _ = play(a, clock=clock) << tries("a") >> works
    _ = play(a, clock=clock) << tries("a") >> fails(kind, status=status)
    assert a.vitals.obstacle(clock.now) is None
    assert a.key_ring.wait(clock.now) == 0


@pytest.mark.parametrize(("kind", "status"), REFUSALS)
def test_it_is_put_aside_when_it_is_refused_again_and_again(kind: K, status: int) -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    _ = play(a, clock=clock) << tries("a") >> works
    for _ in range(3):
        _ = play(a, b, clock=clock) << tries("a") >> fails(kind, status=status) << tries("b") >> works
    assert a.vitals.obstacle(clock.now) is not None or a.key_ring.wait(clock.now) > 0


def test_a_request_that_the_provider_reads_shows_that_the_key_is_good() -> None:
    a, clock = deployment("a"), Clock()
    _ = play(a, clock=clock) << tries("a") >> fails(K.AUTH, status=401)
    assert a.key_ring.wait(clock.now) > 0
    clock.now += 6
    _ = play(a, clock=clock) << tries("a") >> fails(K.BAD_REQUEST, status=400)
    assert a.key_ring.wait(clock.now) == 0


def test_a_probe_that_hangs_does_not_keep_the_next_one_away() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    for _ in range(5):
        _ = play(a, b, clock=clock) << tries("a") >> fails(K.TIMEOUT) << tries("b") >> works
    clock.now += 1.1
    hanging = play(a, b, clock=clock) << tries("a")
    _ = play(a, b, clock=clock) << tries("b") >> works
    clock.now += 8.1
    _ = play(a, b, clock=clock) << tries("a") >> works
    assert not a.vitals.is_half_open
    assert hanging.planner
