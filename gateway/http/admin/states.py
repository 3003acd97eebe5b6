"""What an operator may see of the live state: upstream keys and deployments. Nothing here holds a secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from gateway.credentials.keyring import Key, KeyRing, KeyState
from gateway.errors import UnknownModel
from gateway.health.counts import WINDOW_SECONDS
from gateway.health.vitals import Vitals
from gateway.routing.deployment import Deployment
from gateway.routing.route import Route
from gateway.runtime import Runtime

READY: Final = "ready"
RESTING: Final = "resting"
USED_UP: Final = "used up"
_DIGITS: Final = 3


class Rest(Struct, frozen=True):
    """Whether a key may be used now, and why not."""

    state: str
    """`ready`, `resting`, or `used up`: the provider's own figures say that nothing is left."""
    seconds: float = 0.0
    reason: str = ""
    """The kind of failure that it rests after."""
    is_told: bool = False
    """The provider asked for the pause; else it is our own judgement."""


class ModelKey(Struct, frozen=True):
    """What is known of a key with one model: providers limit rates by both."""

    model: str
    rest: Rest
    left: Mapping[str, int]
    """How many `requests` and `tokens` are left, as the provider last told."""
    uses: int
    in_flight: int


class UpstreamKey(Struct, frozen=True):
    """One credential of a provider, or of a deployment that has its own."""

    provider: str
    deployment: str
    """"" for a key of the provider."""
    key: int
    of: int
    source: str
    """Where it came from: `env NAME`, `config`, a cloud's own way."""
    rest: Rest
    """Of the key whatever it is used for."""
    uses: int
    models: Sequence[ModelKey]
    """Those that it was used with, or may be by a route."""


class DeploymentState(Struct, frozen=True):
    """One deployment as it is now."""

    deployment: str
    provider: str
    model: str
    routes: Sequence[str]
    in_flight: int
    obstacle: str
    """Why it gets no requests now; "" if it does."""
    ejected_seconds: float
    cooling_seconds: float
    is_told: bool
    """The provider asked for the pause; else it is our own judgement."""
    reason: str
    """The kind of failure that the pause, or else the last ejection, comes from."""
    consecutive_failures: int
    attempts: int
    """That ended in the last `window_seconds`."""
    failures: int
    window_seconds: int
    latency_ms: float | None
    """The usual time to the first content; None before anything is known."""
    limits: Mapping[str, int | None]


class RouteState(Struct, frozen=True):
    """One route of the file."""

    route: str
    aliases: Sequence[str]
    strategy: str
    deployments: Sequence[str]
    """Those that can be called."""
    lacking: Mapping[str, str]
    """Those that cannot, and why."""
    fallbacks: Sequence[str]
    mirror: str
    """Where copies go, "" for nowhere."""
    is_served: bool
    reason: str
    """Why it is not."""


def route_states(runtime: Runtime) -> list[RouteState]:
    """Returns every route of the file; what a wildcard stands for is known with a name."""
    return [_route(runtime, name) for name in runtime.settings.routes]


def _route(runtime: Runtime, name: str) -> RouteState:
    said = runtime.settings.routes[name]
    found = runtime.routes.route(name, "")
    is_served = isinstance(found, Route)
    return RouteState(
        route=name,
        aliases=said.aliases,
        strategy=said.strategy,
        deployments=[each.id for each in found.deployments] if isinstance(found, Route) else [],
        lacking=dict(found.lacking) if isinstance(found, Route) else {},
        fallbacks=[each if isinstance(each, str) else each.route for each in said.fallbacks],
        mirror=said.mirror.to if said.mirror else "",
        is_served=is_served,
        reason="" if isinstance(found, Route) else found,
    )


def deployment_states(runtime: Runtime, now: float) -> list[DeploymentState]:
    """Returns every deployment of the file, and those that requests have named."""
    return [deployment_state(each, names, now) for each, names in known_deployments(runtime)]


def known_deployments(runtime: Runtime) -> list[tuple[Deployment, Sequence[str]]]:
    """Returns the same with the names of the routes that each belongs to."""
    names: dict[int, list[str]] = {}
    found: dict[int, Deployment] = {}
    for route in _routes(runtime):
        for deployment in route.deployments:
            key = id(deployment.vitals)
            found.setdefault(key, deployment)
            known = names.setdefault(key, [])
            if route.name not in known:
                known.append(route.name)
    return [(each, names[key]) for key, each in found.items()]


