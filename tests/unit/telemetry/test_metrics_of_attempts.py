"""What metrics tell of attempts: retries, second attempts, fallbacks, pauses."""

from __future__ import annotations

import pytest

from adapters.failures import Failure, FailureKind
from gateway.domain import Attempt
from gateway.telemetry.live import Resting
from gateway.telemetry.metrics import Metrics
from tests.unit.telemetry.scraped import (
    label_sets,
    metrics,
    one_sample,
    outcome,
    settle,
    total,
    value,
)

BUSY = Failure(FailureKind.OVERLOADED, "busy")


def tried(number: int, started: float, ended: float, failure: Failure | None = None, **more: object) -> Attempt:
    """Returns an attempt at the provider openai."""
    values = {"deployment": "openai/gpt", "provider": "openai", "first_byte": ended, **more}
    return Attempt(number, started=started, ended=ended, failure=failure, **values)  # type: ignore[arg-type]


def test_attempts_and_retries_are_counted_at_the_provider_that_was_tried() -> None:
    target = metrics()
    failed = Attempt(1, "grok/4", started=9.0, failure=BUSY, ended=9.5, provider="grok")
    won = Attempt(2, "openai/gpt", started=10.0, first_byte=10.3, ended=10.5, provider="openai")
    settle(target, outcome(attempts=[failed, won]))
    assert value(target, "anyport_upstream_attempts_total", provider="x_ai", outcome="overloaded") == 1
    assert value(target, "anyport_upstream_attempts_total", provider="openai", outcome="ok") == 1
    assert label_sets(target, "anyport_retries_total") == [{"provider": "x_ai", "reason": "overloaded"}]


def test_parts_of_one_call_are_attempts_but_no_retries() -> None:
    target = metrics()
    failed = tried(1, 10.0, 10.2, BUSY)
    other = tried(2, 10.0, 10.4, part=1)
    again = tried(3, 10.2, 10.5)
    settle(target, outcome(attempts=[failed, other, again]))
    assert value(target, "anyport_upstream_attempts_total", provider="openai", outcome="ok") == 2
    assert value(target, "anyport_upstream_attempts_total", provider="openai", outcome="overloaded") == 1
    assert value(target, "anyport_retries_total", provider="openai", reason="overloaded") == 1
    assert value(target, "anyport_retries_total", provider="openai", reason="ok") is None


def test_the_faster_of_two_attempts_wins_and_the_other_one_is_no_failure() -> None:
    target = metrics()
    slow = tried(1, 10.0, 10.4, is_lost=True)
    fast = tried(2, 10.2, 10.4, deployment="spare", is_hedge=True)
    settle(target, outcome(attempts=[slow, fast], deployment="spare"))
    assert label_sets(target, "anyport_hedges_total") == [{"route": "fast", "result": "won"}]
    assert label_sets(target, "anyport_retries_total") == []
    assert value(target, "anyport_upstream_attempts_total", provider="openai", outcome="lost") == 1
    assert value(target, "anyport_upstream_attempts_total", provider="openai", outcome="ok") == 1


def test_a_second_attempt_that_comes_too_late_has_lost() -> None:
    target = metrics()
    first = tried(1, 10.0, 10.4)
    late = tried(2, 10.2, 10.4, is_hedge=True, is_lost=True)
    settle(target, outcome(stream=True, attempts=[first, late], ended=15.0))
    assert label_sets(target, "anyport_hedges_total") == [{"route": "fast", "result": "lost"}]
    durations = dict(
        (labels["error_type"], seconds)
        for labels, seconds in one_sample(target, "gen_ai_client_operation_duration_seconds_sum")
    )
    assert durations == {"": pytest.approx(5.0), "lost": pytest.approx(0.2)}  # the winner is not the last one


@pytest.mark.parametrize(
    ("attempts", "status", "result"),
    [
        ([tried(1, 10.0, 10.4), tried(2, 10.2, 10.3, BUSY, is_hedge=True)], 200, "failed"),
        ([tried(1, 10.0, 10.3, BUSY), tried(2, 10.2, 10.4, BUSY, is_hedge=True)], 503, "failed"),
        ([tried(1, 10.0, 10.3, is_lost=True), tried(2, 10.2, 10.3, is_hedge=True, is_lost=True)], 499, "cancelled"),
        ([tried(1, 10.0, 10.3, is_lost=True), tried(2, 10.2, 10.3, BUSY, is_hedge=True)], 499, "failed"),
        # Its stream broke off after it had won.
        ([tried(1, 10.0, 10.3, is_lost=True), tried(2, 10.2, 10.3, BUSY, is_hedge=True)], 200, "won"),
    ],
)
def test_what_became_of_a_second_attempt(attempts: list[Attempt], status: int, result: str) -> None:
    target = metrics()
    settle(target, outcome(attempts=attempts, status=status))
    assert label_sets(target, "anyport_hedges_total") == [{"route": "fast", "result": result}]


