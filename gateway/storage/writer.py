"""The writer: brings what is in the journal into storage, in batches, for as long as it takes.

Theory. A batch is forgotten only after storage took it; whatever happens before, it is sent again, since storage counts
a record once however often it comes. So there is one answer to every trouble: wait a little longer than last time, send
the same again. Only what storage refuses for its content would never end; it is set aside in a file, and said.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.records import UsageRecord
from gateway.storage.base import RecordsRefused, StorageRefused
from gateway.storage.journal import Journal, Segment, is_drained
from gateway.storage.segments import count_lines, line_of, read_lines, set_aside, sync, without_content

_log = logging.getLogger("anyport.storage")


class Appender(Protocol):
    """What a writer needs of storage."""

    async def append(self, records: Sequence[UsageRecord]) -> None:
        """Takes all or none, each id once; raises StorageRefused, or anything else for a trouble that passes."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How much at once, and how long a writer waits."""

    batch_records: int = 150
    """More would keep the event loop busy for longer than a request should wait; storage is hardly faster for it."""
    append_seconds: float = 30.0
    """For storage to take a batch."""
    gather_seconds: float = 0.1
    """From having brought everything into storage to the next look."""
    first_pause_seconds: float = 0.1
    last_pause_seconds: float = 5.0
    """Between two attempts while storage is away: twice as long each time, up to this."""
    adopt_seconds: float = 5.0
    """Between two looks for what dead processes left."""


DEFAULT_PACE: Final = Pace()


