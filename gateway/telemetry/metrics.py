"""Metrics of the data plane: cheap counting per request, everything else at scrape time.

Every finished request falls into one `RequestCounts`, keyed by the widest label set; narrower families are
sums over these, made while scraping. Labels are bounded: a model is a configured public name or `other`, and
past `MAX_SERIES` label sets (not counting a fixed `type` label) everything new is `other`.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import gateway
from gateway.domain import Attempt, Outcome
from gateway.telemetry.counts import (
    OK,
    AttemptCounts,
    AttemptLabels,
    DiscoveryCounts,
    RequestCounts,
    RequestLabels,
)
from gateway.telemetry.exposition import Snapshot, content_type, expose
from gateway.telemetry.series import MAX_SERIES, OTHER, Bounded, Labels

Connections = Callable[[], Mapping[tuple[str, str], int]]
"""Returns open upstream connections by (provider, state)."""

_RESERVED: Final = 100
"""Label sets kept back for `other`: 8 operations x 2 x 6 status classes."""
_MAX_OPERATIONS: Final = 8
_MAX_PROVIDERS: Final = 500
_MAX_CODES: Final = 100
_MAX_SHORTCUTS: Final = 4 * MAX_SERIES
_NO_PROVIDER: Final = "none"

_RawRequest = tuple[str, str, str, bool, int, str | None]
_RawAttempt = tuple[str, str, str, str]


class Metrics:
    """Counts requests on the event loop and renders them as Prometheus text. One per process."""

    def __init__(
        self,
        *,
        connections: Connections | None = None,
        access_records_dropped: Callable[[], int] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._connections = connections
        self._access_records_dropped = access_records_dropped
        self._wall = wall
        self._in_flight = 0
        self._models: frozenset[str] = frozenset()
        self._provider_labels: Mapping[str, str] = {}
        self._requests: Bounded[RequestLabels, RequestCounts] = Bounded(MAX_SERIES - _RESERVED)
        self._attempts: Bounded[AttemptLabels, AttemptCounts] = Bounded(MAX_SERIES - _RESERVED)
        self._discovery: Bounded[str, DiscoveryCounts] = Bounded()
        self._request_shortcuts: dict[_RawRequest, RequestCounts] = {}
        self._attempt_shortcuts: dict[_RawAttempt, AttemptCounts] = {}
        self._operations = Labels(_MAX_OPERATIONS)
        self._providers = Labels(_MAX_PROVIDERS)
        self._codes = Labels(_MAX_CODES)

    def set_names(
        self,
        *,
        models: Iterable[str],
        providers: Mapping[str, str] | None = None,
    ) -> None:
        """Says which public model names are labels, and the label of each provider id.

        Called at start, after a reload and after discovery; counts under earlier names stay.
        """
        self._models = frozenset(models)
        self._provider_labels = dict(providers or {})
        self._request_shortcuts.clear()
        self._attempt_shortcuts.clear()

    def request_started(self) -> None:
        """Raises the number of requests in flight."""
        self._in_flight += 1

    def request_ended(self, outcome: Outcome) -> None:
        """Counts a settled request; to be called once for each `request_started`."""
        self._in_flight -= 1
        # Before it becomes part of any key: what a client makes up must not stay in memory.
        model = outcome.model if outcome.model in self._models else OTHER
        raw = (model, outcome.provider, outcome.operation, outcome.stream, outcome.status, outcome.error_code)
        counts = self._request_shortcuts.get(raw)
        if counts is None:
            counts = self._request_counts(raw)
        counts.count(outcome)
        last = {attempt.part: attempt for attempt in outcome.attempts}
        for attempt in outcome.attempts:
            self._count_attempt(model, attempt, outcome, attempt is last[attempt.part])

    def discovery_ended(self, provider: str, *, ok: bool, models: int, seconds: float) -> None:
        """Counts one look at a provider's model list."""
        label = self._provider(provider)
        counts = self._discovery.get_or_put(label, OTHER, DiscoveryCounts)
        counts.seconds += seconds
        if not ok:
            counts.failed += 1
            return
        counts.succeeded += 1
        counts.models = models
        counts.last_success = self._wall()

    @property
    def in_flight(self) -> int:
        """Requests that have started and not ended."""
        return self._in_flight

    def render(self, accept: str = "") -> bytes:
        """Returns the exposition in the format that `accept` prefers; takes milliseconds."""
        return expose(self._snapshot(), accept)

    async def render_off_loop(self, accept: str = "") -> bytes:
        """Returns the same from a thread, while requests go on being counted."""
        return await asyncio.to_thread(expose, self._snapshot(), accept)

    def content_type(self, accept: str = "") -> str:
        """Returns the Content-Type of `render(accept)`."""
        return content_type(accept)

    def _count_attempt(self, model: str, attempt: Attempt, outcome: Outcome, is_last: bool) -> None:
        deployment = attempt.deployment
        provider = outcome.provider if deployment == outcome.deployment else deployment.partition("/")[0]
        kind = OK if attempt.failure is None else attempt.failure.kind
        raw = (model, provider, outcome.operation, kind)
        counts = self._attempt_shortcuts.get(raw)
        if counts is None:
            counts = self._attempt_counts(raw)
        counts.count(attempt, outcome, is_last=is_last)

    def _request_counts(self, raw: _RawRequest) -> RequestCounts:
        model, provider, operation, stream, status, code = raw
        operation = self._operations.label(operation)
        status_class = f"{status // 100}xx" if 100 <= status < 600 else "none"
        error = "" if code is None else self._codes.label(code)
        labels = (model, self._provider(provider), operation, stream, status_class, error)
        rest = (OTHER, OTHER, operation, stream, status_class, OTHER if error else "")
        counts = self._requests.get_or_put(labels, rest, RequestCounts)
        if len(self._request_shortcuts) < _MAX_SHORTCUTS and error != OTHER:
            self._request_shortcuts[raw] = counts
        return counts

    def _attempt_counts(self, raw: _RawAttempt) -> AttemptCounts:
        model, provider, operation, kind = raw
        labels = (model, self._provider(provider), self._operations.label(operation), kind)
        counts = self._attempts.get_or_put(labels, (OTHER, OTHER, OTHER, kind), AttemptCounts)
        if len(self._attempt_shortcuts) < _MAX_SHORTCUTS:
            self._attempt_shortcuts[raw] = counts
        return counts

    def _provider(self, provider: str) -> str:
        if not provider:
            return _NO_PROVIDER
        return self._providers.label(self._provider_labels.get(provider, provider))

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            requests=self._requests.snapshot(),
            attempts=self._attempts.snapshot(),
            discovery=self._discovery.snapshot(),
            in_flight=self._in_flight,
            connections=dict(self._connections()) if self._connections else {},
            access_records_dropped=self._access_records_dropped() if self._access_records_dropped else 0,
            build={"version": gateway.__version__, "python": platform.python_version()},
        )
