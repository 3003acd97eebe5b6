"""Whose timeout counts: the deployment's, else the route's, else the provider row's, else the general one.

Each comes with the full path of the setting that it is from, since that is what an error names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from gateway.credentials.variables import first
from gateway.domain import ProviderSpec
from gateway.routing.deployment import Limit, Waits
from gateway.settings.model import UpstreamSettings
from gateway.settings.provider import ProviderRow
from gateway.settings.route import TimeoutSettings
from gateway.settings.scalars import MAX_SECONDS
from gateway.transport.base import Timeouts

NO_TIMEOUTS: Final = TimeoutSettings()
_PATIENT: Final = frozenset({"head_seconds", "answer_seconds", "first_token_seconds", "between_tokens_seconds"})
"""What the one timeout of a provider row stands for."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one provider is waited for, where the general settings do not say it."""

    seconds: float
    """For the head of a response, its first content, and between two pieces of it."""
    setting: str
    """Where it came from, for the message: `providers.ollama.timeout_seconds`, `env OLLAMA_HTTP_TIMEOUT`."""


def patience_of(spec: ProviderSpec, row: ProviderRow | None, environ: Mapping[str, str]) -> Patience | None:
    """Returns how long a provider is waited for if the user's row, the environment or its own row says so."""
    is_told = row is not None and row.timeout_seconds is not None
    found = None if is_told else first(environ, *spec.timeout_envs)
    seconds = _seconds(found[1]) if found else None
    if found and seconds is not None:
        return Patience(seconds, f"env {found[0]}")
    if spec.timeout_seconds is None:
        return None
    return Patience(spec.timeout_seconds, f"providers.{spec.id}.timeout_seconds")


def _seconds(text: str) -> float | None:
    """Returns a number of seconds that can be waited, None for anything else."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds <= MAX_SECONDS else None


class _Layers:
    def __init__(
        self,
        upstream: UpstreamSettings,
        route: tuple[str, TimeoutSettings] | None,
        deployment: tuple[int, TimeoutSettings] | None,
        patience: Patience | None,
    ) -> None:
        self._upstream = upstream
        self._patience = patience
        self._own: list[tuple[str, TimeoutSettings]] = []
        if route is not None:
            where = f"routes.{route[0]}"
            if deployment is not None:
                self._own.append((f"{where}.deployments.{deployment[0]}.timeouts", deployment[1]))
            self._own.append((f"{where}.timeouts", route[1]))

    def limit(self, name: str) -> Limit:
        for where, said in self._own:
            seconds: float | None = getattr(said, name)
            if seconds is not None:
                return Limit(seconds, f"{where}.{name}")
        if self._patience is not None and name in _PATIENT:
            return Limit(self._patience.seconds, self._patience.setting)
        general: float | None = getattr(self._upstream, name)
        return Limit(0.0 if general is None else general, f"upstream.{name}")

    def attempt(self) -> Limit:
        """The total of the deployment itself: that of a route is no attempt's."""
        if len(self._own) < 2:
            return Limit(inf, "")
        where, said = self._own[0]
        return Limit(inf, "") if said.total_seconds is None else Limit(said.total_seconds, f"{where}.total_seconds")


def waits_of(
    upstream: UpstreamSettings,
    *,
    route: tuple[str, TimeoutSettings] | None = None,
    deployment: tuple[int, TimeoutSettings] | None = None,
    patience: Patience | None = None,
) -> Waits:
    """Returns how long a deployment is waited for.

    `route` is its name and what it says, `deployment` its place in the route and what it says.
    """
    layers = _Layers(upstream, route, deployment, patience)
    connect, idle = layers.limit("connect_seconds"), layers.limit("between_tokens_seconds")
    first_token = layers.limit("first_token_seconds")
    # A stream whose head is late has no first token in time either.
    head = min(layers.limit("head_seconds"), first_token, key=lambda limit: limit.seconds)
    return Waits(
        stream=_timeouts(upstream, connect, head, idle),
        answer=_timeouts(upstream, connect, layers.limit("answer_seconds"), idle),
        first_token=first_token,
        attempt=layers.attempt(),
        pace=layers.limit("min_bytes_per_second"),
    )


def total_of(upstream: UpstreamSettings, route: str = "", timeouts: TimeoutSettings = NO_TIMEOUTS) -> Limit:
    """Returns how long a request may take, all attempts together."""
    if timeouts.total_seconds is not None:
        return Limit(timeouts.total_seconds, f"routes.{route}.timeouts.total_seconds")
    return Limit(upstream.total_seconds, "upstream.total_seconds")


def _timeouts(upstream: UpstreamSettings, connect: Limit, head: Limit, idle: Limit) -> Timeouts:
    return Timeouts(
        connect=connect.seconds,
        pool=upstream.pool_seconds,
        head=head.seconds,
        idle=idle.seconds,
        connect_setting=connect.setting,
        head_setting=head.setting,
        idle_setting=idle.setting,
    )
