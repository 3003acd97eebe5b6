from __future__ import annotations

import asyncio
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_classic

from adapters.failures import Failure, FailureKind
from adapters.types import Usage
from gateway.domain import Attempt, Outcome
from gateway.telemetry.families import FAMILIES
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.series import MAX_SERIES, Histogram

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def outcome(**changes: object) -> Outcome:
    values: dict[str, object] = {
        "request_id": "req_1",
        "operation": "chat",
        "model": "fast",
        "provider": "openai",
        "deployment": "openai/gpt",
        "status": 200,
        "attempts": [Attempt(1, "openai/gpt", started=10.0, first_byte=10.3, ended=10.5)],
        "usage": Usage(prompt=100, completion=11, cached_prompt=64, cache_write=3, reasoning=5),
        "started": 10.0,
        "first_byte": 10.3,
        "upstream_seconds": 0.4998,
        "ended": 10.5,
    }
    values.update(changes)
    return Outcome(**values)  # type: ignore[arg-type]


def metrics() -> Metrics:
    made = Metrics(wall=lambda: 1234.0)
    made.set_names(
        models=["fast", "slow"],
        providers={"openai": "openai", "grok": "x_ai"},
    )
    return made


def settle(target: Metrics, *outcomes: Outcome) -> None:
    for one in outcomes:
        target.request_started()
        target.request_ended(one)


def samples(target: Metrics) -> Samples:
    text = target.render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_classic(text)
        for sample in family.samples
    }


def value(target: Metrics, name: str, **labels: str) -> float | None:
    return samples(target).get((name, tuple(sorted(labels.items()))))


def label_sets(target: Metrics, name: str) -> list[dict[str, str]]:
    return [labels for labels, _ in one_sample(target, name)]


def one_sample(target: Metrics, name: str) -> list[tuple[dict[str, str], float]]:
    """Parses the lines of one sample only: thousands of label sets take seconds otherwise."""
    lines = [line for line in target.render().decode().splitlines() if line.split("{")[0].split(" ")[0] == name]
    families = parse_classic("\n".join(lines) + "\n")
    return [(dict(sample.labels), sample.value) for family in families for sample in family.samples]


def total(target: Metrics, name: str) -> float:
    return sum(number for _, number in one_sample(target, name))


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
    settled = Attempt(1, "openai/gpt", started=10.0, first_byte=10.2, ended=10.25)
    settle(target, outcome(stream=True, attempts=[settled], upstream_seconds=0.25, first_byte=10.2502, ended=15.0))
    assert value(target, "anyport_overhead_seconds_sum", operation="chat", stream="true") == pytest.approx(0.0002)
    ((_, duration),) = one_sample(target, "gen_ai_client_operation_duration_seconds_sum")
    assert duration == pytest.approx(5.0)


def test_attempts_and_retries_are_counted_at_the_provider_that_was_tried() -> None:
    target = metrics()
    failed = Attempt(1, "grok/4", started=9.0, failure=Failure(FailureKind.OVERLOADED, "busy"), ended=9.5)
    won = Attempt(2, "openai/gpt", started=10.0, first_byte=10.3, ended=10.5)
    settle(target, outcome(attempts=[failed, won]))
    assert value(target, "anyport_upstream_attempts_total", provider="x_ai", outcome="overloaded") == 1
    assert value(target, "anyport_upstream_attempts_total", provider="openai", outcome="ok") == 1
    assert label_sets(target, "anyport_retries_total") == [{"provider": "x_ai", "reason": "overloaded"}]


def test_parts_of_one_call_are_attempts_but_no_retries() -> None:
    target = metrics()
    busy = Failure(FailureKind.OVERLOADED, "busy")
    failed = Attempt(1, "openai/gpt", started=10.0, failure=busy, ended=10.2, part=0)
    other = Attempt(2, "openai/gpt", started=10.0, first_byte=10.1, ended=10.4, part=1)
    again = Attempt(3, "openai/gpt", started=10.2, first_byte=10.3, ended=10.5, part=0)
    settle(target, outcome(attempts=[failed, other, again]))
    assert value(target, "anyport_upstream_attempts_total", provider="openai", outcome="ok") == 2
    assert value(target, "anyport_upstream_attempts_total", provider="openai", outcome="overloaded") == 1
    assert value(target, "anyport_retries_total", provider="openai", reason="overloaded") == 1
    assert value(target, "anyport_retries_total", provider="openai", reason="ok") is None


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
