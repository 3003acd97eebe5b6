"""Deployments, keys and routes for tests of decisions: nothing here can be called, everything can be decided upon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from adapters.anthropic import AnthropicAdapter
from adapters.failures import FailureKind
from adapters.openai import OpenAIAdapter
from adapters.types import Adapter, Operation, Target
from gateway.credentials.keyring import KeyBook, KeyRing
from gateway.domain import ProviderSpec
from gateway.health.vitals import Capacity, HealthPolicy, Vitals
from gateway.routing.deployment import Deployment
from gateway.routing.route import ANY_FAILURE, Fallback, RetryPolicy, Route, Stage
from gateway.secret import Secret

ADAPTERS: Final[dict[str, Adapter]] = {"openai": OpenAIAdapter(), "anthropic": AnthropicAdapter()}
_RETRY: Final = {field.name for field in fields(RetryPolicy)}
PATHS: Final = {
    Operation.CHAT: "/chat/completions",
    Operation.COMPLETIONS: "/completions",
    Operation.EMBEDDINGS: "/embeddings",
}


def deployment(
    id: str,
    *,
    keys: int = 1,
    provider: str = "",
    model: str = "m",
    protocol: str = "openai",
    policy: HealthPolicy | None = None,
    limits: Capacity | None = None,
    book: KeyBook | None = None,
    **more: Any,
) -> Deployment:
    """A deployment of a provider of its own, unless two are given the same; keys of one provider are the same keys."""
    provider = provider or f"of-{id}"
    spec = ProviderSpec(id=provider, display_name=provider, protocol=protocol, base_url="http://127.0.0.1:9/v1")
    secrets = tuple(Secret(f"sk-{provider}-{number}") for number in range(1, keys + 1))
    capacity = limits or Capacity()
    return Deployment(
        id=id,
        provider=provider,
        target=Target(model=model, base_url=spec.base_url, paths=PATHS),
        adapter=ADAPTERS[protocol],
        key_ring=KeyRing(spec, secrets, model=model, state_of=book or KeyBook()),
        vitals=Vitals(policy or HealthPolicy(), capacity),
        is_limited=capacity.tokens_per_minute is not None,
        **more,
    )


def stage(*deployments: Deployment, name: str = "r", **policy: Any) -> Stage:
    """The route that is asked for, with its deployments in this order; `policy` is that of retries, or the route's."""
    retry = {field: policy.pop(field) for field in _RETRY & policy.keys()}
    return Stage(Route(name, tuple(deployments), retry=RetryPolicy(**retry), **policy), candidates=deployments)


def fallback(*deployments: Deployment, on: Sequence[FailureKind] | None = None, name: str = "fallback") -> Stage:
    """A route that takes over; `on` names single kinds of failure."""
    kinds = ANY_FAILURE if on is None else frozenset(on)
    taking = Fallback(name, kinds, is_explicit=on is not None)
    return Stage(Route(name, tuple(deployments)), candidates=deployments, fallback=taking)
