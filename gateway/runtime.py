"""The composition root: everything that serves requests, built from settings in one place."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from gateway.access.guesses import Guesses
from gateway.access.keys import KeyCheck, client_keys, guessable
from gateway.access.premises import ALONE, Standing
from gateway.books import Books
from gateway.credentials.logins import Logins
from gateway.credentials.resolve import is_local_host
from gateway.credentials.scrub import Scrubber
from gateway.credentials.urls import passwords_in
from gateway.domain import ProviderSpec
from gateway.engine.attempt import Attempter
from gateway.engine.content import Keeper
from gateway.engine.cost import Prices
from gateway.engine.executor import Executor
from gateway.engine.gate import Gate
from gateway.engine.mirror import Mirror
from gateway.engine.news import News
from gateway.engine.settle import Settler
from gateway.errors import UnknownModel
from gateway.plugins.hooks import Hooks
from gateway.plugins.loading import load_plugins
from gateway.registry.adapters import ADAPTERS
from gateway.registry.assembly import build_catalogue
from gateway.registry.catalogue import Catalogue
from gateway.registry.discovery import Discovery, Probe
from gateway.registry.probing import Prober
from gateway.registry.provider import DEMO, DEMO_MODEL
from gateway.registry.routes import RouteBook
from gateway.registry.strictness import warnings_of
from gateway.registry.warming import warm
from gateway.routing.deployment import Deployment
from gateway.routing.route import Route
from gateway.routing.router import Router
from gateway.secret import Secret
from gateway.settings.model import Settings
from gateway.settings.secrets import secrets_in
from gateway.shared import Ear, shared_after
from gateway.storage.factory import data_directory
from gateway.telemetry.series import MAX_SERIES
from gateway.transport.base import Transport
from gateway.transport.builtin import BuiltinTransport
from gateway.transport.echo import EchoTransport

_DRAIN_SECONDS: Final = 3.0
"""How long a start waits until what the process before it wrote down counts against budgets."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One line of GET /v1/models."""

    id: str
    owner: str


