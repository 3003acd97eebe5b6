"""May a request go: checks of limits and budgets, the answer to all of them, and the interface of whoever counts.

Theory. A rate is a bucket that leaks (GCRA in other words): what is taken fills it, time empties it at the limit's
pace, and full is one minute's worth. One token is `UNIT` in it, so that a millisecond lets out exactly `limit`, and
everything is integers. A budget is what was spent, which the ledger knows and a counter knows sooner, and what is held
for requests under way at the most that they may cost. The larger of the two figures of what was spent counts: both are
true, neither is complete, and added they would count twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import force_setattr

UNIT: Final = 60_000
"""What one request or token is in a bucket: the milliseconds of a minute."""
MAX_RATE: Final = 10**11
"""The largest limit for a minute, and the most that one request takes of it."""
MAX_NANO_USD: Final = 9 * 10**15
"""The largest budget, 9 million dollars: numbers of Redis's scripts are exact up to 2^53."""
MAX_IN_FLIGHT: Final = 10**9


class Kind(StrEnum):
    """What a check counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    IN_FLIGHT = "in_flight"
    BUDGET = "budget"


_LARGEST: Final = {
    Kind.REQUESTS: MAX_RATE,
    Kind.TOKENS: MAX_RATE,
    Kind.IN_FLIGHT: MAX_IN_FLIGHT,
    Kind.BUDGET: MAX_NANO_USD,
}


class Check(Struct, frozen=True):
    """One limit of one owner, and what a request takes of it; an owner has one of each kind and window at most."""

    kind: Kind
    owner: str
    """Such as `key:ID`; the same in all replicas."""
    limit: int
    """For a minute, at the same time, or in nano-dollars."""
    amount: int = 1
    """Tokens as estimated, nano-dollars at worst."""
    window: str = ""
    """Of a budget: the name of its time, such as `2026-11`."""
    spent_nano_usd: int = 0
    """Of a budget: what the ledger knows, which may be behind."""
    seconds_left: float | None = None
    """Of a budget: until its window ends, None if that never does."""
    reserved_nano_usd: int = 0
    """Of a budget: what was admitted before, and whose cost is not known yet; requests can have what is beside it."""
    label: str = ""
    """The owner, for people."""
    whole: int = 0
    """The limit of all replicas, where `limit` is the share of one; 0 where it is the whole one."""
    name: str = ""
    """Made here: what its counter is called, wherever it is."""
    take: int = 0
    """Made here: what the request takes, in the counter's own unit."""
    capacity: int = 0
    """Made here: how far the counter goes."""

    def __post_init__(self) -> None:
        largest = _LARGEST[self.kind]
        if not (0 <= self.limit <= largest and self.amount >= 0):
            raise ValueError(
                f"{self.kind} of {self.owner}: limit {self.limit}, amount {self.amount}; up to {largest} can be counted"
            )
        # Asked for again and again while one request is decided.
        name = f"{self.kind.value}:{self.owner}"
        force_setattr(self, "name", f"{name}:{self.window}" if self.window else name)
        force_setattr(self, "take", in_units(self.kind, self.amount))
        free = max(0, self.limit - self.reserved_nano_usd)
        force_setattr(self, "capacity", self.limit * UNIT if is_rate(self.kind) else free)


class Filled(Struct, frozen=True):
    """How far a rate is filled, as one replica knows it."""

    name: str
    """Of its counter."""
    limit: int
    level: int
    """When the counter of all was last heard of, less what has leaked since."""
    alone: int
    """What was taken without it since, of which nobody else knows."""

    @property
    def share(self) -> float:
        """How full it is; 0 if it is empty."""
        return (self.level + self.alone) / self.limit if self.limit else 0.0


class Charges(Struct, frozen=True):
    """What a request really took."""

    tokens: int = 0
    nano_usd: int = 0


class Figure(Struct, frozen=True):
    """How it stands with one check after the answer."""

    check: Check
    remaining: int
    """Never below zero."""
    reset_seconds: float | None
    """Until all of it is there again; None if no time brings that."""


class Admission(Struct, frozen=True):
    """The answer: all was taken, or nothing."""

    checks: tuple[Check, ...] = ()
    levels: tuple[int, ...] = ()
    """How far each counter is filled after the answer."""
    refused: Check | None = None
    """The check that refuses; of several, the one with the longest wait."""
    wait_seconds: float | None = None
    """Of a refusal: when it may go; None if waiting is of no use."""
    remaining: int = 0
    """Of a refusal: what that check still has."""
    is_passing: bool = False
    """Of a refused budget: only what requests under way hold is in the way, or that we decide alone."""
    is_unavailable: bool = False
    """Refused since the shared counters are away, and the operator wants no guess."""

    @property
    def figures(self) -> tuple[Figure, ...]:
        """How it stands with each check, in their order."""
        return tuple(figure_of(check, level) for check, level in zip(self.checks, self.levels, strict=True))

    @property
    def is_admitted(self) -> bool:
        """Whether the request may go, and its lease is held."""
        return self.refused is None


