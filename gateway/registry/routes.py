"""What the file says about routes, as routes: with deployments of the catalogue, their live state, and every wait."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from adapters.failures import FailureKind
from gateway.health.vitals import Capacity, HealthPolicy, Vitals
from gateway.registry.catalogue import Catalogue
from gateway.registry.facts import UNKNOWN, facts_of, settled_price
from gateway.registry.live import LiveStates
from gateway.registry.waits import total_of, waits_of
from gateway.routing.deployment import Deployment
from gateway.routing.route import (
    ANY_FAILURE,
    Fallback,
    HedgePolicy,
    MirrorPolicy,
    RetryPolicy,
    Route,
    Rule,
    Strategy,
)
from gateway.settings.model import Settings
from gateway.settings.route import (
    DeploymentSettings,
    FallbackSettings,
    LimitSettings,
    MirrorSettings,
    RouteSettings,
    RuleSettings,
    Trigger,
)


class RouteBook:
    """Makes routes, and keeps the live state of their deployments (implements `routing.router.Routes`)."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        *,
        show: Callable[[str], str],
        states: LiveStates | None = None,
    ) -> None:
        """`show` makes a deployment's name fit for clients; `states` are those of the configuration before."""
        self._settings = settings
        self._catalogue = catalogue
        self._show = show
        self.policy = HealthPolicy(**settings.health.model_dump(exclude={"probe_seconds"}))
        self.states = states or LiveStates()
        routes = settings.routes
        self._said: dict[str, DeploymentSettings] | None = None
        """By `provider/model`: what has a price or limits, once anybody has called a model by that."""
        self.wildcards: Sequence[str] = [name for name in routes if "*" in name]
        self.names: Mapping[str, str] = _names(routes)

    def route(self, name: str, star: str) -> Route | str:
        """Returns a route of the file, with `star` for every `*`, or says in one sentence why it cannot be served."""
        said = self._settings.routes[name]
        found: list[Deployment] = []
        lacking: list[tuple[str, str]] = []
        for index, each in enumerate(said.deployments):
            deployment = self._deployment(name, said, index, each, star)
            if isinstance(deployment, str):
                lacking.append((self._show(str(each)), deployment))
            else:
                found.append(deployment)
        if not found:
            return lacking[0][1]
        upstream = self._settings.upstream
        return Route(
            name=name.replace("*", star) if star else name,
            deployments=tuple(found),
            strategy=Strategy(said.strategy),
            sticky_by=said.sticky_by,
            rules=tuple(map(_rule, said.rules)),
            retry=RetryPolicy(**said.retry.model_dump()),
            total=total_of(upstream, name, said.timeouts),
            fallbacks=tuple(_fallback(each, said) for each in said.fallbacks),
            goes_on_after_bad_request=said.on_bad_request == "next_provider",
            max_ejected_share=self.policy.max_ejected_share,
            hedge=HedgePolicy(said.hedge.share, said.hedge.after_seconds) if said.hedge else None,
            mirror=_mirror(said.mirror),
            is_strict=said.strict,
            memory=self.states.memory(name, star),
            lacking=tuple(lacking),
        )

    def single(self, model: str) -> Route | str:
        """Returns the route that `provider/model` is, or one sentence that says why there is none."""
        found = self._catalogue.deploy(model)
        if isinstance(found, str):
            return found
        upstream, provider = self._settings.upstream, found.key_ring.spec.id
        # Only where it takes over from a route anybody asks for its window, and then the data has been read.
        facts = facts_of(provider, found.target.model, datetime.now(UTC)) if self._settings.routes else UNKNOWN
        said = self._said_of(found.id)
        named = replace(found, id=(said.name if said else None) or self._show(found.id))
        capacity = _capacity(said.limits) if said else Capacity()
        deployment = replace(
            named,
            vitals=self._state(named, capacity),
            waits=waits_of(upstream, patience=self._catalogue.patience(provider)),
            context_window=facts.context_window,
            price=settled_price(said.price) if said and said.price else None,
            is_price_own=said is not None and said.price is not None,
            is_limited=capacity.tokens_per_minute is not None,
        )
        return Route(
            name=self._show(found.id),
            deployments=(deployment,),
            total=total_of(upstream),
            max_ejected_share=self.policy.max_ejected_share,
        )

    def _said_of(self, id: str) -> DeploymentSettings | None:
        """Returns what the file says of a deployment that can be called by its own name, too; the first that does."""
        if self._said is None:
            told = (each for route in self._settings.routes.values() for each in route.deployments if _tells(each))
            found = ((self._catalogue.deploy(each.model), each) for each in told)
            self._said = {}
            for deployment, each in found:
                if not isinstance(deployment, str):
                    self._said.setdefault(deployment.id, each)
        return self._said.get(id)

    def reasons(self) -> list[str]:
        """Returns why deployments of the file cannot be used, a sentence each; the others are served all the same."""
        return [f"route {name}: {found}" for name, _, _, found in self._of_file() if isinstance(found, str)]

    def lacking(self) -> Iterator[tuple[str, str]]:
        """Yields the paths of the deployments of the file that cannot be used, and why."""
        for _, path, _, found in self._of_file():
            if isinstance(found, str):
                yield path, found

    def with_own_keys(self) -> Iterator[tuple[str, Deployment]]:
        """Yields the deployments of the file that have keys of their own."""
        for _, path, said, found in self._of_file():
            if said.keys and not isinstance(found, str):
                yield path, found

    def _of_file(self) -> Iterator[tuple[str, str, DeploymentSettings, Deployment | str]]:
        """Yields what the file says in full, not by a `*`: route, path, settings and meaning of each deployment."""
        for name, route in self._settings.routes.items():
            if "*" in name:
                continue
            for index, each in enumerate(route.deployments):
                path = f"routes.{name}.deployments.{index}"
                yield name, path, each, self._deployment(name, route, index, each, "")

    def deployments(self) -> list[Vitals]:
        """Returns the live state of every deployment that was asked for."""
        return self.states.all()

    def find(self, fingerprint: str) -> Sequence[Vitals]:
        """Returns the live states of a deployment that was asked for, by what names it among replicas."""
        return self.states.find(fingerprint)

    def _deployment(
        self, name: str, route: RouteSettings, index: int, said: DeploymentSettings, star: str
    ) -> Deployment | str:
        model = said.model.replace("*", star) if star else said.model
        keys = tuple(said.keys or ())
        if said.provider is None:
            found = self._catalogue.deploy(model, keys, said.profile or "")
        else:
            found = self._catalogue.custom(said.provider, model, keys, said.profile or "")
        if isinstance(found, str):
            return found
        spec = found.key_ring.spec
        facts = facts_of(spec.id, found.target.model, datetime.now(UTC))
        price = settled_price(said.price) if said.price else facts.price
        capacity = _capacity(said.limits)
        named = replace(found, id=said.name or self._show(found.id))
        return replace(
            named,
            vitals=self._state(named, capacity),
            waits=waits_of(
                self._settings.upstream,
                route=(name, route.timeouts),
                deployment=(index, said.timeouts),
                patience=self._catalogue.patience(spec.id),
            ),
            weight=said.weight,
            order=said.order,
            tags=frozenset(said.tags),
            supports=None if said.supports is None else frozenset(said.supports),
            context_window=said.context_window or facts.context_window,
            price=price,
            is_price_own=said.price is not None,
            is_limited=capacity.tokens_per_minute is not None,
        )

    def _state(self, deployment: Deployment, capacity: Capacity) -> Vitals:
        # Several models may go by one name, and one model may be limited here and not there.
        key = (deployment.id, deployment.target.base_url, deployment.target.model, capacity)
        return self.states.vitals(key, self.policy, capacity, lambda: fingerprint_of(deployment))


