"""What the attempt loop does next. Pure: it is told the time and what happened, and answers with one step.

Theory. A request has candidates and a deadline. Each step is a try or the end. An attempt that died on a pooled
connection before one response byte came is no evidence about the upstream: the server closed an idle connection at
the moment of sending (the keep-alive race). Such an attempt is repeated once, at once, on a fresh connection, and
does not count. Every other failure ends the request, since there is one candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.failures import Failure, FailureKind
from gateway.routing.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Try:
    """Call this deployment; `fresh` forbids a pooled connection."""

    deployment: Deployment
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nothing is left to try; this is what the client should hear."""

    failure: Failure


class AttemptPlanner:
    """Plans the attempts of one request."""

    __slots__ = ("_candidate", "_deadline", "_failure", "_has_replayed", "_may_replay")

    def __init__(self, candidate: Deployment, deadline: float) -> None:
        self._candidate = candidate
        self._deadline = deadline
        self._failure: Failure | None = None
        self._may_replay = False
        self._has_replayed = False

    def next(self, now: float) -> Try | GiveUp:
        """Returns the next step at monotonic time `now`."""
        if now >= self._deadline:
            return GiveUp(self._failure or past_deadline())
        if self._failure is None:
            return Try(self._candidate)
        if self._may_replay and not self._has_replayed:
            self._has_replayed = True
            return Try(self._candidate, fresh=True)
        return GiveUp(self._failure)

    def record(self, failure: Failure, *, is_replayable: bool = False) -> None:
        """Notes how the last try failed."""
        self._failure = failure
        self._may_replay = is_replayable


def past_deadline() -> Failure:
    """Returns the failure of a request that ran into its total limit."""
    return Failure(
        FailureKind.TIMEOUT,
        "the request did not end within upstream.total_seconds",
        code="upstream_timeout",
        setting="upstream.total_seconds",
    )
