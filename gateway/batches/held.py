"""What lines of consignments hold of budgets: in the counters at first, and in storage for as long as they are there.

Theory. A line is admitted as every request is, and its lease holds what it may cost in the counters; but those forget
when their process ends, and others forget what a replica holds for hours. So the sum is written down with the
consignment, and the leases are given back when everybody had the time to read that (`access/spending.py`). Until then
this process does not count what it reads.
"""

from __future__ import annotations

from gateway.engine.gate import Lease
from gateway.runtime import Runtime


class _Held:
    def __init__(self, here: set[str]) -> None:
        self.here = here
        self.leases: dict[int, Lease] = {}


class HeldMoney:
    """The leases of the lines of consignments that this process has admitted."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    @property
    def ids(self) -> frozenset[str]:
        """The consignments for which something is held here."""
        return frozenset(self._held)

    def begin(self, id: str, runtime: Runtime) -> None:
        """Begins anew with a consignment: storage may have been away in the middle."""
        self.release(id)
        held = self._held[id] = _Held(runtime.shared.stored.thing.spending.held_here)
        held.here.add(id)

    def add(self, id: str, number: int, lease: Lease | None) -> None:
        """Keeps the lease of a line."""
        if lease is not None:
            self._held[id].leases[number] = lease

    def lease(self, id: str, number: int) -> Lease | None:
        """Returns the lease of a line, None if it is not here, or nothing limits it."""
        held = self._held.get(id)
        return None if held is None else held.leases.get(number)

    def nano_usd(self, id: str) -> dict[str, int]:
        """Returns what the lines of a consignment may cost at most, by the owners of the budgets."""
        sums: dict[str, int] = {}
        held = self._held.get(id)
        for lease in held.leases.values() if held is not None else ():  # others may have ended it meanwhile
            for owner, nano_usd in lease.held_nano_usd().items():
                sums[owner] = sums.get(owner, 0) + nano_usd
        return sums

    def release(self, id: str) -> None:
        """Gives back what is held for a consignment; of lines that are settled there is nothing to give."""
        held = self._held.pop(id, None)
        if held is not None:
            for lease in held.leases.values():
                lease.release()
            held.here.discard(id)

    def release_all(self) -> None:
        """Gives back everything: the process ends."""
        for id in tuple(self._held):
            self.release(id)