def fingerprint_of(deployment: Deployment) -> str:
    """Returns what names a deployment among replicas: name, model, place; not what a URL may hold of secrets."""
    target = deployment.target
    parts = urlsplit(target.base_url)
    place = f"{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}"
    said = f"{deployment.id}\0{target.model}\0{place}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(said, digest_size=8, person=b"anyport-place").hexdigest()


def _capacity(limits: LimitSettings) -> Capacity:
    return Capacity(limits.max_in_flight, limits.requests_per_minute, limits.tokens_per_minute)


def _tells(said: DeploymentSettings) -> bool:
    """Says whether it has a price or limits, and no place or keys that nobody reaches by `provider/model`."""
    is_its_own = said.provider is not None or said.keys or said.profile
    return not is_its_own and (said.price is not None or _capacity(said.limits) != Capacity())


def _names(routes: Mapping[str, RouteSettings]) -> dict[str, str]:
    names = {name: name for name in routes if "*" not in name}
    for name, route in routes.items():
        names |= dict.fromkeys(route.aliases, name)
    return names


def _rule(said: RuleSettings) -> Rule:
    when = said.when
    return Rule(
        use=frozenset(said.use),
        headers=tuple((name.encode("latin-1"), value) for name, value in when.headers.items()),
        keys=frozenset(when.keys),
        tags=frozenset(when.tags),
    )


def _mirror(said: MirrorSettings | None) -> MirrorPolicy | None:
    return None if said is None else MirrorPolicy(said.to, said.share, said.max_in_flight)


def _fallback(said: str | FallbackSettings, route: RouteSettings) -> Fallback:
    model, triggers = (said, None) if isinstance(said, str) else (said.route, said.fallback_on)
    triggers = triggers or route.fallback_on
    return Fallback(model, _kinds(triggers), is_explicit=triggers != ["failure"])


def _kinds(triggers: Sequence[Trigger]) -> frozenset[FailureKind]:
    kinds: set[FailureKind] = set()
    for trigger in triggers:
        if trigger == "failure":
            kinds |= ANY_FAILURE
        elif trigger == "any":
            kinds |= set(FailureKind) - {FailureKind.CANCELLED}
        else:
            kinds.add(FailureKind(trigger))
    return frozenset(kinds)
