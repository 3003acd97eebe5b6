"""None"""

from __future__ import annotations

import asyncio
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_classic

from adapters.types import Usage
from gateway.domain import Attempt
from gateway.telemetry.families import FAMILIES
from gateway.telemetry.ledger import LedgerFigures
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.series import MAX_SERIES, Histogram, Tallies
from tests.unit.telemetry.scraped import (
    label_sets,
    metrics,
    one_sample,
    outcome,
    samples,
    settle,
    total,
    value,
)

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def test_a_finished_request_is_counted_by_route_provider_status_and_code() -> None:
    target = metrics()
    settle(target, outcome(), outcome(), outcome(status=429, error_code="rate_limit_exceeded", usage=None))
    common = {"route": "fast", "provider": "openai", "operation": "chat", "stream": "false"}
    assert value(target, "anyport_requests_total", **common, status="2xx", code="") == 2
    assert value(target, "anyport_requests_total", **common, status="4xx", code="rate_limit_exceeded") == 1


def test_requests_in_flight_rise_and_fall() -> None:
    target = metrics()
    target.request_started()
    target.request_started()
    target.request_ended(outcome())
    assert target.in_flight == 1
    assert value(target, "anyport_requests_in_flight") == 1


def test_tokens_are_counted_by_type_and_as_a_histogram() -> None:
    target = metrics()
    settle(target, outcome(), outcome(usage=None))
    for kind, count in {
        "input": 100,
        "output": 11,
        "cache_read": 64,
        "cache_write": 3,
        "reasoning": 5,
    }.items():
        assert value(target, "anyport_tokens_total", route="fast", provider="openai", type=kind) == count
    labels = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": "fast",
        "gen_ai_token_type": "input",
    }
    assert value(target, "gen_ai_client_token_usage_count", **labels) == 1
    assert value(target, "gen_ai_client_token_usage_bucket", **labels, le="64.0") == 0
    assert value(target, "gen_ai_client_token_usage_bucket", **labels, le="256.0") == 1


def test_streams_have_times_to_first_token_and_per_output_token() -> None:
    target = metrics()
    settle(target, outcome(stream=True), outcome(stream=False))
    labels = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": "fast",
    }
    assert value(target, "gen_ai_server_time_to_first_token_seconds_count", **labels) == 1
    assert value(target, "gen_ai_client_operation_time_to_first_chunk_seconds_count", **labels) == 1
    mean = value(target, "gen_ai_server_time_per_output_token_seconds_sum", **labels)
    assert mean == pytest.approx(0.2 / 10)


def test_overhead_is_what_the_upstream_did_not_take() -> None:
    target = metrics()
    settle(target, outcome())
    labels = {"operation": "chat", "stream": "false"}
    assert value(target, "anyport_overhead_seconds_sum", **labels) == pytest.approx(0.0002)
    assert value(target, "anyport_overhead_seconds_bucket", **labels, le="0.0003") == 1


def test_a_stream_has_overhead_up_to_its_first_byte_and_its_attempt_lasts_to_the_end() -> None:
    target = metrics()
    settled = Attempt(1, "openai/gpt", started=10.0, first_byte=10.2, ended=10.25, provider="openai")
    settle(target, outcome(stream=True, attempts=[settled], upstream_seconds=0.25, first_byte=10.2502, ended=15.0))
    assert value(target, "anyport_overhead_seconds_sum", operation="chat", stream="true") == pytest.approx(0.0002)
    ((_, duration),) = one_sample(target, "gen_ai_client_operation_duration_seconds_sum")
    assert duration == pytest.approx(5.0)


def test_numbers_past_the_cap_are_other() -> None:
    numbers = Tallies(limit=2)
    for name in ("a", "b", "c", "d", "a"):
        numbers.add(name, "x")
    assert dict(numbers.snapshot()) == {("a", "x"): 2, ("b", "x"): 1, ("other", "other"): 2}


