"""Figures of several processes add up to those of one gateway."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from adapters.types import Usage
from gateway.domain import Outcome
from gateway.telemetry.figures import Figures, added, decode_figures, encode_figures, expose_figures, lasting
from gateway.telemetry.ledger import NO_LEDGER
from gateway.telemetry.metrics import Metrics


def served(count: int, wall: float = 1.0) -> list[Figures]:
    metrics = Metrics(wall=lambda: wall)
    metrics.set_names(models=["m"])
    for number in range(count):
        metrics.request_started()
        outcome = Outcome(request_id="r", started=0.0, operation="chat", model="m", status=200)
        outcome.usage = Usage(prompt=10, completion=number)
        outcome.ended = 0.1 * number
        metrics.request_ended(outcome)
    metrics.request_started()
    metrics.discovery_ended("openai", ok=True, models=7, seconds=1.0)
    return asyncio.run(metrics.gather_off_loop())


def samples(figures: list[Figures]) -> dict[str, float]:
    """Returns the sum of each sample over its labels, as a scraper reads it."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(expose_figures(figures, "").decode()):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


def test_counters_histograms_and_most_gauges_add_up() -> None:
    total = samples(added([served(3), served(5)]))
    assert total["anyport_requests_total"] == 8
    assert total["anyport_requests_in_flight"] == 2
    assert total["gen_ai_server_request_duration_seconds_count"] == 8
    assert total["anyport_discovery_runs_total"] == 2
    assert total["anyport_workers"] == 2


def test_of_times_and_lists_the_greatest_counts() -> None:
    total = samples(added([served(1, wall=5.0), served(1, wall=9.0)]))
    assert total["anyport_config_last_success_timestamp_seconds"] == 9.0
    assert total["anyport_discovery_models"] == 7
    assert total["anyport_build_info"] == 1


def test_a_process_that_is_gone_leaves_its_counters_and_no_gauges() -> None:
    total = samples(added([lasting(served(3)), served(5)]))
    assert total["anyport_requests_total"] == 8
    assert total["anyport_requests_in_flight"] == 1
    assert total["anyport_workers"] == 1


def test_another_process_gets_what_was_sent() -> None:
    figures = served(4)
    assert decode_figures(encode_figures(figures)) == figures


def test_one_process_shows_the_same_by_itself_and_through_another_one() -> None:
    metrics = Metrics(wall=lambda: 1.0)
    metrics.set_names(models=["m"])
    alone = [line for line in metrics.render().decode().splitlines() if "process_" not in line and "_info" not in line]
    figures = asyncio.run(metrics.gather_off_loop())
    through = expose_figures(figures, "").decode().splitlines()
    assert [line for line in through if "process_" not in line and "_info" not in line] == alone


def test_storage_is_up_if_it_is_for_all_and_trouble_is_there_if_anybody_has_it() -> None:
    def process(*, is_up: bool) -> list[Figures]:
        metrics = Metrics()
        known = replace(NO_LEDGER, pending_records=2, is_storage_up=is_up, is_refusing=not is_up)
        metrics.follow_ledger(lambda: known)
        return asyncio.run(metrics.gather_off_loop())

    total = samples(added([process(is_up=True), process(is_up=False), process(is_up=True)]))
    assert (total["anyport_storage_up"], total["anyport_ledger_refusing"]) == (0, 1)
    assert total["anyport_ledger_pending_records"] == 6
