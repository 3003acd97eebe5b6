"""What became of the attempts of one request: which one was answered with, which were made for which failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from adapters.failures import FailureKind
from gateway.domain import Attempt, Outcome
from gateway.telemetry.counts import OK

LOST: Final = "lost"
_CANCELLED: Final = FailureKind.CANCELLED.value
_ANSWERED: Final = 200


def winner_of(attempts: Sequence[Attempt], outcome: Outcome) -> Attempt | None:
    """Returns the attempt at one part that was answered with, None if none was.

    A stream that broke off has failed and was answered with all the same.
    """
    rest: Attempt | None = None
    for attempt in reversed(attempts):
        if attempt.is_lost:
            continue
        if attempt.failure is None:
            return attempt
        rest = rest or attempt
    return rest if outcome.status == _ANSWERED else None


def result_of(attempt: Attempt, winner: Attempt | None) -> str:
    """Returns `ok`, the kind of its failure, `lost`, or `cancelled` if the request ended before any attempt had won."""
    if attempt.failure is not None:
        return attempt.failure.kind.value
    if not attempt.is_lost:
        return OK
    return _CANCELLED if winner is None else LOST


def hedge_result(hedge: Attempt, winner: Attempt | None) -> str:
    """Returns what has become of a second attempt."""
    if hedge is winner:
        return "won"
    if hedge.failure is not None:
        return "failed"
    return LOST if winner is not None else _CANCELLED


def retries(attempts: Sequence[Attempt]) -> Iterator[tuple[Attempt, Attempt]]:
    """Yields every failed attempt at one part with the one that was made because of it; a hedge is none."""
    failed: Attempt | None = None
    for attempt in attempts:
        if failed is not None and not attempt.is_hedge:
            yield failed, attempt
        if attempt.failure is not None:
            failed = attempt


def by_part(attempts: Sequence[Attempt]) -> Iterator[Sequence[Attempt]]:
    """Yields the attempts at each part."""
    parts: dict[int, list[Attempt]] = {}
    for attempt in attempts:
        parts.setdefault(attempt.part, []).append(attempt)
    yield from parts.values()
