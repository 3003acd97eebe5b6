"""What a public name means: its deployments and the policy among them; and the plan that one request gets of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Final

from msgspec import Struct

from adapters.failures import FailureKind
from adapters.types import Operation
from gateway.health.latency import Percentile
from gateway.routing.deployment import Deployment, Limit

OWN_FAULTS: Final = frozenset(
    {FailureKind.BAD_REQUEST, FailureKind.CONTEXT_LENGTH, FailureKind.CONTENT_FILTER, FailureKind.CANCELLED}
)
"""Failures of the request itself, which no other deployment of the same model would mend."""
ANY_FAILURE: Final = frozenset(FailureKind) - OWN_FAULTS
"""`fallback_on: failure`."""
NO_OPERATIONS: Final[frozenset[Operation]] = frozenset()
NO_HEADERS: Final[Mapping[bytes, bytes]] = {}


class Strategy(StrEnum):
    """Which deployment is tried first."""

    WEIGHTED = "weighted"
    ORDERED = "ordered"
    ROUND_ROBIN = "round_robin"
    LEAST_BUSY = "least_busy"
    LOWEST_LATENCY = "lowest_latency"
    LOWEST_COST = "lowest_cost"
    STICKY = "sticky"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how fast is tried again; `settings.RetrySettings` documents each."""

    attempts: int = 4
    per_deployment: int = 2
    backoff_seconds: float = 0.1
    max_backoff_seconds: float = 2.0
    max_wait_seconds: float = 10.0
    budget: float = 0.2
    budget_floor_per_second: float = 3.0


@dataclass(frozen=True, slots=True)
class Fallback:
    """A name that takes over, and after which failures."""

    model: str
    on: frozenset[FailureKind] = ANY_FAILURE
    is_explicit: bool = False
    """Single kinds were named: a context that is too long goes there even if nobody knows its window."""

    @property
    def may_begin(self) -> bool:
        """True if it also takes over where nothing before it could be asked."""
        return not self.on.isdisjoint(ANY_FAILURE)


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests that fit get only the deployments with one of these tags."""

    use: frozenset[str]
    headers: tuple[tuple[bytes, str], ...] = ()
    keys: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """When a second deployment is asked; None takes the route's own 95th percentile."""

    share: float
    after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class MirrorPolicy:
    """Where copies go, and how many."""

    model: str
    share: float
    max_in_flight: int


@dataclass(slots=True)
class Memory:
    """What a route remembers between requests."""

    owed: dict[str, float] = field(default_factory=dict[str, float])
    """Deployment -> turns that it has missed, for `round_robin`."""
    first_token: Percentile = field(default_factory=Percentile)
    answer: Percentile = field(default_factory=Percentile)
    hedge_credit: float = 0.0
    """Extra attempts that are paid for."""

    def copy(self) -> Memory:
        """Returns the same memory, apart from this one."""
        return Memory(dict(self.owed), self.first_token.copy(), self.answer.copy(), self.hedge_credit)


TOTAL: Final = Limit(600, "upstream.total_seconds")


@dataclass(frozen=True, slots=True)
class Route:
    """One public name: deployments, and the policy among them."""

    name: str
    deployments: tuple[Deployment, ...]
    strategy: Strategy = Strategy.ORDERED
    sticky_by: str = "prefix"
    rules: tuple[Rule, ...] = ()
    retry: RetryPolicy = RetryPolicy()
    total: Limit = TOTAL
    fallbacks: tuple[Fallback, ...] = ()
    goes_on_after_bad_request: bool = True
    max_ejected_share: float = 0.7
    hedge: HedgePolicy | None = None
    mirror: MirrorPolicy | None = None
    is_strict: bool = False
    memory: Memory = field(default_factory=Memory)
    lacking: tuple[tuple[str, str], ...] = ()
    """Deployments of the file that are not among `deployments`, and why they cannot be used."""
    is_level: bool = field(init=False)
    """No deployment comes after the others by its `order` or weight."""
    is_limited: bool = field(init=False)
    """The tokens of a request have to be estimated for it."""
    serves_all: frozenset[Operation] = field(init=False)
    """Operations for which every deployment can be asked, as long as the prompt is within `narrowest`."""
    narrowest: float = field(init=False)
    """The smallest context window of any deployment."""

    def __post_init__(self) -> None:
        """Works out what is asked for every request."""
        deployments = self.deployments
        is_picky = bool(self.rules) or any(each.supports is not None for each in deployments)
        common = frozenset(name for name in Operation if all(each.offers(name) for each in deployments))
        answers: dict[str, object] = {
            "is_level": all(each.weight and each.order == deployments[0].order for each in deployments),
            "is_limited": any(each.is_limited for each in deployments),
            "serves_all": NO_OPERATIONS if is_picky else common,
            "narrowest": min((each.context_window or inf for each in deployments), default=inf),
        }
        for name, answer in answers.items():
            object.__setattr__(self, name, answer)

    @property
    def is_plain(self) -> bool:
        """True if every request gets the same of it: one deployment of which nothing has to be asked."""
        first = self.deployments[0]
        return len(self.deployments) == 1 and not self.rules and first.supports is None and not first.is_limited


class Stage:
    """The deployments of one route in the order of one request; worked out when it is first asked for."""

    __slots__ = ("_candidates", "_order", "fallback", "route")

    def __init__(
        self,
        route: Route,
        order: Callable[[], Sequence[Deployment]] | None = None,
        *,
        fallback: Fallback | None = None,
        candidates: Sequence[Deployment] | None = None,
    ) -> None:
        self.route = route
        self.fallback = fallback
        """How the request gets here; None for the route that it asked for."""
        self._order = order
        self._candidates = candidates

    @property
    def candidates(self) -> Sequence[Deployment]:
        """The deployments, the one to be tried first in front; maybe none."""
        if self._candidates is None:
            self._candidates = self._order() if self._order else self.route.deployments
        return self._candidates


class Plan(Struct, frozen=True):
    """What one request may try, stage after stage."""

    model: str
    """The public name that the client wrote, fit to be recorded."""
    stages: tuple[Stage, ...]
    is_strict: bool = False
    """What would lose a field of the request is refused."""
    tokens: int = 0
    """What the request is expected to cost at most, where a deployment's limits or window ask for it."""

    @property
    def route(self) -> Route:
        """The route that the client asked for; its policy holds for the whole request."""
        return self.stages[0].route

    @property
    def first(self) -> Deployment:
        """The deployment that is tried first if nothing is in its way."""
        for stage in self.stages:
            if candidates := stage.candidates:
                return candidates[0]
        raise ValueError("a plan has a candidate")
