"""Which of several failures the client hears, and what it hears where nothing could even be tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Final

from adapters.failures import Failure, FailureKind
from gateway.health.vitals import GUESSES, Obstacle
from gateway.resilience.verdicts import told_seconds
from gateway.routing.deployment import Deployment
from gateway.routing.route import OWN_FAULTS

_PASSING: Final = frozenset({FailureKind.RATE_LIMIT, FailureKind.OVERLOADED, FailureKind.QUOTA})
"""Kinds that say when to come back."""
_RANK: Final = {
    FailureKind.AUTH: 2,
    FailureKind.MODEL_MISSING: 3,
    FailureKind.RATE_LIMIT: 4,
    FailureKind.QUOTA: 5,
}
"""What the client hears rather than the following; trouble of a server comes before all of these."""
_OWN_LIMITS: Final = frozenset({Obstacle.BUSY, Obstacle.RATE, Obstacle.TOKENS})
LIMIT_CODE: Final = "deployment_limit"
"""Code of a failure in which nothing was asked: a limit that the file sets is used up."""


def told_to_client(failed: Sequence[tuple[str, Failure]], wait_seconds: float | None) -> tuple[str, Failure]:
    """Returns the failure that the client hears, with the deployment's id.

    The first one that is the request's own fault; else the last that is no limit of a key; limits only where nothing
    else went wrong, so that 429 means what it says. `wait_seconds` is when something may be tried again.
    """
    for id, failure in failed:
        if failure.kind in OWN_FAULTS:
            return id, failure
    best = min(reversed(failed), key=lambda each: _RANK.get(each[1].kind, 1))
    id, failure = best
    if failure.kind not in _PASSING or wait_seconds is None:
        return id, replace(failure, retry_after=told_seconds(failure))
    return id, replace(failure, retry_after=wait_seconds or None)  # at 0 something else is free: no need to wait


def without_attempt(
    deployment: Deployment, obstacle: Obstacle | None, now: float, wait_seconds: float | None
) -> Failure:
    """Returns why nothing was tried: what the deployment that would have come first is waiting for."""
    seconds = wait_seconds or None
    soon = f"; it is tried again in {ceil(seconds)} s" if seconds else ""
    last = next((state.last_failure for key in deployment.key_ring.keys if (state := key.resting(now))), None)
    if obstacle in (None, *GUESSES) and last is not None:
        count = len(deployment.key_ring.keys)
        which = "its key is resting" if count == 1 else f"all of its {count} keys are resting"
        return replace(last, message=f"{which} ({last.kind.value}: {last.message}){soon}", retry_after=seconds)
    if obstacle is Obstacle.COOLING:
        kind = FailureKind.OVERLOADED
        return Failure(kind, f"the upstream has asked for a pause{soon}", retry_after=seconds)
    if obstacle is not None and obstacle in _OWN_LIMITS:
        message = f"its limits.{obstacle.value} is used up{soon}"
        return Failure(FailureKind.RATE_LIMIT, message, code=LIMIT_CODE, retry_after=seconds or 1.0)
    if obstacle is Obstacle.PUT_ASIDE:
        kind = FailureKind(deployment.vitals.reason)
        return Failure(kind, f"it was put aside after an answer of the kind {kind.value}{soon}", retry_after=seconds)
    message = f"it cannot be reached: {deployment.vitals.consecutive} attempts in a row have failed{soon}"
    return Failure(FailureKind.CONNECT, message, code="upstream_connection_error", retry_after=seconds or 1.0)
