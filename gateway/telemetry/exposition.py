"""From counts to Prometheus text: sums them into the narrower families; prometheus_client formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway.telemetry import families
from gateway.telemetry.counts import (
    OK,
    AttemptCounts,
    AttemptLabels,
    DiscoveryCounts,
    RequestCounts,
    RequestLabels,
)
from gateway.telemetry.families import Family
from gateway.telemetry.figures import Figures, figures_of
from gateway.telemetry.ledger import NO_LEDGER, LedgerFigures
from gateway.telemetry.live import LiveCounts, Resting
from gateway.telemetry.series import Histogram

_OPERATION_NAMES: Final[Mapping[str, str]] = {"completions": "text_completion"}
"""Where `gen_ai.operation.name` has another word for our operation."""

Labelled = tuple[tuple[str, ...], float]
Histograms = Iterable[tuple[tuple[str, ...], Histogram]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a scrape is made of; the counts inside may go on growing while it is read."""

    requests: list[tuple[RequestLabels, RequestCounts]]
    attempts: list[tuple[AttemptLabels, AttemptCounts]]
    discovery: list[tuple[str, DiscoveryCounts]]
    live: LiveCounts
    resting: Resting
    in_flight: int
    connections: Mapping[tuple[str, str], int]
    access_records_dropped: int
    ledger: LedgerFigures | None
    limits_trouble: str
    reloads: Mapping[str, int]
    configured_at: float
    stalls: int
    stalled_seconds: float
    build: Mapping[str, str]


def expose(snapshot: Snapshot, accept: str) -> bytes:
    """Returns OpenMetrics text if `accept` asks for it, else the classic text format."""
    encode, _ = choose_encoder(accept)
    return encode(_registry(snapshot))


def gather(snapshot: Snapshot) -> list[Figures]:
    """Returns the same as figures that can be added to those of other processes."""
    return figures_of(_registry(snapshot).collect())


def _registry(snapshot: Snapshot) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SnapshotCollector(snapshot))
    ProcessCollector(registry=registry)
    return registry


def content_type(accept: str) -> str:
    """Returns the Content-Type that belongs to `expose(..., accept)`."""
    return choose_encoder(accept)[1]


class _SnapshotCollector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        yield from _request_families(snapshot.requests)
        yield from _attempt_families(snapshot.attempts)
        yield from _live_families(snapshot.live)
        yield _gauge(families.LIMITS_TROUBLE, [((), int(bool(snapshot.limits_trouble)))])
        yield from _ledger_families(snapshot.ledger)
        yield _gauge(families.EJECTED, Counter(snapshot.resting.ejected).items())
        yield _gauge(families.RESTING, Counter((provider,) for provider in snapshot.resting.keys).items())
        yield from _discovery_families(snapshot.discovery)
        yield _gauge(families.IN_FLIGHT, [((), snapshot.in_flight)])
        yield _gauge(families.CONNECTIONS, snapshot.connections.items())
        yield _counter(families.RECORDS_DROPPED, [((), snapshot.access_records_dropped)])
        yield _counter(families.RELOADS, (((result,), count) for result, count in snapshot.reloads.items()))
        yield _gauge(families.CONFIGURED, [((), snapshot.configured_at)])
        yield _counter(families.STALLS, [((), snapshot.stalls)])
        yield _counter(families.STALLED, [((), snapshot.stalled_seconds)])
        yield _gauge(families.WORKERS, [((), 1)])
        yield _counter(families.WORKER_RESTARTS, [((), 0)])
        yield _info(families.BUILD, snapshot.build)


