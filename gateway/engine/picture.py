"""A copy of everything live that one request would touch, so that it can be played without changing anything.

The copies hold placeholders instead of secrets: what is played with them can give nothing away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from adapters.failures import Failure
from adapters.types import Headers, HttpRequest
from gateway.credentials.keyring import Key, KeyRing, KeyState
from gateway.credentials.scrub import MASK
from gateway.domain import AuthScheme
from gateway.engine.rehearsal import rehearsing
from gateway.health.vitals import Vitals
from gateway.routing.deployment import Deployment
from gateway.routing.route import Memory, Route
from gateway.routing.router import Chain
from gateway.secret import Secret

T = TypeVar("T")
_TELLING: Final = ("auth", "cookie", "credential", "key", "password", "secret", "signature", "token")
"""What is in the name of a header that holds a secret."""


class Copies:
    """Makes one copy of each thing: what two routes share, their copies share, too."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[object, object]] = {}

    def chain(self, chain: Chain) -> Chain:
        """Returns a chain that means the same, with a live state of its own."""
        links = [(self._route(route), fallback) for route, fallback in chain.links]
        return Chain(chain.shown, chain.kind, self._route(chain.route), links)

    def _route(self, route: Route) -> Route:
        deployments = tuple(self._once(each, self._deployment) for each in route.deployments)
        return replace(route, deployments=deployments, memory=self._once(route.memory, Memory.copy))

    def _deployment(self, deployment: Deployment) -> Deployment:
        ring = self._once(deployment.key_ring, self._ring)
        vitals = self._once(deployment.vitals, Vitals.copy)
        return replace(rehearsing(deployment), vitals=vitals, key_ring=ring)

    def _ring(self, ring: KeyRing) -> KeyRing:
        twin = ring.copy(lambda state: self._once(state, KeyState.copy))
        twin.keys = tuple(Key(key.account, key.state, _placeholder(ring, key), key.number) for key in twin.keys)
        twin.also = tuple((scheme, Secret(MASK)) for scheme, _ in ring.also)
        twin.signer = None if ring.signer is None else _Placeholder(ring.signer.source)
        return twin

    def _once(self, original: T, copy: Callable[[T], T]) -> T:
        # The original is kept as well: an id is that of one object only as long as it lives.
        found = self._made.get(id(original))
        if found is None:
            found = self._made[id(original)] = (original, copy(original))
        return found[1]  # pyright: ignore[reportReturnType]


def masked(headers: Headers, ring: KeyRing) -> Headers:
    """Returns the headers of a request that a copy of `ring` has authenticated, with one mask for every credential.

    A header of the file's own may hold one as well, in a variable: its name tells.
    """
    begun = [beginning + MASK for scheme in _schemes(ring) for beginning, _ in scheme.by_prefix]
    return tuple((name, _masked(name, value, begun)) for name, value in headers)


def _masked(name: str, value: str, begun: list[str]) -> str:
    if MASK not in value and any(hint in name for hint in _TELLING):
        return MASK
    for placeholder in begun:
        value = value.replace(placeholder, MASK)
    return value


def _schemes(ring: KeyRing) -> list[AuthScheme]:
    return [] if ring.spec.auth is None else [ring.spec.auth]


def _placeholder(ring: KeyRing, key: Key) -> Secret | None:
    """Returns what stands for a secret; how it begins decides by which header it goes, so that is kept until then."""
    if key.secret is None:
        return None
    for scheme in _schemes(ring):
        for beginning, _ in scheme.by_prefix:
            if key.secret.reveal().startswith(beginning):
                return Secret(beginning + MASK)
    return Secret(MASK)


class _Placeholder:
    """Takes the place of a signer, which would fetch a token or sign with a secret (credentials.sign.Signer)."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.secrets: tuple[Secret, ...] = ()

    def watch(self, learn: Callable[[Secret], None]) -> None:
        """There is nothing to be learned."""

    async def sign(self, request: HttpRequest) -> Headers:
        """Returns a credential that is none."""
        return (("authorization", MASK),)

    def refused(self, headers: Headers, failure: Failure) -> bool:
        """Returns False: nothing else can be had here."""
        return False
