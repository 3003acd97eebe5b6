"""What replicas tell each other, as one interface: so far, which keys and deployments have to rest and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from adapters.failures import FailureKind

Scope = Literal["key", "deployment"]

MAX_SECONDS: Final = 86_400.0
"""The longest rest that is believed."""
MAX_ID_CHARS: Final = 512


@dataclass(frozen=True, slots=True)
class CoolDown:
    """A key or a deployment has to rest."""

    scope: Scope
    id: str
    """The same in every replica, up to 512 printable characters; a fingerprint, since it is stored and told around."""
    seconds: float
    """How long from now. Clocks of machines differ, so that no moment is told."""
    reason: FailureKind


Apply = Callable[[CoolDown], None]


class State(Protocol):
    """Tells the other replicas, and hears them; used on one event loop.

    No request ever waits for it. Without its server every replica goes on with what it knows by itself.
    """

    def publish(self, cool_down: CoolDown) -> None:
        """Tells the other replicas, as soon as that is possible; never blocks, never raises.

        Of several for one id the one that ends last counts. What nobody could believe is not told.
        """
        ...

    def subscribe(self, apply: Apply) -> None:
        """Has `apply` called with what other replicas tell, and at a connection with what is resting by then.

        It is not called for what this replica published itself, and must neither raise nor publish that again.
        """
        ...

    async def start(self) -> None:
        """Begins to tell and hear in the background; returns at once, whether anybody is there or not."""
        ...

    async def aclose(self) -> None:
        """Ends the background work and its connections."""
        ...

    @property
    def status(self) -> str:
        """What people should know: where the state is, and what is wrong with that, if anything."""
        ...


def is_believable(cool_down: CoolDown) -> bool:
    """Returns whether every replica would obey this."""
    id = cool_down.id
    # NaN compares as false.
    return 0 < cool_down.seconds <= MAX_SECONDS and 0 < len(id) <= MAX_ID_CHARS and id.isprintable()