def _request_families(requests: list[tuple[RequestLabels, RequestCounts]]) -> Iterator[Metric]:
    def histograms(pick: Callable[[RequestCounts], Histogram], *, by_error: bool = False) -> Histograms:
        for labels, counts in requests:
            yield (*_gen_ai(labels), labels[5]) if by_error else _gen_ai(labels), pick(counts)

    def tokens() -> Histograms:
        for labels, counts in requests:
            yield (*_gen_ai(labels), "input"), counts.input_tokens
            yield (*_gen_ai(labels), "output"), counts.output_tokens

    def kinds(labels: RequestLabels) -> tuple[str, str]:
        return labels[2], _flag(labels[3])

    yield _histogram(families.TOKEN_USAGE, tokens())
    yield _histogram(families.SERVER_DURATION, histograms(lambda counts: counts.duration, by_error=True))
    yield _histogram(families.SERVER_FIRST_TOKEN, histograms(lambda counts: counts.first_token))
    yield _histogram(families.SERVER_OUTPUT_TOKEN, histograms(lambda counts: counts.output_token))
    yield _histogram(families.CLIENT_CHUNK, histograms(lambda counts: counts.chunk))
    yield _histogram(families.OVERHEAD, ((kinds(labels), counts.overhead) for labels, counts in requests))
    yield _counter(
        families.REQUESTS,
        (
            ((route, provider, operation, status, code, _flag(stream)), counts.requests)
            for (route, provider, operation, stream, status, code), counts in requests
        ),
    )
    yield _counter(families.TOKENS, _tokens(requests))
    yield _counter(families.ESTIMATED_TOKENS, _estimated_tokens(requests))
    yield _counter(families.COST, (((labels[0], labels[1]), counts.cost_nano_usd) for labels, counts in requests))
    yield _counter(families.DISCONNECTS, ((kinds(labels), counts.disconnects) for labels, counts in requests))


def _tokens(requests: list[tuple[RequestLabels, RequestCounts]]) -> Iterator[Labelled]:
    for (route, provider, *_), counts in requests:
        yield (route, provider, "input"), counts.input_tokens.sum
        yield (route, provider, "output"), counts.output_tokens.sum
        yield (route, provider, "cache_read"), counts.cache_read
        yield (route, provider, "cache_write"), counts.cache_write
        yield (route, provider, "reasoning"), counts.reasoning


def _estimated_tokens(requests: list[tuple[RequestLabels, RequestCounts]]) -> Iterator[Labelled]:
    for (route, provider, *_), counts in requests:
        yield (route, provider, "input"), counts.estimated_input
        yield (route, provider, "output"), counts.estimated_output


def _attempt_families(attempts: list[tuple[AttemptLabels, AttemptCounts]]) -> Iterator[Metric]:
    def by_error() -> Histograms:
        for (route, provider, operation, kind), counts in attempts:
            yield (_operation(operation), provider, route, "" if kind == OK else kind), counts.duration

    def first_chunks() -> Histograms:
        for (route, provider, operation, _), counts in attempts:
            yield (_operation(operation), provider, route), counts.first_chunk

    yield _histogram(families.CLIENT_DURATION, by_error())
    yield _histogram(families.CLIENT_FIRST_CHUNK, first_chunks())
    yield _counter(families.ATTEMPTS, (((labels[1], labels[3]), counts.attempts) for labels, counts in attempts))
    yield _counter(families.RETRIES, (((labels[1], labels[3]), counts.retried) for labels, counts in attempts))
    yield _histogram(families.PAUSES, (((labels[1], labels[3]), counts.pause) for labels, counts in attempts))


