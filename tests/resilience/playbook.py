"""A language for plays: what the planner is expected to do next, what becomes of it, and so on, on a clock of its own.

    play(a, b) << tries("a") >> fails(K.SERVER) << tries("b") >> works

What stands behind `<<` is expected of the planner, what stands behind `>>` happens. A try of which nothing is said
after it goes on. Everything that happens has its consequences, as in the engine, so plays with common deployments share
a world: give them the same clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import pytest

from adapters.failures import Failure, FailureKind
from gateway.resilience import consequences
from gateway.resilience.consequences import Event, Running
from gateway.resilience.planner import AttemptPlanner
from gateway.resilience.steps import GiveUp, Try, Wait
from gateway.routing.deployment import Deployment, Limit
from gateway.routing.route import Plan, Stage
from tests.resilience.scenery import stage


@dataclass(slots=True)
class Clock:
    """Monotonic seconds that pass only when a play says so."""

    now: float = 1000.0


@dataclass(frozen=True, slots=True)
class Tries:
    """The planner is to try this; what is None may be anything."""

    deployment: str
    key: int | None = None
    fresh: bool = False
    charged: str | None = None
    reason: str | None = None

    def check(self, step: Try | Wait | GiveUp) -> None:
        assert isinstance(step, Try), f"expected a try of {self.deployment}, not {step}"
        assert (step.deployment.id, step.fresh) == (self.deployment, self.fresh)
        assert self.key in (None, step.key.number)
        if self.charged is not None:
            assert self.charged == (step.charged.id if step.charged else "")
        assert self.reason in (None, step.reason)


@dataclass(frozen=True, slots=True)
class Waits:
    """The planner is to wait, for exactly so long, which then passes."""

    seconds: float

    def check(self, step: Try | Wait | GiveUp) -> None:
        assert isinstance(step, Wait), f"expected a wait of {self.seconds} s, not {step}"
        assert step.seconds == pytest.approx(self.seconds, abs=1e-6)


@dataclass(frozen=True, slots=True)
class GivesUp:
    """The planner is to end it, with this for the client; `wait` is its retry_after, 0 for none."""

    kind: FailureKind | None
    at: str | None = None
    wait: float | None = None
    says: str = ""
    over_budget: bool | None = None

    def check(self, step: Try | Wait | GiveUp) -> None:
        assert isinstance(step, GiveUp), f"expected the end, not {step}"
        assert (step.failure.kind if step.failure else None) is self.kind
        assert self.at in (None, step.deployment)
        if self.wait is not None:
            assert step.failure is not None
            assert (step.failure.retry_after or 0) == pytest.approx(self.wait, abs=1e-6)
        assert self.says in (step.failure.message if step.failure else "")
        assert self.over_budget in (None, step.is_over_budget)


class Play:
    """One request: a planner, the state of what it may try, and a clock."""

    def __init__(self, plan: Plan, *, clock: Clock, seconds: float, chance: float) -> None:
        self.clock = clock
        self.planner = AttemptPlanner(
            plan, clock.now + seconds, Limit(seconds, "upstream.total_seconds"), lambda: chance
        )
        self.events: list[Event] = []
        self.open: list[tuple[Try, Running]] = []

    def __lshift__(self, expected: Tries | Waits | GivesUp) -> Self:
        step = self.planner.next(self.clock.now)
        expected.check(step)
        if isinstance(step, Try):
            self.begin(step)
        elif isinstance(step, Wait):
            self.clock.now += step.seconds
        return self

    def __rshift__(self, happens: Callable[[Self], object]) -> Self:
        happens(self)
        return self

    def begin(self, step: Try) -> None:
        running = consequences.begin(
            step.deployment,
            step.key,
            self.clock.now,
            is_first=step.is_first,
            charged=step.charged,
            tokens=self.planner.plan.tokens,
        )
        self.open.append((step, running))

    def last(self) -> tuple[Try, Running]:
        return self.open.pop()

    def over(self, running: Running) -> None:
        consequences.end(running, self.clock.now)


What = Callable[[Play], object]


def play(
    *first: Deployment | Stage,
    clock: Clock | None = None,
    seconds: float = 600.0,
    chance: float = 0.5,
    tokens: int = 0,
    **policy: Any,
) -> Play:
    """Begins a play: the deployments of the route that is asked for, then its fallbacks; or stages altogether."""
    stages = [each for each in first if isinstance(each, Stage)]
    own = [each for each in first if isinstance(each, Deployment)]
    if own:
        stages.insert(0, stage(*own, **policy))
    return Play(Plan("r", tuple(stages), tokens=tokens), clock=clock or Clock(), seconds=seconds, chance=chance)


def tries(deployment: str, key: int | None = None, **more: Any) -> Tries:
    """Expects a try of this deployment."""
    return Tries(deployment, key, **more)


def waits(seconds: float) -> Waits:
    """Expects a wait."""
    return Waits(seconds)


def gives_up(kind: FailureKind | None = None, at: str | None = None, **more: Any) -> GivesUp:
    """Expects the end."""
    return GivesUp(kind, at, **more)


def fails(kind: FailureKind, *, after: float = 0.0, **more: Any) -> What:
    """The last try fails so; no two deployments say the same, unless they are told to."""
    message = more.pop("message", "")

    def happens(play: Play) -> None:
        play.clock.now += after
        step, running = play.last()
        failure = Failure(kind, message or f"{kind.value} it was at {step.deployment.id}", **more)
        play.events += consequences.fail(running, failure, play.clock.now)
        play.planner.record(failure, step)
        play.over(running)

    return happens


def unreachable(play: Play) -> None:
    """The last try finds no connection: the upstream has seen nothing."""
    fails(FailureKind.CONNECT, is_unsent=True)(play)


def dies(play: Play) -> None:
    """The last try dies on a pooled connection before one byte of an answer came."""
    step, running = play.last()
    failure = Failure(FailureKind.CONNECT, "the connection died")
    if step.fresh:
        play.events += consequences.fail(running, failure, play.clock.now)
    play.planner.record(failure, step, is_replayable=True)
    play.over(running)


def begins(play: Play) -> None:
    """The last try comes to its first content, and goes on."""
    play.events += consequences.begin_well(play.open[-1][1], play.clock.now)


def works(play: Play) -> None:
    """The last try gives a whole answer."""
    begins(play)
    _, running = play.last()
    consequences.end_well(running, play.clock.now)
    play.over(running)


def leaves(play: Play) -> None:
    """The client goes away during the last try."""
    play.over(play.last()[1])


def declines(play: Play) -> None:
    """The deployment of the last try cannot express the request: nothing was sent."""
    step, running = play.last()
    play.over(running)
    play.planner.decline(step)


def passes(seconds: float) -> What:
    """Time passes."""

    def happens(play: Play) -> None:
        play.clock.now += seconds

    return happens


def eject(victim: Deployment, clock: Clock, kind: FailureKind = FailureKind.SERVER, *, is_unsent: bool = False) -> None:
    """Five failures in a row, of five requests."""
    for _ in range(5):
        told = play(victim, clock=clock, attempts=1) << tries(victim.id)
        _ = told >> fails(kind, is_unsent=is_unsent)
    assert victim.vitals.ejected_until == clock.now + 1


K: Final = FailureKind
