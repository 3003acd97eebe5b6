"""A deployment: one concrete thing that can be called."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Final

from adapters.types import Adapter, Operation, Target
from gateway.credentials.keyring import KeyRing
from gateway.domain import Price
from gateway.health.vitals import HealthPolicy, Vitals
from gateway.transport.base import Timeouts


@dataclass(frozen=True, slots=True)
class Limit:
    """Seconds, and the setting that says so."""

    seconds: float
    setting: str
    missed: str = "the request did not end"
    """What has not happened by then, for the message."""


STREAM_TIMEOUTS: Final = Timeouts()
ANSWER_TIMEOUTS: Final = Timeouts(head=300, head_setting="upstream.answer_seconds")


@dataclass(frozen=True, slots=True)
class Waits:
    """How long one deployment is waited for."""

    stream: Timeouts = STREAM_TIMEOUTS
    """Phases of a stream; `idle` counts between two pieces with content."""
    answer: Timeouts = ANSWER_TIMEOUTS
    """Phases of an answer in one piece."""
    first_token: Limit = Limit(120, "upstream.first_token_seconds")
    attempt: Limit = Limit(inf, "")
    """One attempt, from beginning to end."""
    pace: Limit = Limit(0, "")
    """Fewest bytes of a body per second; 0 for any."""


DEFAULT_WAITS: Final = Waits()


@dataclass(frozen=True, slots=True)
class Deployment:
    """Provider, upstream model, base URL and key ring, and what a route says of them."""

    id: str
    """Its name in the route, or `provider/model`; shown to clients and in metrics, holds no secret."""
    provider: str
    target: Target
    adapter: Adapter
    key_ring: KeyRing
    vitals: Vitals = field(default_factory=lambda: Vitals(HealthPolicy()))
    waits: Waits = DEFAULT_WAITS
    weight: float = 1.0
    order: int = 0
    tags: frozenset[str] = frozenset()
    supports: frozenset[str] | None = None
    """What requests may use; None for everything."""
    context_window: int | None = None
    """Tokens of prompt and answer together; None if nobody knows."""
    price: Price | None = None
    """As it was known when the route was made: to compare by."""
    is_price_own: bool = False
    """The route says so, whatever is known of the model."""
    is_limited: bool = False
    """Whether it is given only so many tokens, so that those of a request have to be estimated."""

    def offers(self, operation: Operation) -> bool:
        """True unless the protocol has no such operation, or this provider no path for it."""
        adapter = self.adapter
        return operation in adapter.operations and (operation in self.target.paths or operation not in adapter.paths)