def _live_families(live: LiveCounts) -> Iterator[Metric]:
    yield _counter(families.DEPLOYMENT_ATTEMPTS, live.deployment_attempts.snapshot())
    yield _counter(families.OVER_BUDGET, live.over_budget.snapshot())
    yield _counter(families.FALLBACKS, live.fallbacks.snapshot())
    yield _counter(families.HEDGES, live.hedges.snapshot())
    yield _counter(families.MIRRORED, live.mirrored.snapshot())
    yield _counter(families.COOL_DOWNS, live.cool_downs.snapshot())
    yield _counter(families.EJECTIONS, live.ejections.snapshot())
    yield _counter(families.READMISSIONS, live.readmissions.snapshot())
    yield _counter(families.UNPRICED, live.unpriced.snapshot())
    yield _counter(families.REFUSED, live.refused.snapshot())
    yield _counter(families.BATCH_LINES, live.batch_lines.snapshot())
    yield _gauge(families.BATCH_LINES_IN_FLIGHT, [((), live.batch_lines_running)])
    yield _counter(families.BATCHES, live.batches.snapshot())
    yield _gauge(families.CONSIGNMENTS, live.consignments.items())
    yield _gauge(families.CONSIGNED, live.consigned_since.items())
    yield _counter(families.HOOK_FAILURES, live.hook_failures.snapshot())


def _ledger_families(ledger: LedgerFigures | None) -> Iterator[Metric]:
    def of(*values: Labelled) -> Iterable[Labelled]:
        return values if ledger is not None else ()

    known = ledger or NO_LEDGER
    results = (("written",), known.written_records), (("rejected",), known.rejected_records)
    yield _counter(families.LEDGER_RECORDS, of(*results, (("lost",), known.lost_records)))
    pending = (("journal",), known.pending_records), (("memory",), known.held_records)
    yield _gauge(families.LEDGER_PENDING, of(*pending))
    yield _gauge(families.LEDGER_BYTES, of(((), known.pending_bytes)))
    yield _gauge(families.LEDGER_OLDEST, of(((), known.oldest_seconds)))
    yield _gauge(families.LEDGER_TAKEN, () if known.taken_at is None else of(((), known.taken_at)))
    yield _gauge(families.LEDGER_REFUSING, of(((), int(known.is_refusing))))
    yield _gauge(families.STORAGE_UP, of(((), int(known.is_storage_up))))


def _discovery_families(discovery: list[tuple[str, DiscoveryCounts]]) -> Iterator[Metric]:
    runs = [((name, "ok"), counts.succeeded) for name, counts in discovery]
    runs += [((name, "failed"), counts.failed) for name, counts in discovery]
    seen = [(name, counts) for name, counts in discovery if counts.succeeded]
    yield _counter(families.DISCOVERY_RUNS, runs)
    yield _counter(families.DISCOVERY_SECONDS, (((name,), counts.seconds) for name, counts in discovery))
    yield _gauge(families.DISCOVERY_MODELS, (((name,), counts.models) for name, counts in seen))
    yield _gauge(families.DISCOVERY_SUCCESS, (((name,), counts.last_success) for name, counts in seen))


def _counter(family: Family, values: Iterable[Labelled]) -> Metric:
    sums: dict[tuple[str, ...], float] = {}
    for labels, value in values:
        sums[labels] = sums.get(labels, 0) + value
    metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in sums.items():
        # A family without labels is always there; of the others only what has happened.
        if value or not labels:
            metric.add_metric(labels, value)
    return metric


def _gauge(family: Family, values: Iterable[Labelled]) -> Metric:
    metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in values:
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, values: Histograms) -> Metric:
    sums: dict[tuple[str, ...], Histogram] = {}
    for labels, histogram in values:
        if histogram.is_empty:
            continue
        if labels not in sums:
            sums[labels] = histogram.zero()
        sums[labels].add(histogram)
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, histogram in sums.items():
        metric.add_metric(labels, histogram.buckets(), histogram.sum)
    return metric


def _info(family: Family, values: Mapping[str, str]) -> Metric:
    return InfoMetricFamily(family.name.removesuffix("_info"), family.help, value=dict(values))


def _gen_ai(labels: RequestLabels) -> tuple[str, str, str]:
    return _operation(labels[2]), labels[1], labels[0]


def _operation(operation: str) -> str:
    return _OPERATION_NAMES.get(operation, operation)


def _flag(value: bool) -> str:
    return "true" if value else "false"