class Writer:
    """One task that drains one journal."""

    def __init__(
        self,
        journal: Journal,
        storage: Appender,
        *,
        pace: Pace = DEFAULT_PACE,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        each_round: Callable[[], None] | None = None,
    ) -> None:
        """`each_round` is called before each look at the journal, and while storage is away."""
        self.written_records = 0
        self.rejected_records = 0
        """Refused by storage for their content, or damaged on the disk, and set aside."""
        self.torn_records = 0
        """Last lines that were broken off when a process died; their appends never returned."""
        self.failures = 0
        """Attempts to append that failed."""
        self.is_away = False
        """Storage did not take the last batch."""
        self.has_caught_up = False
        """Storage has all that was there at the start, also of processes before this one."""
        self.taken_at: float | None = None
        """Unix time at which storage last took records."""
        self._journal = journal
        self._storage = storage
        self._pace = pace
        self._clock = clock
        self._wall_clock = wall_clock
        self._each_round = each_round
        self._oldest_at_ms: int | None = None
        self._away_since = 0.0
        self._adopt_at = clock()
        self._failures_in_a_row = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def oldest_age_seconds(self) -> float:
        """How long the oldest record that is not in storage has been waiting."""
        if self._oldest_at_ms is None:
            return 0.0
        return max(self._wall_clock() - self._oldest_at_ms / 1000, 0.0)

    def start(self) -> None:
        """Starts the task."""
        self._task = asyncio.create_task(self._run(), name="storage-writer")

    async def flush(self, timeout: float) -> bool:
        """Waits until all that was appended is in storage; says whether it is, after `timeout` seconds at most."""
        is_done = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not is_done:
                    self._idle.clear()
                    self._wake.set()
                    await self._idle.wait()
                    is_done = self._journal.next_segment() is None
        return self._journal.next_segment() is None

    async def catch_up(self, timeout: float) -> bool:
        """Waits until all that was appended before this call is in storage; says whether it is, as `flush` does.

        What is appended meanwhile it does not wait for, so that it ends however busy the journal is.
        """
        mark = self._journal.mark()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not is_drained(mark):
                    self._wake.set()
                    self._moved.clear()
                    await self._moved.wait()
        return is_drained(mark)

    async def aclose(self) -> None:
        """Ends the task; what is left stays in the journal."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                is_behind = await self._round()
                self._moved.set()
                if is_behind:
                    continue
                self._oldest_at_ms = None
                self.has_caught_up = True
                self._idle.set()
                await self._rest(self._pace.gather_seconds)
            except Exception as error:  # the journal is on a disk: whatever it was, the next round begins afresh
                if not self.is_away:
                    _log.exception("trouble with the journal in %s", self._journal.directory)
                await self._pause(error)

    async def _round(self) -> bool:
        """Brings the next batch into storage; says whether more had been there when it was read."""
        if self._each_round is not None:
            self._each_round()
        self._journal.rotate_if_old()
        await self._adopt()
        segment = self._journal.next_segment()
        if segment is None:
            return False
        size = segment.size
        try:
            lines = await asyncio.to_thread(read_lines, segment.path, segment.drained, size, self._pace.batch_records)
        except FileNotFoundError:
            _log.error("records lost: %d; %s was removed before they were stored", segment.records, segment.path)
            self._journal.give_up(segment)
            return True
        if lines.records:
            self._oldest_at_ms = lines.records[0].at_ms
            await self._deliver(lines.records)
        if lines.damaged:
            damaged = [without_content(line) for line in lines.damaged]
            await self._set_aside(damaged, f"damaged in {segment.path}")
        if lines.torn_bytes:
            self.torn_records += 1
            _log.warning("the last record of %s is broken off and was left out", segment.path)
        self._journal.advance(segment, lines.end, len(lines.records) + len(lines.damaged))
        return lines.end < size or not segment.is_open

    async def _adopt(self) -> None:
        if self._clock() < self._adopt_at:
            return
        self._adopt_at = self._clock() + self._pace.adopt_seconds
        adopted = self._journal.adopt()
        for segment in adopted:
            segment.records = await asyncio.to_thread(count_lines, segment.path, segment.drained)
        if adopted:
            count = sum(segment.records for segment in adopted)
            _log.info("records that another process left behind are brought into storage: %d", count)

    async def _deliver(self, records: Sequence[UsageRecord]) -> None:
        """Returns once storage has all, or refused single ones, which are set aside."""
        while records:
            records = await self._offer(records)

    async def _offer(self, records: Sequence[UsageRecord]) -> Sequence[UsageRecord]:
        """Offers records once; returns those that are to be offered again."""
        try:
            async with asyncio.timeout(self._pace.append_seconds):
                await self._storage.append(records)
        except StorageRefused as refusal:
            return await self._without_refused(records, refusal)
        except Exception as error:  # drivers raise what they like, and nothing may be lost
            await self._pause(error)
            return records
        self.written_records += len(records)
        self.taken_at = self._wall_clock()
        self._came_back()
        return ()

    async def _without_refused(self, records: Sequence[UsageRecord], refusal: StorageRefused) -> Sequence[UsageRecord]:
        ids = set(refusal.reasons) if isinstance(refusal, RecordsRefused) else set[str]()
        refused = [record for record in records if record.id in ids or len(records) == 1]
        if not refused:
            for record in records:
                await self._deliver([record])
            return ()
        # What is set aside is never taken away, as what was asked has to be.
        lines = [line_of(record.without_content())[:-1] for record in refused]
        await self._set_aside(lines, f"refused by storage: {refusal}")
        return [record for record in records if record not in refused]

    async def _set_aside(self, lines: Sequence[bytes], why: str) -> None:
        path = self._journal.rejected_path
        data = b"".join(line + b"\n" for line in lines)
        while True:
            try:
                await asyncio.to_thread(set_aside, path, data)
            except OSError as error:
                await self._pause(error)
                continue
            self.rejected_records += len(lines)
            _log.error("records set aside in %s: %d, %s", path, len(lines), why)
            return

    async def _pause(self, error: Exception) -> None:
        self.failures += 1
        if not self.is_away:
            self.is_away = True
            self._away_since = self._clock()
            _log.error("storage takes no records, they wait in the journal: %s", _said(error))
        pause = self._pace.first_pause_seconds * 2.0 ** min(self._failures_in_a_row, 16)
        self._failures_in_a_row += 1
        if self._each_round is not None:
            self._each_round()
        for segment in self._journal.unsynced():
            await self._sync(segment)
        await self._rest(min(pause, self._pace.last_pause_seconds))

    def _came_back(self) -> None:
        self._failures_in_a_row = 0
        if self.is_away:
            self.is_away = False
            seconds = self._clock() - self._away_since
            _log.info("storage takes records again after %.1f s; waiting: %d", seconds, self._journal.pending_records)

    async def _sync(self, segment: Segment) -> None:
        segment.is_synced = True
        try:
            await asyncio.to_thread(sync, segment.path)
        except OSError as error:
            _log.warning("%s may not survive the machine: %s", segment.path, error.strerror)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()


def _said(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
