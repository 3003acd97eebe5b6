"""Counters that cost a few bytecodes: plain numbers in slotted objects, read by the collector at scrape time.

Only the event loop writes. The scrape thread reads meanwhile: it copies each list in one C call, and derives
counts from the copied buckets, so that no histogram contradicts itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

MAX_SERIES: Final = 1_000
"""Most label sets of one family."""
OTHER: Final = "other"

# The first four as the OpenTelemetry conventions recommend them:
# https://github.com/open-telemetry/semantic-conventions docs/gen-ai/gen-ai-metrics.md, read 2026-11-21.
TOKEN_BUCKETS: Final = tuple(float(4**power) for power in range(14))
DURATION_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
FIRST_TOKEN_BUCKETS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1),
    *(0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
OUTPUT_TOKEN_BUCKETS: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
OVERHEAD_BUCKETS: Final = (
    *(0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.00075),
    *(0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5),
)

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Histogram:
    """Bucket counts and a sum; `le` bounds are inclusive, the last bucket is infinite."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        if value > 0:  # clocks may disagree by a hair, but a sum must never fall
            self._sum += value

    @property
    def is_empty(self) -> bool:
        """True if nothing was counted yet."""
        return not any(self._counts)

    def zero(self) -> Histogram:
        """Returns an empty histogram with the same bounds."""
        return Histogram(self._bounds)

    def add(self, other: Histogram) -> None:
        """Adds the counts of a histogram with the same bounds."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, list(other._counts), strict=True)]
        self._sum += other._sum

    @property
    def sum(self) -> float:
        """Sum of all values."""
        return self._sum

    def buckets(self) -> list[tuple[str, float]]:
        """Returns cumulative counts by upper bound, `+Inf` last."""
        total = 0
        result: list[tuple[str, float]] = []
        for bound, count in zip((*map(_bound, self._bounds), "+Inf"), list(self._counts), strict=True):
            total += count
            result.append((bound, total))
        return result


class Bounded(Generic[Key, Value]):
    """A dictionary of label sets that stops taking new ones at `limit`."""

    def __init__(self, limit: int = MAX_SERIES) -> None:
        self._items: dict[Key, Value] = {}
        self._limit = limit

    def get_or_put(self, key: Key, rest: Key, make: Callable[[], Value]) -> Value:
        """Returns the value of `key`, made if there is room, else that of `rest`, of which there are few."""
        found = self._items.get(key)
        if found is not None:
            return found
        if len(self._items) >= self._limit:
            key = rest
        return self._items.setdefault(key, make())

    def snapshot(self) -> list[tuple[Key, Value]]:
        """Returns the items at this moment; safe beside a writer because `list` over a dict is one C call."""
        return list(self._items.items())


class Labels:
    """Passes at most `limit` distinct values through; all further ones become `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def label(self, value: str) -> str:
        """Returns `value` if it may be a label, else `other`."""
        seen = self._seen
        if value in seen:
            return value
        if len(seen) >= self._limit or len(value) > 64 or not value.isascii() or not value.isprintable():
            return OTHER
        seen.add(value)
        return value


class Tallies:
    """Numbers by labels; past `limit` label sets everything new counts as `other`."""

    def __init__(self, limit: int = MAX_SERIES) -> None:
        self._numbers: dict[tuple[str, ...], int] = {}
        self._limit = limit

    def add(self, *labels: str) -> None:
        """Counts one more."""
        numbers = self._numbers
        number = numbers.get(labels)
        if number is None:
            labels = labels if len(numbers) < self._limit else (OTHER,) * len(labels)
            number = numbers.get(labels, 0)
        numbers[labels] = number + 1

    def snapshot(self) -> list[tuple[tuple[str, ...], int]]:
        """Returns the numbers at this moment."""
        return list(self._numbers.items())


def _bound(value: float) -> str:
    return f"{value:.10g}" if value != int(value) else f"{value:.1f}"
