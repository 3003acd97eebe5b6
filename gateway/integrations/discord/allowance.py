"""How soon Discord may be called again: pure, told the time.

Theory. The token of an interaction is a webhook, and those allow five calls in five seconds. That is kept without being
told; what Discord says in its headers (`X-RateLimit-Remaining`, `-Reset-After`) and in a 429 (`retry_after`, `global`)
counts besides (`developers/topics/rate-limits.mdx`). 10,000 refused calls in ten minutes would ban our address.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

CALLS: Final = 5
WINDOW_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 900.0
"""After it the token is void anyhow."""


class Quiet:
    """For how long nobody may call: what a global limit says is about all webhooks."""

    __slots__ = ("until",)

    def __init__(self) -> None:
        self.until = 0.0


class Allowance:
    """The calls of one webhook."""

    def __init__(self, everywhere: Quiet) -> None:
        """`everywhere` is shared by all webhooks."""
        self._everywhere = everywhere
        self._calls: deque[float] = deque(maxlen=CALLS)
        self._not_before = 0.0

    def wait(self, now: float) -> float:
        """Returns for how many seconds nothing may be sent; 0.0 if it may."""
        windowed = self._calls[0] + WINDOW_SECONDS if len(self._calls) == CALLS else 0.0
        return max(0.0, windowed - now, self._not_before - now, self._everywhere.until - now)

    def called(self, now: float) -> None:
        """Notes that a call begins."""
        self._calls.append(now)

    def answered(self, headers: Mapping[str, str], now: float) -> None:
        """Notes what an answer says of the next call; header names in lower case."""
        if headers.get("x-ratelimit-remaining") == "0":
            self._rest(_seconds(headers.get("x-ratelimit-reset-after")), now)

    def refused(self, retry_after: object, *, is_global: bool, now: float) -> None:
        """Notes a 429."""
        seconds = _seconds(retry_after) or 1.0
        if is_global:
            self._everywhere.until = max(self._everywhere.until, now + seconds)
        else:
            self._rest(seconds, now)

    def _rest(self, seconds: float, now: float) -> None:
        self._not_before = max(self._not_before, now + seconds)


def _seconds(value: object) -> float:
    """Returns a length of time that Discord has named; 0.0 if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        return 0.0
    return min(seconds, _LONGEST_SECONDS) if seconds > 0 else 0.0
