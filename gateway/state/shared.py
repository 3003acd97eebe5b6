"""Limits and budgets that replicas count together in Redis, and what each of them does while it is away.

Theory. Alone, a replica has its share of every rate, of the requests at the same time, and of what is left of a budget:
by the ledger's figure, what it spent itself since, and what it holds, and no more than was left when it last heard of
the others. So it keeps that picture at all times. It greets a server with what it holds, which counts once for each
lease; one that knows nothing of it was emptied, and is told, too, what the ledger may not know yet. Such a server is
asked once all that were there have greeted it, or had the time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Final, cast

from gateway.state.admission import Admission, Charges, Check, Kind, is_rate, judged
from gateway.state.counters import Counters
from gateway.state.lane import DEFAULT_PACE, Answer, Lane, Pace, Standing
from gateway.state.redis import Client
from gateway.state.scripts import Command, Scripts

PLACE_SECONDS: Final = 60.0
"""A place of a replica that died is free after this; a living one renews its own."""
LEASE_SECONDS: Final = 3600.0
"""A replica that died holds money no longer than this; the ledger knows by then what was spent."""
LEDGER_SECONDS: Final = 3.0
"""The ledger's figure has what was spent before that, as long as storage is there."""
_SEEN_SECONDS: Final = 10.0
"""A replica that gave no sign of life for this long counts no more."""
_RENEWED_AT_ONCE: Final = 500
_UNAVAILABLE_SECONDS: Final = 1.0
_BEATS_TO_WAIT: Final = 2
"""For replicas to come back to a server that was emptied: each tries once in a beat."""


