"""Which deployment may follow which failure."""

from __future__ import annotations

from adapters.failures import Failure, FailureKind
from gateway.resilience.verdicts import verdict_on
from gateway.routing.deployment import Deployment
from gateway.routing.route import Route, Stage


def takes_over(stage: Stage, kind: FailureKind | None) -> bool:
    """True if a fallback stage is for this kind of failure; None means that nothing before it could be asked."""
    fallback = stage.fallback
    if fallback is None:
        return False
    if kind is None:
        return fallback.may_begin
    if kind in fallback.on:
        return True
    # A larger window, or another provider's opinion: `may_follow` looks closer.
    return kind in (FailureKind.CONTEXT_LENGTH, FailureKind.BAD_REQUEST) and not fallback.is_explicit


def may_follow(deployment: Deployment, stage: Stage, failed: Deployment, failure: Failure, route: Route) -> bool:
    """True if `deployment` may be tried although the request itself has failed at `failed`."""
    fallback = stage.fallback
    is_named = fallback is not None and fallback.is_explicit and failure.kind in fallback.on
    if failure.kind is FailureKind.CONTEXT_LENGTH:
        ours, theirs = failed.context_window, deployment.context_window
        if ours is not None and theirs is not None:
            return theirs > ours
        return is_named and deployment.id != failed.id
    if failure.kind is FailureKind.CONTENT_FILTER:
        return fallback is not None and failure.kind in fallback.on
    if failure.kind is FailureKind.BAD_REQUEST:
        if fallback is None or not (is_named or route.goes_on_after_bad_request or failure.kind in fallback.on):
            return False
        return deployment.provider != failed.provider and not _is_twin(deployment, failed)
    return verdict_on(failure).deployment


def _is_twin(one: Deployment, other: Deployment) -> bool:
    """True if both speak the same protocol to the same model: the answer would be the same."""
    return one.adapter.protocol == other.adapter.protocol and one.target.model == other.target.model
