"""A rate as one process counts it: what was taken of it, and what was heard of how far that of all is filled."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.state.admission import MAX_NANO_USD, Check, Filled


def part_of(limit: int, replicas: int) -> int:
    """Returns the share of one of so many."""
    return min(limit, max(1, limit // replicas))


def within(check: Check, share: int) -> Check:
    """Returns what of a check is within a share; a request that is larger than that may take all of it."""
    amount = min(check.amount, share) if check.amount <= check.limit else check.amount
    return replace(check, limit=share, amount=amount, whole=check.limit)


class Bucket:
    """Fills with what is taken, leaks with time."""

    def __init__(self) -> None:
        self._level = 0
        self._at_ms = 0
        self._limit = 0
        self._whole = 0
        """The limit of all."""
        self._of_all = 0
        """How far that of all was filled when it was last heard of."""
        self._heard_ms = 0
        self._alone = 0
        """What was taken since without asking."""

    def level(self, check: Check, now_ms: int) -> int:
        """Returns how far it is filled now."""
        self._leak(check.limit, now_ms)
        return self._level

    def take(self, check: Check, now_ms: int) -> None:
        """Takes what a request wants, which was let through without asking."""
        self._level += check.take
        self._alone += check.take
        self._whole = check.whole or check.limit

    def settle(self, check: Check, used: int, now_ms: int) -> None:
        """Corrects that by what was really used."""
        self._leak(check.limit, now_ms)
        self._level = min(MAX_NANO_USD, max(0, self._level + used - check.take))
        self._alone = min(MAX_NANO_USD, max(0, self._alone + used - check.take))

    def correct(self, check: Check, used: int) -> None:
        """Notes what was really used of what the counter of all has given."""
        self._of_all = min(MAX_NANO_USD, max(0, self._of_all + used - check.take))

    def filled(self, name: str, now_ms: int) -> Filled:
        """Returns how far the rate of all is filled."""
        self._leak(self._limit, now_ms)
        level = max(0, self._of_all - max(0, now_ms - self._heard_ms) * self._whole)
        return Filled(name, self._whole, level, self._alone)

    def told(self, filled: Filled, now_ms: int) -> None:
        """Notes that all know from now on what was taken alone: it is told once as what nobody else knows."""
        self._of_all, self._heard_ms, self._alone = filled.level + filled.alone, now_ms, 0

    def is_idle(self, now_ms: int) -> bool:
        """Returns whether a new one would say the same."""
        self._leak(self._limit, now_ms)
        return self._level == 0

    def hear(self, check: Check, level: int, replicas: int, now_ms: int) -> None:
        """Takes in how far that of all is filled."""
        # Ours is filled as far as that of all, by its own, smaller measure.
        self._leak(max(1, check.limit // replicas), now_ms)
        self._level = max(self._level, level // replicas)
        self._whole, self._of_all, self._heard_ms, self._alone = check.limit, level, now_ms, 0

    def share(self, check: Check, replicas: int, now_ms: int) -> Check:
        """Returns what of a check is ours alone."""
        return within(check, part_of(check.limit, replicas))

    def passing(self, now_ms: int) -> int:
        """Returns 0: nothing of a rate is held."""
        return 0

    is_held = False
    spent = 0

    def _leak(self, limit: int, now_ms: int) -> None:
        leaked = max(0, now_ms - self._at_ms) * limit
        self._level, self._alone = max(0, self._level - leaked), max(0, self._alone - leaked)
        self._at_ms = now_ms
        self._limit = limit