class SharedCounters:
    """Counts with the other replicas at one Redis server."""

    def __init__(
        self,
        connect: Callable[[], Client],
        place: str,
        *,
        scripts: Scripts,
        clock: Callable[[], float],
        closed: Collection[Kind] = (),
        pace: Pace = DEFAULT_PACE,
        place_seconds: float = PLACE_SECONDS,
        ledger_seconds: float = LEDGER_SECONDS,
    ) -> None:
        """Checks of `closed` kinds refuse while the server is away."""
        self._lane = Lane(
            connect,
            place,
            scripts=scripts.all,
            first=self._first,
            beat=self._beat,
            heard=self._hear,
            clock=clock,
            pace=pace,
        )
        self._scripts = scripts
        self._clock = clock
        self._closed = frozenset(closed)
        self._own = Counters(clock, ledger_seconds=ledger_seconds)
        self._leases: dict[str, Sequence[Check]] = {}
        """Those that the server may know of."""
        self._replicas = self._seen = 1
        self._beat_seconds = pace.beat_seconds
        self._complete_at: float | None = None
        """Until then a server that was emptied waits for the other replicas."""
        self._ledger_seconds = ledger_seconds
        self._renew_seconds = place_seconds / 4
        self._renewed = clock()

    @property
    def trouble(self) -> str:
        """What keeps the replicas from counting together; empty if nothing does."""
        return self._lane.trouble

    @property
    def replicas(self) -> int:
        """How many there were lately, with this one."""
        return self._replicas

    async def start(self) -> None:
        """Connects in the background; waits a moment for a server that is there."""
        await self._lane.start()

    async def aclose(self) -> None:
        """Sends what was settled, for a moment, and ends the connection."""
        await self._lane.aclose()

    async def admit(self, lease: str, checks: Sequence[Check]) -> Admission:
        """Asks the server, and decides alone where it says nothing in time."""
        if lease in self._leases:
            raise ValueError(f"lease {lease} is held already; every admission needs one of its own")
        if not checks:
            return Admission()
        if self._lane.is_away:
            return self._decide_alone(lease, checks)
        self._leases[lease] = checks
        try:
            answer = await self._lane.ask(self._scripts.admission(lease, checks, self._own.spent_nano_usd))
        except BaseException:  # it may have been taken, and nobody will settle it
            self.release(lease)
            raise
        if not answer:
            if answer is not None:
                self._lane.renew()
            return self._decide_alone(lease, checks)
        is_taken, *figures = cast("list[int]", answer)
        levels, held = figures[: len(checks)], figures[len(checks) :]
        if is_taken:
            self._own.hold(lease, [check for check in checks if not is_rate(check.kind)])
        else:
            del self._leases[lease]
        admission = judged(checks, levels, held)
        self._own.hear(admission, self._replicas)
        return admission

    def hold(self, lease: str, checks: Sequence[Check]) -> None:
        """Takes what was admitted by somebody else, here and as soon as possible at the server."""
        self._own.hold(lease, checks)
        if not self._lane.is_away:
            self._tell_held(lease)

    def settle(self, lease: str, charges: Charges) -> None:
        """Corrects our own picture at once and the server's as soon as possible."""
        self._own.settle(lease, charges)
        checks = self._leases.pop(lease, None)
        if checks is not None:
            self._own.correct(checks, charges)
            self._lane.tell(self._scripts.settlement(lease, checks, charges))

    def release(self, lease: str) -> None:
        """Gives all back, except that a request was made."""
        self.settle(lease, Charges())

    def _decide_alone(self, lease: str, checks: Sequence[Check]) -> Admission:
        closed = next((check for check in checks if check.kind in self._closed), None)
        if closed is None:
            admission = self._own.decide(lease, [self._share(check) for check in checks])
        else:
            admission = Admission(refused=closed, wait_seconds=_UNAVAILABLE_SECONDS, is_unavailable=True)
        if not admission.is_admitted:
            self.release(lease)
        elif not self._lane.is_away:
            self._tell_held(lease)
        return admission

    def _share(self, check: Check) -> Check:
        return check if self._replicas == 1 else self._own.share(check, self._replicas)

    def _beat(self, is_first: bool) -> Sequence[Command]:
        places: list[tuple[str, str]] = []
        if self._clock() - self._renewed >= self._renew_seconds:
            self._renewed = self._clock()
            places = [
                (check.name, lease)
                for lease, checks in self._leases.items()
                for check in checks
                if check.kind is Kind.IN_FLIGHT
            ]
        parts = iter(places)
        part = list(islice(parts, _RENEWED_AT_ONCE))
        beats = [self._scripts.heartbeat(_SEEN_SECONDS, part, is_first=is_first)]
        while part := list(islice(parts, _RENEWED_AT_ONCE)):
            beats.append(self._scripts.heartbeat(_SEEN_SECONDS, part, is_first=is_first))
        return beats

    def _first(self, is_known: bool) -> Sequence[Command]:
        """Returns what a server is greeted with; what it knows of that counts no second time."""
        commands = [self._holding(lease) for lease in self._own.leases]
        if not is_known:
            if self._replicas > 1:
                self._complete_at = self._clock() + _BEATS_TO_WAIT * self._beat_seconds
            for check in self._own.lately():
                name = f"lately:{check.name}"
                life = self._ledger_seconds
                commands.append(self._scripts.holding(name, [check], self._own.spent_nano_usd, life_seconds=life))
            commands += self._scripts.filling(self._own.rates())
        return [command for command in commands if command is not None]

    def _hear(self, answers: Sequence[Answer], was_away: bool) -> Standing:
        """Takes in how many replicas there are, and says whether they are all."""
        there = cast("int", answers[0])
        if not there:
            return Standing.FORGOTTEN
        if self._complete_at is not None and there < self._replicas and self._clock() < self._complete_at:
            return Standing.WAITING
        self._complete_at = None
        # A server that was emptied knows the others only once they have found it, too: what is less counts later.
        self._replicas, self._seen = max(there, self._seen), there
        if was_away:
            for lease in self._own.leases:  # those, too, that were decided alone since the greeting
                self._tell_held(lease)
        return Standing.READY

    def _tell_held(self, lease: str) -> None:
        holding = self._holding(lease)
        if holding is not None:
            self._lane.tell(holding)

    def _holding(self, lease: str) -> Command | None:
        """Returns what says that a lease is held; of rates it may have taken nothing, and they stay as they are."""
        held = [check for check in self._leases.get(lease, self._own.leases[lease]) if not is_rate(check.kind)]
        if not held:
            return None
        self._leases[lease] = held
        return self._scripts.holding(lease, held, self._own.spent_nano_usd)
