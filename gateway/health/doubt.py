"""Whether a refusal is to be believed: one that does not pass by itself would keep everybody else away."""

from __future__ import annotations

from typing import Final

WORKED_SECONDS: Final = 600.0
"""For so long a success speaks for what gave it."""
BELIEVED: Final = 3
"""So many refusals in a row are believed in any case."""


class Doubt:
    """What speaks for a key or deployment that is refused: it may be the request that is refused, and not they.

    A provider's 403 or 402 can be about an operation, a price, a prompt. What has worked a moment ago and is refused
    now is therefore left alone until it happens again and again.
    """

    __slots__ = ("_refusals", "_worked_at")

    def __init__(self) -> None:
        self._worked_at: float | None = None
        self._refusals = 0

    def worked(self, now: float) -> None:
        """Notes a success."""
        self._worked_at = now
        self._refusals = 0

    def refused(self, now: float) -> bool:
        """Notes a refusal; returns whether it is believed."""
        self._refusals += 1
        if self._worked_at is None or now - self._worked_at > WORKED_SECONDS:
            return True
        return self._refusals >= BELIEVED

    def copy(self) -> Doubt:
        """Returns the same, apart from this one."""
        twin = Doubt()
        twin._worked_at, twin._refusals = self._worked_at, self._refusals
        return twin
