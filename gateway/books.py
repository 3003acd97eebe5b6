"""The books of one process: its ledger, and storage behind it, from the first start to the end of the process.

Theory. The journal opens at the start, which takes no time and is all that requests need. Storage is opened by whoever
drains the journal, and again for as long as it does not answer: a database that is away keeps nobody from serving.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from msgspec import Struct

from gateway.errors import ConfigError, Fault
from gateway.records import UsageRecord
from gateway.settings.model import StorageSettings
from gateway.storage.base import StorageUnavailable, wall_ms
from gateway.storage.journal import Journal, JournalFailed
from gateway.storage.ledger import Ledger, Outbox
from gateway.storage.tidier import Tidier
from gateway.telemetry.ledger import LedgerFigures

if TYPE_CHECKING:
    from gateway.storage.base import Storage

CATCH_UP_SECONDS: Final = 2.0
"""How long a question about usage waits for the records of before it."""
ANSWER_SECONDS: Final = 5.0
"""How long such a question waits for storage after that."""
FLUSH_SECONDS: Final = 3.0
"""How long the end of the process waits for storage; what it does not take by then is there at the next start."""
_JOURNAL: Final = "journal"

_MAX_UNPRICED: Final = 100
"""Models without a price that the log names: names may come from clients."""

_log = logging.getLogger("anyport.storage")

Answer = TypeVar("Answer")


class Told(Struct, Generic[Answer], frozen=True):
    """What storage says, and how far that can be relied on."""

    answer: Answer
    as_of_ms: int
    """What was recorded on this machine before is in it, but for the pending ones; what was since may be."""
    pending_records: int
    """Of this machine, from before, that are not in storage yet."""


class Books:
    """Takes the record of every request; nothing of it waits for storage."""

    def __init__(
        self,
        settings: StorageSettings,
        directory: Path,
        open_storage: Callable[[], Storage],
        *,
        is_absent: Callable[[], bool] = lambda: False,
        is_place_chosen: bool,
    ) -> None:
        """Where nobody chose the place, it need not be writable; what `is_absent` is not opened to be tidied."""
        self.ledger: Ledger | None = None
        """None before the start, and where nothing can be written in a place that nobody chose."""
        self._settings = settings
        self._directory = directory
        self._open_storage = open_storage
        self._is_absent = is_absent
        self._is_place_chosen = is_place_chosen
        self._is_open = False
        self._is_started = False
        self._storage: Storage | None = None
        self._opening = asyncio.Lock()
        self._tidier = Tidier(self, now_ms=wall_ms)
        self._unpriced: set[str] = set()

    @property
    def is_refusing(self) -> bool:
        """Says whether a new request is to be refused, since it could not be recorded."""
        return self.ledger is not None and self.ledger.is_refusing

    def record(self, record: UsageRecord, outbox: Outbox | None = None) -> None:
        """Writes the record of a finished request down; of a model without a price the log says so, once.

        With an outbox that may be put off, but not beyond the answers there.
        """
        if record.cost_nano_usd is None:
            self._say_unpriced(record.deployment)
        if self.ledger is not None:
            self.ledger.record(record, outbox)

    def open(self) -> None:
        """Opens the journal, at the first call; raises ConfigError."""
        if self._is_open:
            return
        self._is_open = True
        settings = self._settings
        try:
            journal = Journal(self._directory / _JOURNAL, max_bytes=settings.journal_max_bytes)
        except JournalFailed as failure:
            if self._is_place_chosen:
                fault = Fault("anyport.yaml", 0, 0, "storage.directory", str(failure))
                raise ConfigError([fault]) from None
            _log.warning("%s; nothing is recorded. Set storage.directory to a place that can be written", failure)
            return
        self.ledger = Ledger(journal, self, on_failure=settings.on_ledger_failure)

    def start(self) -> None:
        """Opens the journal and begins to drain it, at the first call; raises ConfigError."""
        self.open()
        if not self._is_started and self.ledger is not None:
            self._is_started = True
            self.ledger.start()
            self._tidier.start()

    def have_caught_up(self) -> bool:
        """Says whether storage has all that was recorded before the start."""
        return self.ledger is None or self.ledger.writer.has_caught_up

    async def drain(self, seconds: float) -> bool:
        """Waits until all that was recorded so far is in storage; says whether it is, after `seconds` at most."""
        return self.ledger is None or await self.ledger.writer.flush(seconds)

    async def append(self, records: Sequence[UsageRecord]) -> None:
        """Brings records into storage (what a `Writer` needs)."""
        await (await self.storage()).append(records)

    async def tidy(self, now_ms: int) -> int:
        """Takes some old rows out of storage (what a `Tidier` needs)."""
        if self._storage is None and self._is_absent():
            return 0
        return await (await self.storage()).tidy(now_ms)

    async def storage(self) -> Storage:
        """Returns storage with its tables up to date; raises StorageUnavailable, whatever it is."""
        async with self._opening:
            if self._storage is None:
                try:
                    await asyncio.to_thread(_load)
                    storage = self._open_storage()
                    await storage.upgrade()
                    # What was imported for it stays: half of all objects, through which the collector need not walk.
                    gc.freeze()
                except ConfigError as error:
                    raise StorageUnavailable(str(error)) from None
                self._storage = storage
            return self._storage

    async def told(self, ask: Callable[[Storage], Awaitable[Answer]]) -> Told[Answer]:
        """Returns what storage answers once it has the records of before, within `CATCH_UP_SECONDS`.

        Raises StorageUnavailable, also if it takes longer than `ANSWER_SECONDS` after that, and StorageRefused.
        """
        as_of_ms = wall_ms()
        pending = 0
        if self.ledger is not None:
            pending = await self.ledger.catch_up(CATCH_UP_SECONDS)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return Told(await ask(await self.storage()), as_of_ms, pending)
        except TimeoutError:
            raise StorageUnavailable(f"storage did not answer within {ANSWER_SECONDS:g} s") from None

    def figures(self) -> LedgerFigures | None:
        """Returns how it stands with the ledger, None if nothing is recorded."""
        ledger = self.ledger
        if ledger is None:
            return None
        journal, writer = ledger.journal, ledger.writer
        return LedgerFigures(
            pending_records=journal.pending_records,
            pending_bytes=journal.pending_bytes,
            held_records=ledger.held_records,
            oldest_seconds=writer.oldest_age_seconds,
            written_records=writer.written_records,
            rejected_records=writer.rejected_records,
            lost_records=ledger.lost_records,
            taken_at=writer.taken_at,
            is_storage_up=not writer.is_away,
            is_refusing=ledger.is_refusing,
        )

    def _say_unpriced(self, deployment: str) -> None:
        if deployment in self._unpriced or len(self._unpriced) >= _MAX_UNPRICED:
            return
        self._unpriced.add(deployment)
        _log.warning(
            "the price of %s is not known: what it costs is not counted, and no budget holds it. "
            "Set `price` of a deployment of it in anyport.yaml",
            deployment,
        )

    async def aclose(self) -> None:
        """Brings what is in the journal into storage, as far as there is time; storage itself stays open."""
        await self._tidier.aclose()
        if self.ledger is not None:
            await self.ledger.aclose(FLUSH_SECONDS)


def _load() -> None:
    """Imports what storage needs: a third of a second, for which the event loop has no time."""
    import gateway.storage.store  # noqa: F401  # pyright: ignore[reportUnusedImport]
