"""Requests by the hundred against whatever upstreams and clients may do: nothing is left behind or invented."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import Any

import pytest

from gateway.engine.answer import Answer, SingleStream
from gateway.errors import GatewayError, UpstreamError
from gateway.resilience.consequences import Turn
from gateway.routing.route import Fallback, HedgePolicy, RetryPolicy
from gateway.transport.base import Fault
from tests.engine.doubles import END, MORE, PING, ROLE, TEXT, Late, Sent, Silence, dead
from tests.engine.fleet import BODY, Fleet, read_all
from tests.engine.test_other_attempts import OneByOne

RUNS = 60
REQUESTS = 4
SECONDS = 0.002
"""Real ones, in which answers come and clients leave."""


class World:
    """One fleet, and chance."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.is_stream = self.chance.random() < 0.5
        hedge = HedgePolicy(share=1.0, after_seconds=0.0) if self.chance.random() < 0.5 else None
        self.retry = RetryPolicy(attempts=self.chance.randint(1, 5), per_deployment=self.chance.randint(1, 3))
        self.fleet = Fleet(retry=self.retry, hedge=hedge, total=self.chance.choice([30.0, 600.0]))
        for stage in range(self.chance.randint(1, 2)):
            if stage:
                self.fleet.fall_back(Fallback("spare"))
            for number in range(self.chance.randint(1, 3)):
                answers = [self.answer() for _ in range(REQUESTS * 20)]
                adapter = OneByOne() if self.chance.random() < 0.2 else None
                self.fleet.add(f"{stage}{number}/m", *answers, keys=self.chance.randint(1, 2), adapter=adapter)

    def answer(self) -> Sent:
        found = self.chance.choice([self._good, self._good, self._refusal, self._network, self._broken])()
        how = self.chance.random()
        if how < 0.3:
            return Late(self._gate(), found)
        return Late(Silence(self.chance.choice([1.0, 70.0])), found) if how < 0.4 else found

    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"stream": True} if self.is_stream else {}
        return fields | ({"n": 2} if self.chance.random() < 0.3 else {})

    def _gate(self) -> asyncio.Event:
        gate = asyncio.Event()
        asyncio.get_running_loop().call_later(self.chance.random() * SECONDS, gate.set)
        return gate

    def _good(self) -> Any:
        if not self.is_stream:
            return self.fleet.response(BODY[:10], self._gate(), BODY[10:])
        return self.fleet.response(PING, ROLE, self._gate(), TEXT, *[MORE] * self.chance.randint(0, 3), END)

    def _refusal(self) -> Any:
        status = self.chance.choice([400, 401, 402, 404, 408, 413, 429, 429, 500, 503, 529])
        told = self.chance.choice([{}, {"retry_after": self.chance.choice(["0", "2", "30", "90000", "soon"])}])
        return self.fleet.response(status=status, **told)

    def _network(self) -> Any:
        fault = self.chance.choice(list(Fault))
        return dead(fault, replayable=fault is Fault.DISCONNECTED and self.chance.random() < 0.5)

    def _broken(self) -> Any:
        if not self.is_stream:
            return self.fleet.response(BODY[: self.chance.randint(0, 40)])
        return self.fleet.response(
            *([TEXT] if self.chance.random() < 0.5 else [ROLE]), self.chance.choice([b"", dead()])
        )


async def run(world: World) -> None:
    """One request, of which the client may leave at any time."""
    fleet = world.fleet
    try:
        answer = await fleet.run(**world.fields())
    except UpstreamError as error:
        told: Any = error.details
        assert told is None or 0 < len(told["attempts"]) <= len(fleet.outcome.attempts)
        assert error.status in (400, 404, 413, 429, 502, 503, 504)
        if error.status == 429 and not is_split(fleet):
            passing = {"rate_limit", "quota", "overloaded", "lost"}
            if any(fresh for id in set(fleet.sent) for _, _, fresh in fleet.requests(id)):
                passing.add("connect")  # an idle connection that had died is nobody's trouble
            troubles = set(fleet.kinds()) - passing
            assert not troubles, (fleet.kinds(), error.message)
        raise
    if isinstance(answer, Answer):
        assert is_split(fleet) or is_told(fleet, answer)
        assert fleet.kinds().count("ok") >= 1
        return
    try:
        if world.chance.random() < 0.8:
            told = await read_all(answer)
            assert (answer.error is None) == (b"[DONE]" in told)
    finally:
        await answer.aclose()
    assert not isinstance(answer, SingleStream) or is_told(fleet, answer)


def is_split(fleet: Fleet) -> bool:
    return any(attempt.part for attempt in fleet.outcome.attempts)


def is_told(fleet: Fleet, answer: Answer | SingleStream) -> bool:
    return fleet.outcome.deployment == answer.deployment.id


async def play(seed: int) -> None:
    world = World(seed)
    fleet = world.fleet
    for _ in range(REQUESTS):
        began = fleet.clock.now
        task = asyncio.create_task(run(world))
        if world.chance.random() < 0.3:
            asyncio.get_running_loop().call_later(world.chance.random() * SECONDS, task.cancel)
        with contextlib.suppress(GatewayError, asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        fleet.assert_at_rest()
        await asyncio.sleep(SECONDS)
        replays = sum(fresh for id in set(fleet.sent) for _, _, fresh in fleet.requests(id))
        parts = {attempt.part for attempt in fleet.outcome.attempts}
        assert len(fleet.outcome.attempts) <= world.retry.attempts * max(1, len(parts)) + replays
        assert sum(pause for pause in fleet.pauses) <= fleet.clock.now - 1000
        assert fleet.clock.now >= began
    assert all(event.seconds > 0 for event in fleet.events if event.turn is not Turn.READMITTED)


@pytest.mark.parametrize("share", range(4))
async def test_whatever_happens_nothing_is_left_behind(share: int) -> None:
    for seed in range(share * RUNS, (share + 1) * RUNS):
        try:
            await play(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