def test_a_request_refused_before_any_attempt_has_no_provider() -> None:
    target = metrics()
    settle(
        target,
        outcome(provider="", deployment="", attempts=[], usage=None, status=404, error_code="model_not_found"),
    )
    assert label_sets(target, "anyport_requests_total")[0]["provider"] == "none"
    assert label_sets(target, "anyport_upstream_attempts_total") == []


def test_a_client_that_left_is_counted() -> None:
    target = metrics()
    settle(target, outcome(is_cancelled=True, status=0))
    assert value(target, "anyport_client_disconnects_total", operation="chat", stream="false") == 1
    assert label_sets(target, "anyport_requests_total")[0]["status"] == "none"


def test_a_flood_of_unknown_models_is_one_label() -> None:
    target = metrics()
    settle(target, *(outcome(model=f"nonsense-{number}") for number in range(5_000)))
    assert [labels["route"] for labels in label_sets(target, "anyport_requests_total")] == ["other"]
    assert len(target._request_shortcuts) == len(target._attempt_shortcuts) == 1  # nor is a name kept in memory


@pytest.mark.parametrize("field", ["provider", "error_code", "operation"])
def test_a_flood_of_any_other_value_stays_under_the_cap(field: str) -> None:
    target = metrics()
    for number in range(3_000):
        settle(target, outcome(**{field: f"value-{number}", "status": 400, "usage": None}))
    assert len(label_sets(target, "anyport_requests_total")) <= MAX_SERIES
    assert total(target, "anyport_requests_total") == 3_000


def test_more_routes_than_the_cap_fall_into_other() -> None:
    target = metrics()
    names = [f"route-{number}" for number in range(MAX_SERIES + 500)]
    target.set_names(models=names)
    settle(target, *(outcome(model=name, usage=None, attempts=[]) for name in names))
    found = label_sets(target, "anyport_requests_total")
    assert len(found) <= MAX_SERIES
    assert {"other", "route-0"} <= {labels["route"] for labels in found}
    assert total(target, "anyport_requests_total") == len(names)


def test_values_that_would_break_the_text_are_not_labels() -> None:
    target = metrics()
    settle(target, outcome(error_code='x"} 1\nevil 2', status=400), outcome(error_code="y" * 300, status=400))
    codes = [labels["code"] for labels in label_sets(target, "anyport_requests_total")]
    assert codes == ["other"]


def test_completions_have_the_conventions_operation_name() -> None:
    target = metrics()
    settle(target, outcome(operation="completions"))
    found = label_sets(target, "gen_ai_server_request_duration_seconds_count")
    assert [labels["gen_ai_operation_name"] for labels in found] == ["text_completion"]


def test_discovery_is_counted_and_keeps_its_last_success() -> None:
    target = metrics()
    target.discovery_ended("ollama", ok=True, models=7, seconds=0.25)
    target.discovery_ended("ollama", ok=False, models=0, seconds=0.5)
    assert value(target, "anyport_discovery_runs_total", provider="ollama", result="ok") == 1
    assert value(target, "anyport_discovery_runs_total", provider="ollama", result="failed") == 1
    assert value(target, "anyport_discovery_models", provider="ollama") == 7
    assert value(target, "anyport_discovery_last_success_timestamp_seconds", provider="ollama") == 1234.0
    assert value(target, "anyport_discovery_seconds_total", provider="ollama") == 0.75


def test_callbacks_are_asked_at_scrape_time() -> None:
    target = Metrics(connections=lambda: {("openai", "idle"): 3}, access_records_dropped=lambda: 12)
    assert value(target, "anyport_upstream_connections", provider="openai", state="idle") == 3
    assert value(target, "anyport_access_records_dropped_total") == 12


def test_money_is_counted_and_an_unknown_price_apart_from_it() -> None:
    target = metrics()
    settle(target, outcome(cost_nano_usd=1_500), outcome(cost_nano_usd=2), outcome(cost_nano_usd=None))
    settle(target, outcome(cost_nano_usd=None, model="made-up", deployment="openai/made-up"))
    assert value(target, "anyport_cost_nano_usd_total", route="fast", provider="openai") == 1_502
    assert one_sample(target, "anyport_unpriced_requests_total") == [
        ({"route": "fast", "provider": "openai", "deployment": "openai/gpt"}, 1),
        ({"route": "other", "provider": "openai", "deployment": "other"}, 1),
    ]


