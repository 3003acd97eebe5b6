"""Names that must differ within one request: the same name again gets a number.

The numbers already given to a name are remembered, so that thousands of equal names, which agents that number nothing
do send, cost one step each and not one more than the name before.
"""

from __future__ import annotations

from collections.abc import Callable


class Distinct:
    """Gives out each name once; the same names in the same order get the same answers."""

    __slots__ = ("_counts", "_given")

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._counts: dict[str, int] = {}

    def take(self, wanted: str) -> bool:
        """Returns whether `wanted` was free; it is given out then."""
        if wanted in self._given:
            return False
        self._given.add(wanted)
        return True

    def give(self, wanted: str, numbered: Callable[[int], str]) -> str:
        """Returns `wanted`, or the first of `numbered(1)`, `numbered(2)`, ... that was not given before."""
        found = wanted
        count = self._counts.get(wanted, 0)
        while found in self._given:
            count += 1
            found = numbered(count)
        self._counts[wanted] = count
        self._given.add(found)
        return found
