"""What the ledger says that owners of budgets have spent, in memory: budgets are checked against it without waiting.

Theory. The figure of an owner is as old as its last look; what this process has spent since, its own counters know, and
what other replicas have spent, the shared ones. So an old figure is no fault, and none at all is: of an owner whose
spending was never read nothing is known, and whoever asks hears that. So nothing is read before storage has what
processes before this one wrote down, which no counter knows. In each turn of the task all new owners are read, those
that were asked for, and some of the others. An owner that was made while all this runs is read before anybody may come
in its name: else its first requests would be refused for nothing.

What lines of batches at providers may cost yet is read from storage, too: whoever had them admitted may be gone. It is
read before the sums, and taken out of storage after the records are in: so what a line costs is in one of the two, or
for a moment in both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from typing import Final, Protocol

from gateway.access.admission import Owner, Span, owner_id, span
from gateway.access.looks import REFRESH_SECONDS, Looks
from gateway.records import Window
from gateway.storage.base import StorageUnavailable

_FORESIGHT_SECONDS: Final = 1.0
"""How long new owners wait until their spending is read, and those that were disabled beside them."""
_OTHERS: Final = 200
"""Owners nobody asked for that are read in one turn."""


class Spendable(Protocol):
    """What it needs of storage."""

    async def spent(self, owners: Collection[str], since_ms: int) -> dict[str, int]:
        """Returns the nano-dollars of each owner since a moment; raises StorageError."""
        ...

    async def reserved(self) -> Mapping[str, Mapping[str, int]]:
        """Returns what consignments may cost yet, by owner and then by consignment; raises StorageError."""
        ...


class SpendingUnknown(Exception):
    """Storage has not told yet what an owner has spent."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


class _Figures:
    """What was read of one owner, and when."""

    __slots__ = ("amounts", "as_of_ms", "windows")

    def __init__(self, as_of_ms: int, windows: Set[Window], amounts: Mapping[str, int]) -> None:
        self.as_of_ms = as_of_ms
        self.windows = windows
        self.amounts = amounts
        """By the name of a span."""


class Spending:
    """The figures, and the task that keeps them."""

    def __init__(
        self,
        storage: Callable[[], Spendable],
        owners: Callable[[], Iterable[Owner]],
        *,
        now_ms: Callable[[], int],
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """`owners` gives all that have budgets; `storage` raises ConfigError where there is none."""
        self._storage = storage
        self._owners = owners
        self._now_ms = now_ms
        self._looks = Looks(self._look, what="what was spent of budgets", refresh_seconds=refresh_seconds)
        self._known: dict[str, _Figures] = {}
        """Those that were read longest ago are first."""
        self._coming: Sequence[Owner] = ()
        """New owners, whom nobody sees yet."""
        self._asked: set[str] = set()
        self._reserved: Mapping[str, Mapping[str, int]] = {}
        """Owner -> consignment -> nano-dollars."""
        self.held_here: set[str] = set()
        """Consignments whose lines hold what they may cost in the counters: that counts once."""
        self._is_complete: Callable[[], bool] = lambda: True

    @property
    def trouble(self) -> str:
        """Why the figures are old, empty if they are not."""
        return self._looks.trouble

    def spent(self, owner: str, at: Span) -> int:
        """Returns nano-dollars, as of the last look; raises SpendingUnknown."""
        self._asked.add(owner)
        known = self._known.get(owner)
        if known is None:
            raise SpendingUnknown(owner)
        amount = known.amounts.get(at.name)
        if amount is not None:
            return amount
        if at.start_ms > known.as_of_ms:
            return 0  # it has begun since
        raise SpendingUnknown(owner)

    def reserved(self, owner: str) -> int:
        """Returns the most that the lines of an owner at batch APIs may cost yet, as of the last look."""
        found = self._reserved.get(owner)
        if found is None:
            return 0
        return sum(nano_usd for id, nano_usd in found.items() if id not in self.held_here)

    def forget(self, consignment: str) -> None:
        """Counts a consignment no more whose cost the counters know; a look under way may count it once more."""
        self._reserved = {
            owner: {id: nano_usd for id, nano_usd in found.items() if id != consignment}
            for owner, found in self._reserved.items()
        }

    async def start(self, is_complete: Callable[[], bool] = lambda: True) -> None:
        """Looks once, and then again and again in a task, once storage `is_complete`; a second call does nothing."""
        if not self._looks.has_started:
            self._is_complete = is_complete
        await self._looks.start()

    async def foresee(self, owners: Sequence[Owner]) -> None:
        """Reads what new owners have spent, before anybody sees these, for a second at most.

        Not before it has started: until then storage may lack what a process before this one wrote down.
        """
        self._coming = [each for each in owners if each.budgets and not self._knows(owner_id(each), each)]
        try:
            if self._coming and self._looks.has_started:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_FORESIGHT_SECONDS):
                        await self._looks.refresh()
        finally:
            self._coming = ()

    async def aclose(self) -> None:
        """Ends the task."""
        await self._looks.aclose()

    async def refresh(self) -> None:
        """Reads what is due; what goes wrong is logged, once."""
        await self._looks.refresh()

    async def _look(self) -> None:
        owners = {owner_id(each): each for each in (*self._owners(), *self._coming)}
        if owners and not self._is_complete():
            raise StorageUnavailable("older records are not in storage yet")
        self._known = {id: known for id, known in self._known.items() if id in owners}
        if not owners:
            return
        storage = self._storage()
        reserved = await storage.reserved()
        before = self._reserved
        changed = {id for id in {*before, *reserved} if before.get(id) != reserved.get(id)}
        # What has gone counts until the sums have it that came of it.
        self._reserved = {id: {**reserved.get(id, {}), **before.get(id, {})} for id in {*before, *reserved}}
        self._asked |= changed
        await self._look_at_sums(storage, owners)
        self._reserved = reserved

    async def _look_at_sums(self, storage: Spendable, owners: Mapping[str, Owner]) -> None:
        due = self._due(owners)
        now_ms = self._now_ms()
        found: dict[str, dict[str, int]] = {id: {} for id in due}
        for window in Window:
            ids = [id for id in due if any(budget.window is window for budget in owners[id].budgets)]
            if ids:
                at = span(window, now_ms)
                for id, amount in (await storage.spent(ids, at.start_ms)).items():
                    found[id][at.name] = amount
        for id, amounts in found.items():
            self._known.pop(id, None)
            self._known[id] = _Figures(now_ms, {budget.window for budget in owners[id].budgets}, amounts)

    def _knows(self, id: str, owner: Owner) -> bool:
        known = self._known.get(id)
        return known is not None and {budget.window for budget in owner.budgets} <= known.windows

    def _due(self, owners: Mapping[str, Owner]) -> Sequence[str]:
        asked, self._asked = self._asked, set()
        due = dict.fromkeys(id for id, owner in owners.items() if not self._knows(id, owner))
        due |= dict.fromkeys(id for id in asked if id in owners)
        others = (id for id in self._known if id not in due)
        return [*due, *(id for id, _ in zip(others, range(_OTHERS), strict=False))]
