"""Outcomes, and what a scrape says after them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families as parse_classic

from adapters.types import Usage
from gateway.domain import Attempt, Outcome
from gateway.telemetry.metrics import Metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def outcome(**changes: object) -> Outcome:
    """Returns a request that went well, with changes."""
    values: dict[str, object] = {
        "request_id": "req_1",
        "operation": "chat",
        "model": "fast",
        "provider": "openai",
        "deployment": "openai/gpt",
        "status": 200,
        "attempts": [Attempt(1, "openai/gpt", started=10.0, first_byte=10.3, ended=10.5, provider="openai")],
        "usage": Usage(prompt=100, completion=11, cached_prompt=64, cache_write=3, reasoning=5),
        "started": 10.0,
        "first_byte": 10.3,
        "upstream_seconds": 0.4998,
        "ended": 10.5,
    }
    values.update(changes)
    return Outcome(**values)  # type: ignore[arg-type]


def metrics() -> Metrics:
    """Returns metrics that know two models, two providers and two deployments."""
    made = Metrics(wall=lambda: 1234.0)
    made.set_names(
        models=["fast", "slow"],
        providers={"openai": "openai", "grok": "x_ai"},
        deployments=["openai/gpt", "spare"],
    )
    return made


def settle(target: Metrics, *outcomes: Outcome) -> None:
    """Counts requests that began and ended."""
    for one in outcomes:
        target.request_started()
        target.request_ended(one)


def samples(target: Metrics) -> Samples:
    """Returns all that a scrape says."""
    text = target.render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_classic(text)
        for sample in family.samples
    }


def value(target: Metrics, name: str, **labels: str) -> float | None:
    """Returns one number of a scrape, None if it is not there."""
    return samples(target).get((name, tuple(sorted(labels.items()))))


def label_sets(target: Metrics, name: str) -> list[dict[str, str]]:
    """Returns the labels that one sample has in a scrape."""
    return [labels for labels, _ in one_sample(target, name)]


def one_sample(target: Metrics, name: str) -> list[tuple[dict[str, str], float]]:
    """Parses the lines of one sample only: thousands of label sets take seconds otherwise."""
    lines = [line for line in target.render().decode().splitlines() if line.split("{")[0].split(" ")[0] == name]
    families = parse_classic("\n".join(lines) + "\n")
    return [(dict(sample.labels), sample.value) for family in families for sample in family.samples]


def total(target: Metrics, name: str) -> float:
    """Returns the sum of one sample over all its labels."""
    return sum(number for _, number in one_sample(target, name))
