"""What is left out because it fails too much, and how it comes back."""

from __future__ import annotations

import pytest

from gateway.resilience.consequences import Turn
from tests.resilience.playbook import (
    Clock,
    K,
    begins,
    declines,
    eject,
    fails,
    gives_up,
    leaves,
    passes,
    play,
    tries,
    unreachable,
    works,
)
from tests.resilience.scenery import deployment, fallback

# Ejections.


def test_an_ejected_deployment_is_passed_over() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    eject(a, clock)
    _ = play(a, b, clock=clock) << tries("b", charged="", reason="") >> works


def test_a_fallback_comes_before_an_ejected_deployment() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    eject(a, clock)
    told = play(a, b, fallback(deployment("c")), clock=clock) << tries("b") >> fails(K.TIMEOUT) << tries("c")
    _ = told >> fails(K.TIMEOUT) << tries("a") >> works


def test_the_sole_deployment_of_a_route_is_never_ejected() -> None:
    a, clock = deployment("a"), Clock()
    eject(a, clock)
    _ = play(a, fallback(deployment("b")), clock=clock) << tries("a") >> works


@pytest.mark.parametrize(("share", "passed_over"), [(0.7, 2), (0.5, 1), (0.3, 0), (1.0, 2), (0.0, 0)])
def test_only_a_share_of_a_route_is_ejected_and_the_first_to_come_back_serves(share: float, passed_over: int) -> None:
    own, clock = [deployment(name) for name in "abc"], Clock()
    for each in own:
        eject(each, clock)
        clock.now += 0.1
    _ = play(*own, clock=clock, max_ejected_share=share) << tries("a")
    _ = play(*reversed(own), clock=clock, max_ejected_share=share) << tries("cba"[passed_over])


def test_half_open_lets_one_request_through_and_its_good_end_readmits() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    eject(a, clock)
    clock.now += 1
    probe = play(a, b, clock=clock) << tries("a")
    _ = play(a, b, clock=clock) << tries("b") >> works
    _ = probe >> works
    assert [event.turn for event in probe.events] == [Turn.READMITTED]
    _ = play(a, b, clock=clock) << tries("a") >> works


def test_a_probe_that_fails_ejects_for_twice_as_long() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    eject(a, clock)
    for seconds in (2, 4, 8, 8):
        clock.now = a.vitals.ejected_until or 0.0
        told = play(a, b, clock=clock) << tries("a") >> fails(K.SERVER) << tries("b") >> works
        assert [(event.turn, event.seconds) for event in told.events] == [(Turn.EJECTED, seconds)]


@pytest.mark.parametrize("end", [leaves, declines, fails(K.RATE_LIMIT, retry_after=0.001)])
def test_a_probe_that_says_nothing_makes_room_for_the_next(end: object) -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    eject(a, clock)
    clock.now += 1
    assert callable(end)
    _ = (play(a, b, clock=clock) << tries("a")) >> end >> passes(0.01)
    _ = play(a, b, clock=clock) << tries("a") >> works


def test_a_stream_that_readmitted_does_not_stand_in_the_way_of_the_next_probe() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    eject(a, clock)
    clock.now += 1
    stream = play(a, b, clock=clock) << tries("a") >> begins
    eject(a, clock)
    clock.now += 1
    _ = play(a, b, clock=clock) << tries("a")
    _ = play(a, b, clock=clock) << tries("b") >> works
    _ = stream >> leaves
    _ = play(a, b, clock=clock) << tries("b") >> works


def test_an_attempt_from_before_the_ejection_does_not_end_it() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    early = play(a, b, clock=clock) << tries("a")
    clock.now += 0.1
    eject(a, clock)
    clock.now += 0.1
    _ = early >> works
    _ = play(a, b, clock=clock) << tries("b") >> works


def test_an_attempt_from_before_the_ejection_does_not_prolong_it() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    early = [play(a, b, clock=clock) << tries("a") for _ in range(3)]
    clock.now += 0.1
    eject(a, clock)
    _ = early[0] >> passes(0.5) >> fails(K.SERVER)
    assert a.vitals.ejected_until == 1001.1
    _ = early[1] >> passes(2) >> fails(K.SERVER)
    assert a.vitals.ejected_until == 1001.1
    _ = play(a, b, clock=clock) << tries("a") >> works


# The sole deployment cannot be reached.


def test_a_sole_deployment_that_cannot_be_reached_gets_one_attempt_a_second() -> None:
    a, clock = deployment("a"), Clock()
    eject(a, clock, K.CONNECT, is_unsent=True)
    _ = play(a, clock=clock) << gives_up(K.CONNECT, "a", wait=1, says="cannot be reached: 5 attempts") >> passes(1)
    knocking = play(a, clock=clock) << tries("a")
    _ = play(a, clock=clock) << gives_up(K.CONNECT, "a")
    _ = knocking >> unreachable << gives_up(K.CONNECT, "a") >> passes(0.9)
    _ = play(a, clock=clock) << gives_up(K.CONNECT, "a") >> passes(0.1)
    _ = play(a, clock=clock) << tries("a") >> works
    _ = play(a, clock=clock) << tries("a") >> works


def test_one_that_can_be_reached_and_fails_is_not_held_back() -> None:
    a, clock = deployment("a"), Clock()
    eject(a, clock)
    for _ in range(3):
        _ = play(a, clock=clock, attempts=1) << tries("a") >> fails(K.SERVER)


def test_a_connection_that_comes_about_ends_being_unreachable_whatever_comes_of_it() -> None:
    a, clock = deployment("a"), Clock()
    eject(a, clock, K.CONNECT, is_unsent=True)
    clock.now += 1
    _ = play(a, clock=clock, attempts=1) << tries("a") >> fails(K.SERVER)
    _ = play(a, clock=clock) << tries("a") >> works
