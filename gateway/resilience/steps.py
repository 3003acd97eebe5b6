"""What the planner says, and what it has heard: the steps of one request."""

from __future__ import annotations

from msgspec import Struct

from adapters.failures import Failure, FailureKind
from gateway.credentials.keyring import Key
from gateway.routing.deployment import Deployment, Limit
from gateway.routing.route import Stage


class Try(Struct, frozen=True):
    """Call this deployment with this key; `fresh` forbids a pooled connection."""

    deployment: Deployment
    key: Key
    stage: Stage
    fresh: bool = False
    is_first: bool = False
    charged: Deployment | None = None
    """Whose retry budget pays for it."""
    reason: str = ""
    """Kind of the failure before it, or why nothing was tried before a fallback; "" for the first."""


class Wait(Struct, frozen=True):
    """Do nothing for so long, then ask again."""

    seconds: float


class GiveUp(Struct, frozen=True):
    """Nothing is left to try; this is what the client should hear, None if nothing could even be asked."""

    failure: Failure | None
    deployment: str
    is_over_budget: bool = False
    """Another attempt was not looked for, because a deployment's failures have caused too many already."""


class FailedTry(Struct, frozen=True):
    """What became of a try that failed."""

    deployment: Deployment
    key: Key
    stage: Stage
    failure: Failure


def is_alike(one: FailedTry, other: FailedTry) -> bool:
    """True if two deployments of one stage had the same trouble with the request, having seen it."""
    if one.stage is not other.stage or one.deployment.id == other.deployment.id:
        return False
    if one.failure.kind is not other.failure.kind or one.failure.is_unsent:
        return False
    if one.failure.kind is FailureKind.SERVER:
        return (one.failure.status, one.failure.message) == (other.failure.status, other.failure.message)
    return one.failure.code == other.failure.code == "upstream_disconnected"


def past_deadline(total: Limit, *, is_impatience: bool = True) -> Failure:
    """Returns the failure of a request that ran into its total limit, or of an attempt that ran into its own."""
    return Failure(
        FailureKind.TIMEOUT,
        f"{total.missed} within {total.setting} ({total.seconds:g} s)",
        code="upstream_timeout",
        setting=total.setting,
        is_impatience=is_impatience,
    )
