"""The ledger: one record of every finished request, and what becomes of requests while it cannot be written."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

from msgspec import UNSET

from gateway.records import UsageRecord
from gateway.storage import neighbours
from gateway.storage.journal import Journal, JournalFailed
from gateway.storage.writer import DEFAULT_PACE, Appender, Pace, Writer

OnFailure = Literal["refuse", "serve"]

HELD_RECORDS: Final = 10_000
"""Of a journal that cannot be written, in memory; of more, the newest is lost."""
_AT_ONCE: Final = 100

_log = logging.getLogger("anyport.storage")


class Outbox(Protocol):
    """Who sends answers, after what must be written down before them."""

    @property
    def is_busy(self) -> bool:
        """Whether it is worth to put anything off."""
        ...

    def before(self, write_down: Callable[[], None]) -> None:
        """Has something written down before the next answers."""
        ...


class Ledger:
    """The journal and its writer as requests see them: nothing here waits, and nothing raises.

    With `refuse`, no request should go upstream while `is_refusing`. With `serve`, requests go on. Records of requests
    that end while the journal cannot be written are held in memory until it can.
    """

    def __init__(
        self, journal: Journal, storage: Appender, *, on_failure: OnFailure = "refuse", pace: Pace = DEFAULT_PACE
    ) -> None:
        """Takes the journal over: closes it at the end."""
        self.lost_records = 0
        """That are nowhere: more than can be held, impossible to write, or held when the process ended."""
        self.journal = journal
        self.writer = Writer(journal, storage, pace=pace, each_round=self._retry)
        self._on_failure = on_failure
        self._held: deque[UsageRecord] = deque()
        self._gathered: list[UsageRecord] = []
        """Put off for the rest of this turn of the event loop."""
        self._has_trouble = False

    @property
    def is_writable(self) -> bool:
        """Says whether a record of now would be written."""
        return self.journal.is_writable

    @property
    def is_refusing(self) -> bool:
        """Says whether a new request is to be refused (503, `ledger_unavailable`)."""
        return self._on_failure == "refuse" and not self.journal.is_writable

    @property
    def held_records(self) -> int:
        """Records in memory only."""
        return len(self._held)

    def start(self) -> None:
        """Starts the writer."""
        self.writer.start()

    def record(self, record: UsageRecord, outbox: Outbox | None = None) -> None:
        """Writes the record of a finished request down, without its content where the journal is half full.

        An outbox with much to do has it written with others, before it sends any answer.
        """
        if record.content is not UNSET and not self.journal.is_roomy:
            record = record.without_content()
        if outbox is not None and outbox.is_busy and record.content is UNSET:
            if not self._gathered:
                outbox.before(self.flush)
            self._gathered.append(record)
            return
        self._write([record])

    def flush(self) -> None:
        """Writes down what was put off."""
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._write(gathered)

    def _write(self, records: Sequence[UsageRecord]) -> None:
        try:
            self.journal.append(*records)
        except JournalFailed as failure:
            if len(records) == 1:
                self._hold(records[0], failure)
                return
            for record in records:
                self._write([record])
            return
        if self._has_trouble:
            self._put_back()

    async def catch_up(self, timeout: float) -> int:
        """Waits until storage has all that was recorded before, by any process that shares the directory.

        Returns of how many records that is not so after `timeout` seconds.
        """
        self.flush()
        self._retry()
        journal = self.journal
        others, is_done = await asyncio.gather(
            neighbours.catch_up(journal.directory, journal.name, timeout), self.writer.catch_up(timeout)
        )
        return len(self._held) + others + (0 if is_done else journal.pending_records)

    async def aclose(self, flush_seconds: float) -> None:
        """Brings into storage what it takes within `flush_seconds`; the rest stays in the journal."""
        self.flush()
        self._retry()
        if not await self.writer.flush(flush_seconds):
            count = self.journal.pending_records
            _log.warning("records not in storage yet: %d; they stay in %s", count, self.journal.directory)
        await self.writer.aclose()
        while self._held and self._put_back():
            pass
        if self._held:
            self.lost_records += len(self._held)
            _log.error("records lost: %d; %s", len(self._held), self.journal.trouble)
            self._held.clear()
        self.journal.close()

    def _hold(self, record: UsageRecord, failure: JournalFailed) -> None:
        if not self.journal.trouble:
            # The record itself cannot be written, today or later.
            self.lost_records += 1
            _log.error("%s", failure)
            return
        if len(self._held) < HELD_RECORDS:
            self._held.append(record.without_content())
        else:
            self.lost_records += 1
        if not self._has_trouble:
            self._has_trouble = True
            what = "requests are refused" if self._on_failure == "refuse" else "requests are served all the same"
            _log.error("%s. Until then, %s", failure, what)

    def _retry(self) -> None:
        if self._has_trouble and self.journal.is_writable:
            self._put_back()

    def _put_back(self) -> bool:
        """Writes some of the held records down; says whether it could."""
        for _ in range(min(_AT_ONCE, len(self._held))):
            try:
                self.journal.append(self._held[0])
            except JournalFailed:
                return False
            self._held.popleft()
        if not self._held:
            self._has_trouble = False
            _log.warning("the journal can be written again; records lost so far: %d", self.lost_records)
        return True