def _routes(runtime: Runtime) -> Iterator[Route]:
    for name in dict.fromkeys(runtime.routes.names.values()):
        try:
            runtime.router.chain(name)
        except UnknownModel:
            continue  # none of its deployments can be used, which was said at start
    for chain in runtime.router.remembered():
        yield chain.route
        yield from (route for route, _ in chain.links)


def deployment_state(deployment: Deployment, routes: Sequence[str], now: float) -> DeploymentState:
    """Returns one of them as it is now."""
    vitals: Vitals = deployment.vitals
    counts = vitals.counts.copy()
    counts.advance(now)
    obstacle, limits = vitals.obstacle(now), vitals.limits
    latency = vitals.latency.seconds
    return DeploymentState(
        deployment=deployment.id,
        provider=deployment.provider,
        model=deployment.target.model,
        routes=routes,
        in_flight=vitals.in_flight,
        obstacle=obstacle.value if obstacle else "",
        ejected_seconds=_left(vitals.ejected_until or 0.0, now),
        cooling_seconds=_left(vitals.cooling_until, now),
        is_told=vitals.is_told and vitals.cooling_until > now,
        reason=vitals.reason if vitals.is_half_open or vitals.cooling_until > now else "",
        consecutive_failures=vitals.consecutive,
        attempts=counts.attempts,
        failures=counts.failures,
        window_seconds=WINDOW_SECONDS,
        latency_ms=None if latency is None else round(latency * 1000, 1),
        limits={
            "max_in_flight": limits.max_in_flight,
            "requests_per_minute": limits.requests_per_minute,
            "tokens_per_minute": limits.tokens_per_minute,
        },
    )


def upstream_keys(runtime: Runtime, now: float) -> list[UpstreamKey]:
    """Returns the keys of every provider that can be called, then those of deployments that have their own."""
    deployments = {id(each.key_ring): each for route in _routes(runtime) for each in route.deployments}.values()
    keys: list[UpstreamKey] = []
    shared: set[str] = set()
    for provider in runtime.catalogue.ready():
        ring = provider.key_ring
        if not ring.is_empty:
            shared |= {key.account.fingerprint for key in ring.keys}
            keys += _keys(provider.spec.id, "", ring, deployments, now)
    own: dict[str, Deployment] = {}
    for each in deployments:
        if not each.key_ring.is_empty and not shared.issuperset(key.account.fingerprint for key in each.key_ring.keys):
            own.setdefault(each.id, each)
    for id_, each in own.items():
        keys += _keys(each.provider, id_, each.key_ring, [each], now)
    return keys


def _keys(
    provider: str, deployment: str, ring: KeyRing, deployments: Iterable[Deployment], now: float
) -> Iterator[UpstreamKey]:
    for key in ring.keys:
        models = list(_models(key, deployments, now))
        uses = sum(each.uses for each in models) if models else key.state.uses
        rest = _rest(key.account, now)
        yield UpstreamKey(provider, deployment, key.number, len(ring.keys), _source(ring, key), rest, uses, models)


def _models(key: Key, deployments: Iterable[Deployment], now: float) -> Iterator[ModelKey]:
    seen: set[str] = set()
    for deployment in deployments:
        for each in deployment.key_ring.keys:
            state = each.state
            if each.account.fingerprint == key.account.fingerprint and state.fingerprint not in seen:
                seen.add(state.fingerprint)
                rest = _rest(state, now)
                yield ModelKey(deployment.target.model, rest, dict(state.left), state.uses, state.in_flight)


def _rest(state: KeyState, now: float) -> Rest:
    if state.cooling_until > now:
        reason = state.last_failure.kind.value if state.last_failure else ""
        return Rest(RESTING, _left(state.cooling_until, now), reason, state.is_told)
    if state.exhausted_until > now:
        return Rest(USED_UP, _left(state.exhausted_until, now), is_told=True)
    return Rest(READY)


def _left(until: float, now: float) -> float:
    return round(max(0.0, until - now), _DIGITS)


def _source(ring: KeyRing, key: Key) -> str:
    if ring.signer is not None:
        return ring.signer.source
    return key.secret.source if key.secret else "none"
