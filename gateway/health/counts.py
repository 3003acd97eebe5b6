"""What happened in the last seconds, counted in slots of one second."""

from __future__ import annotations

from typing import Final

WINDOW_SECONDS: Final = 10
"""How far back is counted; the second that runs is one of them."""


class RecentCounts:
    """Attempts of one deployment in the last `WINDOW_SECONDS`; times are monotonic seconds."""

    __slots__ = ("_second", "_slots", "attempts", "failures", "firsts", "retries")

    def __init__(self) -> None:
        self.attempts = 0
        """Attempts that ended well or badly; those that a client gave up count as neither."""
        self.failures = 0
        self.firsts = 0
        """Attempts begun that were the first of their request."""
        self.retries = 0
        """Attempts begun somewhere because one at this deployment had failed."""
        self._second = 0
        self._slots = [[0, 0, 0, 0] for _ in range(WINDOW_SECONDS)]

    def ended(self, now: float, *, is_failure: bool) -> None:
        """Counts the end of an attempt."""
        slot = self._slot(now)
        slot[0] += 1
        self.attempts += 1
        if is_failure:
            slot[1] += 1
            self.failures += 1

    def begun(self, now: float) -> None:
        """Counts a request's first attempt."""
        self._slot(now)[2] += 1
        self.firsts += 1

    def retried(self, now: float) -> None:
        """Counts an attempt that this deployment's failure has caused."""
        self._slot(now)[3] += 1
        self.retries += 1

    def has_failed(self, now: float) -> bool:
        """True if any attempt has ended badly."""
        self.advance(now)
        return self.failures > 0

    def advance(self, now: float) -> None:
        """Forgets what is too old."""
        self._slot(now)

    def forget_ends(self) -> None:
        """Forgets how attempts ended, as if none had."""
        self.attempts = self.failures = 0
        for slot in self._slots:
            slot[0] = slot[1] = 0

    def copy(self) -> RecentCounts:
        """Returns the same counts, apart from these."""
        twin = RecentCounts()
        twin.attempts, twin.failures, twin.firsts, twin.retries = (
            self.attempts,
            self.failures,
            self.firsts,
            self.retries,
        )
        twin._second = self._second
        twin._slots = [list(slot) for slot in self._slots]
        return twin

    def _slot(self, now: float) -> list[int]:
        second = int(now)
        passed = second - self._second
        if passed > 0:
            for offset in range(min(passed, WINDOW_SECONDS)):
                old = self._slots[(second - offset) % WINDOW_SECONDS]
                self.attempts -= old[0]
                self.failures -= old[1]
                self.firsts -= old[2]
                self.retries -= old[3]
                old[:] = (0, 0, 0, 0)
            self._second = second
        return self._slots[second % WINDOW_SECONDS]