class Runtime:
    """Routes, providers, transports and what counts them, for one configuration."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        chance: Callable[[], float] = random.random,
        before: Runtime | None = None,
        standing: Standing = ALONE,
    ) -> None:
        """Raises ConfigError; opens no connection yet. `chance` gives numbers from 0 to 1.

        `before` is the runtime that this one is to replace: what may go on is shared with it, and nothing that it sees
        is changed before `take_over`. So this may run beside the event loop.
        """
        self.settings, self.standing = settings, standing
        self.plugins = load_plugins(settings.plugins, ADAPTERS, before.plugins if before else None)
        self.catalogue = self._catalogue(environ, before)
        self.scrubber = Scrubber([*self.catalogue.secrets(), *_hidden(settings)])
        self.catalogue.watch(self.scrubber.add, self.scrubber.keep)
        if before:
            self.catalogue.inherit(before.catalogue)
        self.routes = RouteBook(
            settings, self.catalogue, show=self.scrubber.text, states=before.routes.states if before else None
        )
        self._of_credentials = warnings_of(settings, self.catalogue, self.routes)
        self.shared = shared_after(before.shared if before else None, settings, environ)
        self.keys = self._key_check(before)
        self._take_shared()
        self.admin_key = settings.admin.key
        """What the admin API demands."""
        self._build_news()
        self._build_router(chance)
        self._build_engine(chance)
        self._background: list[asyncio.Task[None]] = []
        self._is_closed = False
        if before is None:
            self._begin()

    @property
    def books(self) -> Books:
        """What every request is recorded in."""
        return self.shared.books.thing

    def _key_check(self, before: Runtime | None) -> KeyCheck:
        """Returns what knows clients by their keys; a reload that leaves the limit of wrong ones forgets none."""
        limit = self.settings.server.bad_keys_per_minute
        known = before.keys.guesses if before else None
        return KeyCheck(
            client_keys(self.settings.server.api_keys),
            self.shared.stored.thing.picture,
            known if known is not None and known.per_minute == limit else Guesses(limit, clock=time.monotonic),
            is_demanding=self.standing.demands_keys,
        )

    def _take_shared(self) -> None:
        """Names what outlives this runtime, and what is built on nothing else."""
        self._echo = EchoTransport()
        self.transport = self.shared.transport.thing
        self.control = self.shared.control.thing
        self.state = self.shared.line.thing.state
        self.access_log = self.shared.access_log.thing
        self.metrics = self.shared.metrics
        self.hooks = Hooks(self.plugins.hooks, failed=self.metrics.hook_failed)

    def _build_news(self) -> None:
        """Builds what hears of the deployments of the file, and tells of them."""
        self._prober = Prober(self.control, clock=time.monotonic)
        deployments = self._deployments_of_file()
        named = (each.name for route in self.settings.routes.values() for each in route.deployments if each.name)
        self._names = frozenset(islice((*(deployment.id for deployment in deployments), *named), MAX_SERIES))
        """Deployments that metrics tell apart."""
        self._ear = Ear(self.shared.line.thing)
        self.news = News(
            metrics=self.metrics,
            state=self._ear,
            keys=self.catalogue.keys,
            states_of=self.routes.find,
            deployments=deployments,
            owners=self._owners(deployments),
            clock=time.monotonic,
            ejected=self._prober.ejected,
        )

    def _build_router(self, chance: Callable[[], float]) -> None:
        """Builds what knows where a name leads, and says what is in the way."""
        self.router = Router(
            self.routes,
            known_names=lambda: (entry.id for entry in self.models()),
            show=self.scrubber.text,
            clock=time.monotonic,
            random=chance,
        )
        self.warnings = self._warnings()
        """What the operator should know: sentences without secrets."""
        self.discovery = Discovery(self.catalogue, self.control, changed=self._models_changed, ended=self._probe_ended)

    def _build_engine(self, chance: Callable[[], float]) -> None:
        """Builds what plays requests, and counts what they use."""
        self.executor = self._executor(chance)
        self.mirror = Mirror(
            router=self.router, executor=self.executor, random=chance, ended=self.metrics.mirrored
        )  # a copy is no client's request: it has no access record
        self.gate, self.settler = self._accounts()
        self.keeper = Keeper(self.scrubber.whole, self.settings.storage.max_content_bytes)

    def _catalogue(self, environ: Mapping[str, str], before: Runtime | None) -> Catalogue:
        directory = data_directory(self.settings.storage.directory, environ)
        self._logins = Logins(environ, directory, lambda: self.control, before=before._logins if before else None)
        known = before.catalogue.keys if before else None
        return build_catalogue(self.settings, environ, self.plugins, known, self._logins)

    def _executor(self, chance: Callable[[], float]) -> Executor:
        longest = self.settings.upstream.max_response_bytes
        attempter = Attempter(transport_for=self._transport_for, max_response_bytes=longest, clock=time.monotonic)
        return Executor(
            attempter=attempter,
            max_response_bytes=longest,
            clock=time.monotonic,
            random=chance,
            scrubber=self.scrubber,
            listen=self.news.hear,
        )

    def _accounts(self) -> tuple[Gate, Settler]:
        """Returns who takes what requests may need of limits and budgets, and who says what they used."""
        prices = Prices()
        gate = Gate(
            self.shared.admissions.thing,
            self.shared.stored.thing.spending.spent,
            self.shared.stored.thing.spending.reserved,
            prices=prices,
            wall=time.time,
            assumed_output_tokens=self.settings.access.assumed_output_tokens,
            refused=self.metrics.admission_refused,
        )
        return gate, Settler(prices=prices, show=self.scrubber.text)

    def secrets(self) -> Iterator[Secret]:
        """Yields all that are held for it: those of the settings, and those that providers are called with."""
        yield from (secret for _, secret in secrets_in(self.settings))
        yield from self.catalogue.secrets()

    def take_over(self, before: Runtime) -> None:
        """Takes the place of the runtime that this one was built after: from now on metrics and replicas mean this."""
        self.shared.take(before.shared)
        self.news.inherit(before.news)
        self.routes.states.turn(self.routes.policy)
        self.discovery.hosted_due = before.discovery.hosted_due
        self._begin()

    def _begin(self) -> None:
        self._ear.listen()
        self.metrics.follow(connections=self._connections, resting=self.news.resting)
        admissions = self.shared.admissions.thing
        self.metrics.follow_limits(lambda: admissions.trouble)
        self._models_changed()

    def models(self) -> list[ModelEntry]:
        """Returns every public name that can be listed: routes first, then providers' models by provider."""
        entries = [ModelEntry(name, "anyport") for name in self.routes.names]
        for provider in self.catalogue:
            spec = provider.spec
            listed = self.catalogue.listing.models.get(spec.id, ())
            entries += [ModelEntry(public_name(spec, model), spec.id) for model in listed]
        if entries or self.catalogue.ready():
            return entries  # a client that takes the first model must not talk to the echo by mistake
        return [ModelEntry(DEMO_MODEL, DEMO)]

    async def start(self) -> None:
        """Starts the background work; returns when it is known who may call, or that storage does not answer."""
        settings = self.settings
        if settings.discovery.enabled:
            looking = self.discovery.run(settings.discovery.interval_seconds)
            self._background.append(asyncio.create_task(looking, name="discovery"))
        if settings.health.probe_seconds is not None:
            probing = self._prober.run(settings.health.probe_seconds)
            self._background.append(asyncio.create_task(probing, name="prober"))
        if settings.upstream.warmup:
            warming = warm(self.transport, self._places(), settings.upstream.connect_seconds)
            self._background.append(asyncio.create_task(warming, name="warming"))
        await self.shared.line.thing.start()
        await self.shared.admissions.thing.start()
        stored = self.shared.stored.thing
        await stored.picture.start()
        self.books.start()
        if stored.picture.budgeted():
            await self.books.drain(_DRAIN_SECONDS)
        await stored.spending.start(self.books.have_caught_up)

    async def rest(self) -> None:
        """Ends the background work: requests go on, but another runtime looks around now."""
        background, self._background = self._background, []
        for task in background:
            task.cancel()
        if background:
            await asyncio.wait(background)

    async def aclose(self) -> None:
        """Ends the background work and closes what no other runtime uses; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        await self.rest()
        await self.mirror.aclose()
        await self._logins.finish()
        await self.shared.release()

    def is_served(self, model: str) -> bool:
        """Returns whether a request for this public name would find a deployment."""
        try:
            self.router.chain(model)
        except UnknownModel:
            return False
        return True

    def _warnings(self) -> list[str]:
        """Says which providers and deployments cannot be used, and why; the others are served all the same."""
        found = [f"{name}: {problem}" for name, problem in self.catalogue.problems.items()]
        found += [f"{p.spec.id}: {p.warning}" for p in self.catalogue.ready() if p.warning]
        found += self._of_credentials
        for provider in self.catalogue:
            if is_local_host(provider.base_url) and provider.base_url_port == self.settings.server.port:
                found.append(
                    f"{provider.spec.id}: its base URL {provider.base_url} (from {provider.base_url_source}) is this "
                    "gateway's own address; requests for it would come back here"
                )
        return [*found, *guessable(self.settings), *self.settings.warnings]

    def _transport_for(self, deployment: Deployment) -> Transport:
        return self._echo if deployment.provider == DEMO else self.transport

    def _models_changed(self) -> None:
        self.router.forget()
        labels = {provider.spec.id: provider.spec.label or provider.spec.id for provider in self.catalogue}
        mirrors = [route.mirror.to for route in self.settings.routes.values() if route.mirror]
        models = [DEMO_MODEL, *(entry.id for entry in self.models()), *mirrors]
        self.metrics.set_names(models=models, providers=labels, deployments=self._names)

    def _deployments_of_file(self) -> list[Deployment]:
        """Returns every usable deployment that a route names in full."""
        routes = [self.routes.route(name, "") for name in self.settings.routes if "*" not in name]
        return [deployment for route in routes if isinstance(route, Route) for deployment in route.deployments]

    def _places(self) -> Iterator[tuple[ProviderSpec, str]]:
        """Yields the base URLs that requests can be expected for."""
        for each in self._deployments_of_file():
            if each.provider != DEMO:
                yield each.key_ring.spec, each.target.base_url
        yield from ((provider.spec, provider.base_url) for provider in self.catalogue.ready())

    def _owners(self, deployments: Sequence[Deployment]) -> dict[str, str]:
        """Returns whose each key is, by its fingerprint."""
        rings = [(provider.spec.id, provider.key_ring) for provider in self.catalogue]
        rings += [(deployment.provider, deployment.key_ring) for deployment in deployments]
        states = ((name, state) for name, ring in rings for key in ring.keys for state in (key.account, key.state))
        return {state.fingerprint: name for name, state in states}

    def _probe_ended(self, probe: Probe) -> None:
        self.metrics.discovery_ended(
            probe.provider.spec.id,
            ok=probe.status == "ok",
            models=len(probe.models),
            seconds=probe.seconds,
        )

    def _connections(self) -> Mapping[tuple[str, str], int]:
        """Open upstream connections by (provider, state), for metrics."""
        if not isinstance(self.transport, BuiltinTransport):
            return {}
        owners = {origin_of(provider.base_url): provider.spec.id for provider in self.catalogue}
        counts: dict[tuple[str, str], int] = {}
        for origin, (opened, idle, waiting) in self.transport.stats().items():
            provider = owners.get(origin, "other")
            for state, number in (("active", opened - idle), ("idle", idle), ("waiting", waiting)):
                counts[provider, state] = counts.get((provider, state), 0) + number
        return counts


def public_name(spec: ProviderSpec, model: str) -> str:
    """Returns the name under which a provider's model is served."""
    return f"{spec.id}/{model}"


def origin_of(url: str) -> str:
    """Returns scheme, host and port of a URL."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def _hidden(settings: Settings) -> Iterator[Secret]:
    """Yields what of the settings no text may show; of a URL that is its password alone."""
    for path, secret in secrets_in(settings):
        if path in ("state.url", "storage.url"):
            yield from passwords_in(secret.reveal())
        else:
            yield secret
