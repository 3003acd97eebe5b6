"""Which of several failures the client hears, and what it hears where nothing was tried."""

from __future__ import annotations

import pytest

from adapters.failures import Failure
from gateway.health.vitals import Capacity
from gateway.resilience.closing import told_to_client
from tests.resilience.playbook import Clock, K, fails, gives_up, passes, play, tries, works
from tests.resilience.scenery import deployment

LADDER = [K.BAD_REQUEST, K.SERVER, K.AUTH, K.MODEL_MISSING, K.RATE_LIMIT, K.QUOTA]
"""What is told rather than all that follow it."""


@pytest.mark.parametrize("place", range(len(LADDER)))
def test_what_says_most_is_told_whenever_it_happened(place: int) -> None:
    failed = [(kind.value, Failure(kind, "m")) for kind in LADDER[place:]]
    for order in (failed, failed[::-1]):
        assert told_to_client(order, None)[0] == LADDER[place].value


@pytest.mark.parametrize("kind", [K.CONNECT, K.TIMEOUT, K.SERVER, K.OVERLOADED, K.MALFORMED, K.UNKNOWN])
def test_of_troubles_the_last_one_is_told(kind: K) -> None:
    failed = [("a", Failure(K.SERVER, "m")), ("b", Failure(kind, "m")), ("c", Failure(K.RATE_LIMIT, "m"))]
    assert told_to_client(failed, None)[0] == "b"


def test_of_the_requests_own_faults_the_first_one_is_told() -> None:
    failed = [("a", Failure(K.SERVER, "m")), ("b", Failure(K.BAD_REQUEST, "m")), ("c", Failure(K.CONTENT_FILTER, "m"))]
    assert told_to_client(failed, None)[0] == "b"


def test_the_client_hears_what_is_left_of_a_pause_and_not_how_long_it_was() -> None:
    told = play(deployment("a"), deployment("b"), max_wait_seconds=0) << tries("a")
    told = told >> fails(K.RATE_LIMIT, retry_after=30) << tries("b") >> fails(K.RATE_LIMIT, retry_after=60, after=10)
    _ = told << gives_up(K.RATE_LIMIT, "b", wait=20)


def test_no_wait_is_told_where_a_deployment_is_left_that_nobody_has_to_wait_for() -> None:
    told = play(*map(deployment, "abc"), attempts=2) << tries("a") >> fails(K.RATE_LIMIT, retry_after=50)
    _ = told << tries("b") >> fails(K.RATE_LIMIT, retry_after=60) << gives_up(K.RATE_LIMIT, "b", wait=0)


def test_trouble_is_told_without_a_wait_of_somebody_else() -> None:
    told = play(deployment("a"), deployment("b"), per_deployment=1, max_wait_seconds=0) << tries("a")
    told = told >> fails(K.RATE_LIMIT, retry_after=30) << tries("b") >> fails(K.SERVER)
    _ = told << gives_up(K.SERVER, "b", wait=0)


@pytest.mark.parametrize(
    ("limits", "name", "seconds"),
    [
        (Capacity(requests_per_minute=2), "requests_per_minute", 30),
        (Capacity(tokens_per_minute=200), "tokens_per_minute", 30),
        (Capacity(max_in_flight=2), "max_in_flight", 1),
    ],
)
def test_a_limit_of_the_file_is_told_by_its_name_and_with_its_wait(limits: Capacity, name: str, seconds: float) -> None:
    a, clock = deployment("a", limits=limits), Clock()
    for _ in range(2):
        _ = play(a, clock=clock, tokens=100) << tries("a")
    told = play(a, clock=clock, tokens=100, max_wait_seconds=0)
    _ = told << gives_up(K.RATE_LIMIT, "a", wait=seconds, says=f"limits.{name} is used up")


def test_the_reason_of_the_deployment_that_would_have_come_first_is_told() -> None:
    a, b, clock = deployment("a"), deployment("b"), Clock()
    told = play(a, b, clock=clock) << tries("a") >> fails(K.RATE_LIMIT, retry_after=60) << tries("b")
    _ = told >> fails(K.OVERLOADED, retry_after=30)
    _ = play(b, a, clock=clock) << gives_up(K.OVERLOADED, "b", wait=30, says="tried again in 30 s")
    _ = play(a, b, clock=clock) << gives_up(K.RATE_LIMIT, "a", wait=30) >> passes(30)
    _ = play(a, b, clock=clock) << tries("b") >> works
