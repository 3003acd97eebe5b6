"""What the tests of shared state have in common: a replica that remembers what it heard, and waiting with an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from adapters.failures import FailureKind
from gateway.state.base import CoolDown, Scope, State
from gateway.state.factory import open_state
from gateway.state.redis import Patience

QUICK = Patience(answer_seconds=1, quiet_seconds=1, pause_seconds=0.2)
WITHIN = 15.0
"""Seconds that anything may take on a busy machine."""


def rest(id: str, seconds: float = 60, scope: Scope = "key", reason: FailureKind = FailureKind.RATE_LIMIT) -> CoolDown:
    return CoolDown(scope, id, seconds, reason)


async def eventually(holds: Callable[[], object], within: float = WITHIN) -> None:
    end = asyncio.get_running_loop().time() + within
    while not holds():
        assert asyncio.get_running_loop().time() < end, "it never came true"
        await asyncio.sleep(0.005)


async def eventually_async(holds: Callable[[], Awaitable[object]], within: float = WITHIN) -> None:
    end = asyncio.get_running_loop().time() + within
    while not await holds():
        assert asyncio.get_running_loop().time() < end, "it never came true"
        await asyncio.sleep(0.005)


class Replica:
    """A state and what it heard."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.heard: list[CoolDown] = []
        state.subscribe(self.heard.append)

    @property
    def ids(self) -> set[str]:
        return {each.id for each in self.heard}

    def last(self, id: str) -> CoolDown:
        return [each for each in self.heard if each.id == id][-1]


@asynccontextmanager
async def replica(url: str, *, is_there: bool = True) -> AsyncIterator[Replica]:
    """A replica that is started, and connected if the server `is_there`."""
    made = Replica(open_state(url, patience=QUICK))
    await made.state.start()
    try:
        if is_there:
            await eventually(lambda: ": " not in made.state.status)
        yield made
    finally:
        await made.state.aclose()