def test_estimated_tokens_are_tokens_and_counted_as_estimated_too() -> None:
    target = metrics()
    settle(target, outcome(), outcome(usage=Usage(prompt=7, completion=2, estimated=True)))
    assert value(target, "anyport_tokens_total", route="fast", provider="openai", type="input") == 107
    assert one_sample(target, "anyport_estimated_tokens_total") == [
        ({"route": "fast", "provider": "openai", "type": "input"}, 7),
        ({"route": "fast", "provider": "openai", "type": "output"}, 2),
    ]


def test_refused_admissions_are_counted_by_kind_and_their_trouble_is_asked_for() -> None:
    target = metrics()
    troubles = ["", "redis is away"]
    target.follow_limits(lambda: troubles[0])
    for kind in ("requests", "budget", "budget"):
        target.admission_refused(kind)
    assert value(target, "anyport_admissions_refused_total", kind="budget") == 2
    assert value(target, "anyport_limits_trouble") == 0
    troubles.reverse()
    assert value(target, "anyport_limits_trouble") == 1


def test_the_ledger_is_asked_at_scrape_time_and_absent_where_nothing_is_recorded() -> None:
    target = metrics()
    target.follow_ledger(lambda: None)
    assert value(target, "anyport_storage_up") is None
    known = LedgerFigures(3, 900, 1, 2.5, 70, 4, 0, 1_000.0, is_storage_up=False, is_refusing=True)
    target.follow_ledger(lambda: known)
    found = {name: number for (name, _), number in samples(target).items() if "ledger" in name or "storage" in name}
    assert found["anyport_storage_up"] == 0
    assert found["anyport_ledger_refusing"] == 1
    assert (found["anyport_ledger_journal_bytes"], found["anyport_ledger_oldest_pending_seconds"]) == (900, 2.5)
    assert found["anyport_ledger_last_success_timestamp_seconds"] == 1_000
    assert value(target, "anyport_ledger_pending_records", place="memory") == 1
    assert value(target, "anyport_ledger_records_total", result="rejected") == 4


def test_both_text_formats_parse_and_are_named_in_the_content_type() -> None:
    target = metrics()
    settle(target, outcome(stream=True), outcome(status=502, error_code="upstream_error", is_cancelled=True))
    classic = {family.name for family in parse_classic(target.render("text/plain").decode())}
    text = target.render(OPENMETRICS).decode()
    modern = {family.name for family in parse_openmetrics(text)}
    assert text.endswith("# EOF\n")
    assert "gen_ai_server_request_duration_seconds" in classic & modern
    assert target.content_type(OPENMETRICS).startswith("application/openmetrics-text")
    assert target.content_type("").startswith("text/plain")


def test_every_family_of_the_table_is_in_a_scrape_and_nothing_else_of_ours() -> None:
    text = metrics().render().decode()
    exposed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    ours = {name for name in exposed if not name.startswith("process_")}
    assert ours == {family.name for family in FAMILIES}


async def test_rendering_off_the_loop_runs_beside_counting() -> None:
    target = metrics()
    threads: set[int] = set()
    target._connections = lambda: threads.add(threading.get_ident()) or {}
    rendering = asyncio.create_task(target.render_off_loop())
    while not rendering.done():
        settle(target, outcome(status=200 + target._requests._limit % 7))
        await asyncio.sleep(0)
    assert b"anyport_requests_in_flight" in await rendering
    assert threads == {threading.get_ident()}  # callbacks belong to the loop's thread


def test_a_histogram_counts_its_bounds_inclusively_and_never_lowers_its_sum() -> None:
    histogram = Histogram((1.0, 2.5))
    for number in (-0.001, 1.0, 2.0, 3.0):
        histogram.observe(number)
    assert histogram.buckets() == [("1.0", 2), ("2.5", 3), ("+Inf", 4)]
    assert histogram.sum == 6.0
