"""A bucket that refills: so many a minute, as many at once as a minute gives."""

from __future__ import annotations

from typing import Final

_NEXT_TO_NOTHING_SECONDS: Final = 1e-6
"""What is lacking after a wait only because numbers are rounded; no clock would get beyond it."""


class Bucket:
    """Holds at most `per_minute`, and refills steadily; what was taken too much is paid back before more is given."""

    __slots__ = ("_at", "_left", "_size")

    def __init__(self, per_minute: int) -> None:
        self._size = float(per_minute)
        self._left = float(per_minute)
        self._at = 0.0

    def wait(self, amount: float, now: float) -> float:
        """Returns the seconds until `amount` can be taken, 0 if it can; a full bucket gives any amount."""
        seconds = (min(amount, self._size) - self._now(now)) * 60 / self._size
        return seconds if seconds > _NEXT_TO_NOTHING_SECONDS else 0.0

    def take(self, amount: float, now: float) -> None:
        """Takes `amount`, also more than there is; a negative amount gives back."""
        self._left = min(self._size, self._now(now) - amount)
        self._at = max(now, self._at)

    def copy(self) -> Bucket:
        """Returns the same bucket, apart from this one."""
        twin = Bucket(int(self._size))
        twin._left, twin._at = self._left, self._at
        return twin

    def _now(self, now: float) -> float:
        return min(self._size, self._left + max(0.0, now - self._at) * self._size / 60)
