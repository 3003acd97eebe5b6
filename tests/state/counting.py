"""What the tests of admissions have in common: checks in few words, and whoever counts them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from itertools import count

from gateway.state.admission import Admission, Admissions, Check, Kind
from gateway.state.factory import open_admissions
from gateway.state.lane import Pace
from tests.state.replica import eventually

PATIENT = Pace(answer_seconds=10, beat_seconds=0.1, connect_seconds=10)
"""For tests of what is counted, which a busy machine must not turn into tests of time."""
DOLLAR = 10**9


def requests(limit: int, owner: str = "key:a") -> Check:
    return Check(Kind.REQUESTS, owner, limit)


def tokens(limit: int, amount: int, owner: str = "key:a") -> Check:
    return Check(Kind.TOKENS, owner, limit, amount)


def places(limit: int, owner: str = "key:a") -> Check:
    return Check(Kind.IN_FLIGHT, owner, limit)


def budget(limit: int, amount: int, spent: int = 0, owner: str = "key:a", window: str = "total") -> Check:
    return Check(Kind.BUDGET, owner, limit, amount, window, spent)


class Asker:
    """Asks with leases of its own."""

    def __init__(self, admissions: Admissions, name: str = "l") -> None:
        self.admissions = admissions
        self._names = (f"{name}{number}" for number in count())
        self.lease = ""
        """The last one."""

    async def ask(self, *checks: Check) -> Admission:
        self.lease = next(self._names)
        return await self.admissions.admit(self.lease, checks)

    async def goes(self, *checks: Check) -> bool:
        return (await self.ask(*checks)).is_admitted

    async def remaining(self, *checks: Check) -> list[int]:
        """Returns how it stands, and takes nothing for longer than that needs."""
        never = Check(Kind.IN_FLIGHT, "nobody", 0)
        return [figure.remaining for figure in (await self.ask(*checks, never)).figures[:-1]]


@asynccontextmanager
async def asker(
    url: str,
    *,
    pace: Pace = PATIENT,
    closed: Collection[Kind] = (),
    is_there: bool = True,
    place_seconds: float = 60,
    ledger_seconds: float = 0.5,
) -> AsyncIterator[Asker]:
    """An asker whose counters are started, and connected if the server `is_there`."""
    made = open_admissions(url, pace=pace, closed=closed, place_seconds=place_seconds, ledger_seconds=ledger_seconds)
    await made.start()
    try:
        if is_there:
            await eventually(lambda: not made.trouble)
        yield Asker(made)
    finally:
        await made.aclose()
