"""Records for tests, and a storage that does as it is told."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.records import AttemptRecord, UsageRecord
from gateway.storage.journal import Journal
from gateway.storage.segments import read_lines
from gateway.storage.writer import Pace

AT_MS = 1_790_000_000_000
FAST = Pace(gather_seconds=0.005, first_pause_seconds=0.005, last_pause_seconds=0.02, adopt_seconds=0.02)


def record(id: str, *, model: str = "model-1") -> UsageRecord:
    return UsageRecord(
        id=id,
        at_ms=AT_MS,
        operation="chat",
        route="fast",
        status=200,
        key_id="key-1",
        deployment="one/model-1",
        provider="one",
        model=model,
        input_tokens=12,
        output_tokens=34,
        usage_source="reported",
        cost_nano_usd=56_789,
        total_ms=12.5,
        attempts=(AttemptRecord("one/model-1", milliseconds=12.0),),
    )


class Shelf:
    """Storage in memory: `before` is called with each batch and may raise or wait, `after` once it was taken."""

    def __init__(self) -> None:
        self.records: dict[str, UsageRecord] = {}
        self.appends: Counter[str] = Counter()
        """How often each record came."""
        self.before: Callable[[Sequence[UsageRecord]], Awaitable[None]] | None = None
        self.after: Callable[[Sequence[UsageRecord]], Awaitable[None]] | None = None

    async def append(self, records: Sequence[UsageRecord]) -> None:
        if self.before is not None:
            await self.before(records)
        for each in records:
            self.appends[each.id] += 1
            self.records.setdefault(each.id, each)
        if self.after is not None:
            await self.after(records)


class Trouble:
    """Storage that is away while told so."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.batches: list[int] = []

    async def __call__(self, records: Sequence[UsageRecord]) -> None:
        self.batches.append(len(records))
        if self.error is not None:
            raise self.error


def drain(journal: Journal, *, most: int = 500) -> list[str]:
    """Reads all that waits, as a writer does, and returns the ids."""
    found: list[str] = []
    while (segment := journal.next_segment()) is not None:
        lines = read_lines(segment.path, segment.drained, segment.size, most)
        assert not lines.damaged
        found += [each.id for each in lines.records]
        journal.advance(segment, lines.end, len(lines.records))
    return found


@contextmanager
def disk(directory: Path, size: str) -> Iterator[Path]:
    """A disk of its own, for who may mount one; skips the test of others."""
    place = directory / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is for root only")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def names(directory: Path, ending: str) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name.endswith(ending))


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.002)
