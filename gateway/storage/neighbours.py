"""What other processes that share the directory have written, and storage may not have yet."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gateway.storage.segments import claimed_place, count_lines, segments_of_all

_LOOK_SECONDS: Final = 0.02


class Waiting(NamedTuple):
    """One segment of somebody else, as it was at some moment."""

    directory: Path
    name: str
    number: int
    path: Path
    size: int

    def drained(self) -> int:
        """Returns up to where it is in storage."""
        if not self.path.exists():
            return self.size
        number, offset = claimed_place(self.directory, self.name)
        if number == self.number:
            return offset
        return self.size if number > self.number else 0


async def catch_up(directory: Path, own: str, timeout: float) -> int:
    """Waits until storage has what others have written by now; returns of how many records that is not so by then.

    `own` is the name of this process's journal.
    """
    ends_at = time.monotonic() + timeout
    waiting = await asyncio.to_thread(_look, directory, own)
    while waiting and time.monotonic() < ends_at:
        await asyncio.sleep(_LOOK_SECONDS)
        waiting = await asyncio.to_thread(_left, waiting)
    return await asyncio.to_thread(_records, waiting) if waiting else 0


def _look(directory: Path, own: str) -> list[Waiting]:
    found: list[Waiting] = []
    try:
        segments = [each for each in segments_of_all(directory) if each[0] != own]
    except OSError:
        return found
    for name, number, path in segments:
        with contextlib.suppress(FileNotFoundError):  # whoever has drained one takes it away
            found.append(Waiting(directory, name, number, path, path.stat().st_size))
    return _left(found)


def _left(waiting: Sequence[Waiting]) -> list[Waiting]:
    return [each for each in waiting if each.drained() < each.size]


def _records(waiting: Sequence[Waiting]) -> int:
    total = 0
    for each in waiting:
        try:
            total += count_lines(each.path, each.drained())
        except OSError:
            continue
    return total