def test_what_follows_two_failures_of_a_race_is_one_retry() -> None:
    target = metrics()
    race = [tried(1, 10.0, 10.3, BUSY), tried(2, 10.1, 10.4, BUSY, is_hedge=True)]
    settle(target, outcome(attempts=[*race, tried(3, 10.4, 10.5)]))
    assert total(target, "anyport_retries_total") == 1


def test_an_attempt_that_the_client_did_not_wait_for_is_cancelled() -> None:
    target = metrics()
    settle(target, outcome(attempts=[tried(1, 10.0, 10.4, is_lost=True)], status=499, is_cancelled=True))
    assert label_sets(target, "anyport_upstream_attempts_total") == [{"provider": "openai", "outcome": "cancelled"}]


def test_a_pause_between_attempts_is_measured_and_a_failover_at_once_is_none() -> None:
    target = metrics()
    attempts = [tried(1, 10.0, 10.1, BUSY), tried(2, 10.1002, 10.2, BUSY), tried(3, 11.2, 11.3)]
    settle(target, outcome(attempts=attempts, ended=11.3))
    labels = {"provider": "openai", "reason": "overloaded"}
    assert value(target, "anyport_retries_total", **labels) == 2
    assert value(target, "anyport_retry_pause_seconds_count", **labels) == 1
    assert value(target, "anyport_retry_pause_seconds_sum", **labels) == pytest.approx(1.0)


def test_a_fallback_is_counted_with_what_made_it_necessary() -> None:
    target = metrics()
    settle(target, outcome(fallback="quota"), outcome(model="made-up", fallback="quota"), outcome())
    assert value(target, "anyport_fallbacks_total", route="fast", reason="quota") == 1
    assert value(target, "anyport_fallbacks_total", route="other", reason="quota") == 1
    assert total(target, "anyport_fallbacks_total") == 2


def test_a_request_that_no_more_attempts_were_spent_on_is_counted() -> None:
    target = metrics()
    settle(target, outcome(is_over_budget=True, status=502), outcome())
    assert value(target, "anyport_retry_budget_exhausted_total", route="fast", provider="openai") == 1


def test_attempts_are_counted_by_the_deployments_of_the_file_alone() -> None:
    target = metrics()
    settle(target, outcome(), *(outcome(attempts=[tried(1, 10.0, 10.5, deployment=f"x/{n}")]) for n in range(2_000)))
    found = one_sample(target, "anyport_deployment_attempts_total")
    assert {(labels["deployment"], number) for labels, number in found} == {("openai/gpt", 1), ("other", 2_000)}
    assert len(target._attempt_shortcuts) == 1


def test_copies_are_counted_nowhere_but_in_their_own_family() -> None:
    target = metrics()
    copies = [outcome(), outcome(status=502, error_code="upstream_error"), outcome(status=0), outcome(model="nobody")]
    for copy in copies:
        target.mirrored(copy)
    results = {(labels["route"], labels["result"]) for labels in label_sets(target, "anyport_mirrored_requests_total")}
    assert results == {("fast", "ok"), ("fast", "failed"), ("fast", "cancelled"), ("other", "ok")}
    assert (total(target, "anyport_requests_total"), total(target, "anyport_upstream_attempts_total")) == (0, 0)


def test_a_stream_has_a_mean_time_between_its_pieces() -> None:
    target = metrics()
    settle(target, outcome(stream=True, chunks=5), outcome(stream=True, chunks=1), outcome(chunks=5))
    assert total(target, "gen_ai_client_operation_time_per_output_chunk_seconds_count") == 1
    assert total(target, "gen_ai_client_operation_time_per_output_chunk_seconds_sum") == pytest.approx(0.2 / 4)


def test_what_happens_to_keys_and_deployments_is_counted_under_names_of_the_file() -> None:
    target = metrics()
    target.cooled("grok", "key", "rate_limit")
    target.ejected("grok", "spare", "connect")
    target.ejected("grok", "made/up", "connect")
    target.readmitted("grok", "spare")
    assert value(target, "anyport_cool_downs_total", provider="x_ai", scope="key", reason="rate_limit") == 1
    assert value(target, "anyport_ejections_total", provider="x_ai", deployment="spare", reason="connect") == 1
    assert value(target, "anyport_ejections_total", provider="x_ai", deployment="other", reason="connect") == 1
    assert value(target, "anyport_readmissions_total", provider="x_ai", deployment="spare") == 1


def test_what_rests_is_asked_for_at_scrape_time_and_summed_by_label() -> None:
    ejected = [("openai", "openai/gpt"), ("openai", "made/up"), ("openai", "made/up-2")]
    target = Metrics(resting=lambda: Resting(ejected=ejected, keys=["openai", "openai", "nobody"]))
    target.set_names(models=[], deployments=["openai/gpt"])
    found = {(labels["deployment"], n) for labels, n in one_sample(target, "anyport_deployments_ejected")}
    assert found == {("openai/gpt", 1), ("other", 2)}
    assert value(target, "anyport_keys_resting", provider="openai") == 2
