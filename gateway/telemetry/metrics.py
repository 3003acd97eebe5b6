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
from gateway.telemetry.exposition import Snapshot, content_type, expose, gather
from gateway.telemetry.figures import Figures
from gateway.telemetry.ledger import AskLedger, AskTrouble
from gateway.telemetry.live import NOTHING_RESTS, AskResting, LiveCounts, Resting
from gateway.telemetry.results import by_part, hedge_result, result_of, retries, winner_of
from gateway.telemetry.series import MAX_SERIES, OTHER, Bounded, Labels

Connections = Callable[[], Mapping[tuple[str, str], int]]
"""Returns open upstream connections by (provider, state)."""

_RESERVED: Final = 124
"""Label sets kept back for `other`: 10 operations x 2 x 6 status classes."""
_MAX_OPERATIONS: Final = 10
_MAX_PROVIDERS: Final = 500
_MAX_CODES: Final = 100
_MAX_SHORTCUTS: Final = 4 * MAX_SERIES
_NO_PROVIDER: Final = "none"

_RawRequest = tuple[str, str, str, bool, int, str | None]
_RawAttempt = tuple[str, str, str, str]
_ANSWERED: Final = 200


class Metrics:
    """Counts requests on the event loop and renders them as Prometheus text. One per process."""

    def __init__(
        self,
        *,
        connections: Connections | None = None,
        access_records_dropped: Callable[[], int] | None = None,
        resting: AskResting | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._connections = connections
        self._access_records_dropped = access_records_dropped
        self._resting = resting
        self._ledger: AskLedger | None = None
        self._limits_trouble: AskTrouble | None = None
        self._wall = wall
        self._in_flight = 0
        self._reloads = {OK: 0, "failed": 0}
        self._configured_at = wall()
        self._stalls, self._stalled_seconds = 0, 0.0
        self._models: frozenset[str] = frozenset()
        self._deployments: frozenset[str] = frozenset()
        self._provider_labels: Mapping[str, str] = {}
        self._requests: Bounded[RequestLabels, RequestCounts] = Bounded(MAX_SERIES - _RESERVED)
        self._attempts: Bounded[AttemptLabels, AttemptCounts] = Bounded(MAX_SERIES - _RESERVED)
        self._discovery: Bounded[str, DiscoveryCounts] = Bounded()
        self._live = LiveCounts()
        self._request_shortcuts: dict[_RawRequest, RequestCounts] = {}
        self._attempt_shortcuts: dict[_RawAttempt, AttemptCounts] = {}
        self._operations = Labels(_MAX_OPERATIONS)
        self._providers = Labels(_MAX_PROVIDERS)
        self._codes = Labels(_MAX_CODES)

    def follow(self, *, connections: Connections, resting: AskResting) -> None:
        """Asks others for what is at this moment: another configuration has taken over."""
        self._connections = connections
        self._resting = resting

    def follow_ledger(self, ledger: AskLedger) -> None:
        """Asks at each scrape how it stands with the ledger."""
        self._ledger = ledger

    def follow_limits(self, trouble: AskTrouble) -> None:
        """Asks at each scrape what keeps the replicas from counting limits together."""
        self._limits_trouble = trouble

    def reloaded(self, *, ok: bool, is_counted: bool = True) -> None:
        """Notes that the configuration was read again, and either taken or refused.

        It is counted once, of several workers by the first of them.
        """
        self._reloads[OK if ok else "failed"] += is_counted
        if ok:
            self._configured_at = self._wall()

    def stalled(self, seconds: float) -> None:
        """Counts a time in which nobody was answered."""
        self._stalls += 1
        self._stalled_seconds += seconds

    def set_names(
        self,
        *,
        models: Iterable[str],
        providers: Mapping[str, str] | None = None,
        deployments: Iterable[str] = (),
    ) -> None:
        """Says which public model names and deployments are labels, and the label of each provider id.

        Called at start, after a reload and after discovery; counts under earlier names stay.
        """
        self._models = frozenset(models)
        self._provider_labels = dict(providers or {})
        self._deployments = frozenset(deployments)
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
        self._attempts_ended(model, outcome)
        if outcome.fallback:
            self._live.fallbacks.add(model, outcome.fallback)
        if outcome.is_over_budget:
            self._live.over_budget.add(model, self._provider(outcome.provider))
        if outcome.cost_nano_usd is None:
            self._live.unpriced.add(model, self._provider(outcome.provider), self._deployment(outcome.deployment))

    def line_tried(self, outcome: Outcome) -> None:
        """Counts the attempts of a line of a batch that has to wait, and is no request yet."""
        self._attempts_ended(outcome.model if outcome.model in self._models else OTHER, outcome)

    def _attempts_ended(self, model: str, outcome: Outcome) -> None:
        attempts = outcome.attempts
        if len(attempts) == 1 and not attempts[0].is_lost:
            attempt = attempts[0]
            has_won = attempt.failure is None or outcome.status == _ANSWERED
            self._count_attempt(
                model, attempt, outcome, OK if attempt.failure is None else attempt.failure.kind, has_won
            )
        elif attempts:
            self._count_attempts(model, outcome)

    def mirrored(self, outcome: Outcome) -> None:
        """Counts a copy that was sent elsewhere."""
        model = outcome.model if outcome.model in self._models else OTHER
        is_ok = outcome.status == _ANSWERED and outcome.error_code is None
        self._live.mirrored.add(model, OK if is_ok else "failed" if outcome.status else "cancelled")

    def admission_refused(self, kind: str) -> None:
        """Counts a request that a limit has refused: `requests`, `tokens`, `in_flight`, `budget` or `unavailable`."""
        self._live.refused.add(kind)

    def hook_failed(self, plugin: str) -> None:
        """Counts a request of which the hook of a plugin could not take all."""
        self._live.hook_failures.add(plugin)

    def batch_line_begun(self) -> None:
        """Notes that a line of a batch is under way."""
        self._live.batch_lines_running += 1

    def batch_line_ended(self, result: str) -> None:
        """Counts what became of it: `completed`, `failed`, `paused` or `again`; once for each `batch_line_begun`."""
        self._live.batch_lines_running -= 1
        self._live.batch_lines.add(result)

    def batch_ended(self, status: str) -> None:
        """Counts a batch that this process has brought to its end."""
        self._live.batches.add(status)

    def consignments_seen(self, found: Iterable[tuple[str, str, float]]) -> None:
        """Notes what providers' batch APIs have now: provider, state, and Unix time at which it was sent."""
        counts: dict[tuple[str, str], int] = {}
        since: dict[tuple[str], float] = {}
        for name, state, sent in found:
            provider = self._provider(name)
            counts[provider, state] = counts.get((provider, state), 0) + 1
            since[(provider,)] = min(sent, since.get((provider,), sent))
        # Others, never changed: a scrape reads them meanwhile.
        self._live.consignments, self._live.consigned_since = counts, since

    def cooled(self, provider: str, scope: str, reason: str) -> None:
        """Counts that a key or a deployment has to rest."""
        self._live.cool_downs.add(self._provider(provider), scope, reason)

    def ejected(self, provider: str, deployment: str, reason: str) -> None:
        """Counts that a deployment is left out for a while."""
        self._live.ejections.add(self._provider(provider), self._deployment(deployment), reason)

    def readmitted(self, provider: str, deployment: str) -> None:
        """Counts that an ejected deployment works again."""
        self._live.readmissions.add(self._provider(provider), self._deployment(deployment))

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

    async def gather_off_loop(self) -> list[Figures]:
        """Returns the same as figures that can be added to those of other processes."""
        return await asyncio.to_thread(gather, self._snapshot())

    def content_type(self, accept: str = "") -> str:
        """Returns the Content-Type of `render(accept)`."""
        return content_type(accept)

    def _count_attempts(self, model: str, outcome: Outcome) -> None:
        for attempts in by_part(outcome.attempts):
            winner = winner_of(attempts, outcome)
            for attempt in attempts:
                self._count_attempt(model, attempt, outcome, result_of(attempt, winner), attempt is winner)
                if attempt.is_hedge:
                    self._live.hedges.add(model, hedge_result(attempt, winner))
            for failed, other in retries(attempts):
                counts = self._counts_of(model, failed, outcome, result_of(failed, winner))
                counts.retry(other.started - (failed.ended or other.started))

    def _count_attempt(self, model: str, attempt: Attempt, outcome: Outcome, result: str, has_won: bool) -> None:
        self._counts_of(model, attempt, outcome, result).count(attempt, outcome, has_won=has_won)
        if attempt.deployment in self._deployments:
            self._live.deployment_attempts.add(self._provider(attempt.provider), attempt.deployment, result)
        else:
            self._live.deployment_attempts.add(self._provider(attempt.provider), OTHER, result)

    def _counts_of(self, model: str, attempt: Attempt, outcome: Outcome, result: str) -> AttemptCounts:
        raw = (model, attempt.provider, outcome.operation, result)
        counts = self._attempt_shortcuts.get(raw)
        return self._attempt_counts(raw) if counts is None else counts

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

    def _deployment(self, deployment: str) -> str:
        return deployment if deployment in self._deployments else OTHER

    def _labelled(self, resting: Resting) -> Resting:
        return Resting(
            ejected=[(self._provider(provider), self._deployment(name)) for provider, name in resting.ejected],
            keys=[self._provider(provider) for provider in resting.keys],
        )

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            requests=self._requests.snapshot(),
            attempts=self._attempts.snapshot(),
            discovery=self._discovery.snapshot(),
            live=self._live,
            resting=self._labelled(self._resting()) if self._resting else NOTHING_RESTS,
            in_flight=self._in_flight,
            connections=dict(self._connections()) if self._connections else {},
            access_records_dropped=self._access_records_dropped() if self._access_records_dropped else 0,
            ledger=self._ledger() if self._ledger else None,
            limits_trouble=self._limits_trouble() if self._limits_trouble else "",
            reloads=dict(self._reloads),
            configured_at=self._configured_at,
            stalls=self._stalls,
            stalled_seconds=self._stalled_seconds,
            build={"version": gateway.__version__, "python": platform.python_version()},
        )
