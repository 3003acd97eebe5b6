"""What an attempt leaves behind in the live state of its deployment and key."""

from __future__ import annotations

import pytest

from adapters.failures import Failure, FailureKind
from gateway.health.vitals import Capacity
from gateway.resilience import consequences
from gateway.resilience.consequences import Running, Turn
from gateway.routing.deployment import Deployment
from tests.resilience.scenery import deployment


def begin(deployment: Deployment, now: float, *, tokens: int = 0) -> Running:
    return consequences.begin(deployment, deployment.key_ring.keys[0], now, is_first=True, charged=None, tokens=tokens)


def test_an_attempt_at_work_is_counted_at_its_deployment_and_its_key() -> None:
    a = deployment("a")
    one, two = begin(a, 0), begin(a, 0)
    assert (a.vitals.in_flight, a.key_ring.keys[0].state.in_flight, a.key_ring.keys[0].state.uses) == (2, 2, 2)
    consequences.end(one, 1)
    consequences.end(two, 1)
    assert (a.vitals.in_flight, a.key_ring.keys[0].state.in_flight, a.key_ring.keys[0].state.uses) == (0, 0, 2)


def test_the_time_to_the_first_content_is_what_counts_as_its_speed() -> None:
    a = deployment("a")
    running = begin(a, 100.0)
    assert consequences.begin_well(running, 100.7) == ()
    consequences.end_well(running, 130.0)
    consequences.end(running, 130.0)
    assert a.vitals.latency.seconds == pytest.approx(0.7)


@pytest.mark.parametrize(("spent", "left"), [(None, 300), (900, 100), (100, 900)])
def test_estimated_tokens_are_corrected_by_what_was_spent(spent: int | None, left: int) -> None:
    a = deployment("a", limits=Capacity(tokens_per_minute=1000))
    running = begin(a, 0, tokens=700)
    running.spent = spent
    consequences.end(running, 0)
    assert a.vitals.wait(0, left) == 0
    assert a.vitals.wait(0, left + 10) == pytest.approx(0.6)


def test_one_request_takes_no_more_than_a_minutes_tokens_whatever_it_wants() -> None:
    a = deployment("a", limits=Capacity(tokens_per_minute=1000))
    running = begin(a, 0, tokens=999_999_999)
    consequences.end(running, 0)
    assert a.vitals.wait(0, 1000) == pytest.approx(60)


@pytest.mark.parametrize(
    ("failure", "left"),
    [
        (Failure(FailureKind.BAD_REQUEST, "m", status=400), 1000),
        (Failure(FailureKind.RATE_LIMIT, "m", status=429), 1000),
        (Failure(FailureKind.CONNECT, "m", is_unsent=True), 1000),
        (Failure(FailureKind.SERVER, "m", status=500), 300),
        (Failure(FailureKind.TIMEOUT, "m"), 300),
    ],
)
def test_what_was_refused_costs_no_tokens(failure: Failure, left: int) -> None:
    a = deployment("a", limits=Capacity(tokens_per_minute=1000))
    running = begin(a, 0, tokens=700)
    consequences.fail(running, failure, 0)
    consequences.end(running, 0)
    assert a.vitals.wait(0, left) == 0
    assert (a.vitals.wait(0, left + 10) > 0) is (left < 1000)


@pytest.mark.parametrize(
    ("kind", "status"), [(FailureKind.RATE_LIMIT, 429), (FailureKind.OVERLOADED, 503)], ids=["key", "deployment"]
)
def test_attempts_that_are_refused_together_lead_to_one_pause_and_not_to_a_long_one(
    kind: FailureKind, status: int
) -> None:
    a = deployment("a")
    refusal = Failure(kind, "m", status=status)
    together = [begin(a, 0) for _ in range(20)]
    pauses = [consequences.fail(each, refusal, 1)[0].seconds for each in together]
    assert set(pauses) == {1.0}
    assert consequences.fail(begin(a, 2), refusal, 3)[0].seconds == 2.0


def test_a_stream_that_breaks_off_has_not_ended_well() -> None:
    a = deployment("a")
    for _ in range(5):
        running = begin(a, 0)
        consequences.begin_well(running, 0)
        events = consequences.fail(running, Failure(FailureKind.SERVER, "broke off"), 0)
        consequences.end(running, 0)
    assert [event.turn for event in events] == [Turn.EJECTED]
    assert a.vitals.counts.failures == 5


def test_an_attempt_that_began_with_the_ejection_may_end_it() -> None:
    a = deployment("a")
    for _ in range(5):
        running = begin(a, 0)
        consequences.fail(running, Failure(FailureKind.SERVER, "boom"), 0)
        consequences.end(running, 0)
    again = begin(a, 0)
    assert [event.turn for event in consequences.begin_well(again, 0.5)] == [Turn.READMITTED]
    assert a.vitals.obstacle(0.5) is None


def test_an_event_says_what_rests_for_how_long_and_who_asked() -> None:
    a = deployment("a")
    running = begin(a, 0)
    told = consequences.fail(running, Failure(FailureKind.RATE_LIMIT, "m", status=429, retry_after=7), 0)
    guessed = consequences.fail(running, Failure(FailureKind.AUTH, "m", status=401), 0)
    slow = consequences.fail(running, Failure(FailureKind.OVERLOADED, "m", status=503, retry_after=3), 0)
    consequences.end(running, 0)
    key = a.key_ring.keys[0]
    assert [(event.turn, event.seconds, event.is_told, event.state) for event in (*told, *guessed, *slow)] == [
        (Turn.KEY_COOLED, 7, True, key.state),
        (Turn.KEY_COOLED, 600, False, key.account),
        (Turn.DEPLOYMENT_COOLED, 3, True, None),
    ]
    assert [event.reason for event in (*told, *guessed, *slow)] == ["rate_limit", "auth", "overloaded"]


def test_the_end_of_patience_with_a_whole_request_is_nobodys_fault() -> None:
    a = deployment("a")
    running = begin(a, 0)
    assert consequences.fail(running, Failure(FailureKind.TIMEOUT, "m", is_impatience=True), 60) == []
    consequences.end(running, 60)
    assert (a.vitals.consecutive, a.vitals.counts.failures) == (0, 0)


@pytest.mark.parametrize(("is_chat", "rests"), [(True, True), (False, False)])
def test_a_model_that_has_no_embeddings_is_not_missing(is_chat: bool, rests: bool) -> None:
    a = deployment("a")
    running = consequences.begin(a, a.key_ring.keys[0], 0, is_first=True, charged=None, is_chat=is_chat)
    events = consequences.fail(running, Failure(FailureKind.MODEL_MISSING, "m", status=404), 1)
    assert [event.turn for event in events] == ([Turn.DEPLOYMENT_COOLED] if rests else [])
