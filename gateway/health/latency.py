"""How fast a deployment is, and how slow is slow for a route."""

from __future__ import annotations

from math import exp
from typing import Final

_MEMORY_SECONDS: Final = 10.0
"""After so long a new sample counts for two thirds."""
_MOST_OF_OLD: Final = 0.9
"""Samples of one moment must count, too: at least a tenth each."""
_STALE_SECONDS: Final = 30.0
"""What was slow and is not asked any more looks better with time, so that it is tried again."""
_UNKNOWN_SECONDS: Final = 10.0
"""What an answer is expected to take from one that is being tried out."""
_KEPT: Final = 200
_FEWEST: Final = 20
"""With fewer samples nobody knows a 95th percentile."""


class Latency:
    """The decayed time to the first token of one deployment; seconds."""

    __slots__ = ("_at", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at: float | None = None

    @property
    def seconds(self) -> float | None:
        """The decayed mean; None before the first sample."""
        return None if self._at is None else self._seconds

    def observe(self, seconds: float, now: float) -> None:
        """Takes a sample."""
        if self._at is None:
            self._seconds = seconds
        else:
            share = exp((self._at - now) / _MEMORY_SECONDS)
            if share > _MOST_OF_OLD:
                share = _MOST_OF_OLD
            self._seconds = self._seconds * share + seconds * (1 - share)
        self._at = now

    def score(self, now: float, in_flight: int) -> float:
        """Returns what the next attempt is expected to wait, for comparing.

        One that has never answered is best, but for one attempt at a time: everybody at once would be a costly trial.
        """
        if self._at is None:
            return in_flight * _UNKNOWN_SECONDS
        return self._seconds * exp(-max(0.0, now - self._at) / _STALE_SECONDS) * (in_flight + 1)

    def copy(self) -> Latency:
        """Returns the same figures, apart from these."""
        twin = Latency()
        twin._seconds, twin._at = self._seconds, self._at
        return twin


class Percentile:
    """The 95th percentile of the last samples."""

    __slots__ = ("_next", "_samples", "_since", "_value")

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._next = 0
        self._since = 0
        self._value: float | None = None

    @property
    def value(self) -> float | None:
        """The percentile, seconds; None while there are too few samples."""
        return self._value

    def observe(self, seconds: float) -> None:
        """Takes a sample; the percentile is worked out anew at every tenth."""
        samples = self._samples
        if len(samples) < _KEPT:
            samples.append(seconds)
        else:
            samples[self._next] = seconds
            self._next = (self._next + 1) % _KEPT
        self._since += 1
        if len(samples) >= _FEWEST and (self._value is None or self._since >= 10):
            self._since = 0
            self._value = sorted(samples)[min(len(samples) - 1, int(len(samples) * 0.95))]

    def copy(self) -> Percentile:
        """Returns the same samples, apart from these."""
        twin = Percentile()
        twin._samples = list(self._samples)
        twin._next, twin._since, twin._value = self._next, self._since, self._value
        return twin