class Admissions(Protocol):
    """Counts what owners use, on one event loop; alone, or together with other replicas."""

    async def admit(self, lease: str, checks: Sequence[Check]) -> Admission:
        """Takes what all checks want, or nothing; raises ValueError for a lease that is held already.

        The name of a lease is used once, and only in this process. Waits for at most 80 ms. A call that is cancelled
        holds nothing.
        """
        ...

    def hold(self, lease: str, checks: Sequence[Check]) -> None:
        """Takes what was admitted by somebody else, without a question; none of the checks is a rate. Never waits."""
        ...

    def settle(self, lease: str, charges: Charges) -> None:
        """Corrects what was taken by what was used, and ends the lease; never waits.

        It counts once: of a lease that is not held there is nothing to do.
        """
        ...

    def release(self, lease: str) -> None:
        """Gives all back, except that a request was made."""
        ...

    async def start(self) -> None:
        """Begins to talk to others in the background, if there are any."""
        ...

    async def aclose(self) -> None:
        """Tells the others what they do not know yet, for a moment, and ends the connection."""
        ...

    @property
    def trouble(self) -> str:
        """What keeps the replicas from counting together; empty if nothing does."""
        ...


def is_rate(kind: Kind) -> bool:
    """Whether it is counted for a minute."""
    return kind is Kind.REQUESTS or kind is Kind.TOKENS


def in_units(kind: Kind, amount: int) -> int:
    """Returns an amount as counters of that kind have it; what is more than any limit is one more than that."""
    if is_rate(kind):
        return min(amount, MAX_RATE + 1) * UNIT
    return min(amount, MAX_NANO_USD + 1)


def used(check: Check, charges: Charges) -> int:
    """Returns what a request really took of a check, in the counter's unit; a request stays a request."""
    if check.kind is Kind.TOKENS:
        return in_units(check.kind, max(0, charges.tokens))
    if check.kind is Kind.BUDGET:
        return in_units(check.kind, max(0, charges.nano_usd))
    return check.take if check.kind is Kind.REQUESTS else 0


def judged(checks: Sequence[Check], levels: Sequence[int], held: Sequence[int]) -> Admission:
    """Returns the answer for counters that stood at `levels` before; requests under way hold `held` of budgets."""
    worst: tuple[float, Check, int, bool] | None = None
    filled: list[int] = []
    for check, level, under_way in zip(checks, levels, held, strict=True):
        after = level + check.take
        filled.append(after)
        if after > check.capacity:
            # What is not ours of the whole while we are alone may be so in a moment.
            # So is what is reserved: it is held by requests, too, only longer.
            is_passing = check.kind is Kind.BUDGET and after - under_way <= max(check.limit, check.whole)
            wait = _PASSING_SECONDS if is_passing else _wait_seconds(check, level)
            if worst is None or wait > worst[0]:
                worst = (wait, check, level, is_passing)
    if worst is None:
        return Admission(tuple(checks), tuple(filled))
    wait, refused, level, is_passing = worst
    return Admission(
        tuple(checks),
        tuple(levels),
        refused,
        None if wait == _NEVER else wait,
        _remaining(refused, level),
        is_passing=is_passing,
    )


_NEVER: Final = float("inf")
_PASSING_SECONDS: Final = 1.0
"""Nobody knows when a request ends, and gives back its place and what it holds."""


def _wait_seconds(check: Check, level: int) -> float:
    if check.take > check.capacity:
        return _NEVER
    if is_rate(check.kind):
        return -(-(level + check.take - check.capacity) // check.limit) / 1000
    if check.kind is Kind.IN_FLIGHT:
        return _PASSING_SECONDS
    return _NEVER if check.seconds_left is None else check.seconds_left


def _remaining(check: Check, level: int) -> int:
    left = max(0, check.capacity - level)
    return left // UNIT if is_rate(check.kind) else left


def figure_of(check: Check, level: int) -> Figure:
    """Returns how it stands with a check whose counter is filled to `level`."""
    reset = check.seconds_left
    if is_rate(check.kind) and check.limit:
        reset = -(-level // check.limit) / 1000
    return Figure(check, _remaining(check, level), reset)
