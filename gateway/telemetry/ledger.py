"""How it stands with the ledger of one process, as metrics tell it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """What is in the journal, what became of records, and whether storage takes them."""

    pending_records: int
    pending_bytes: int
    held_records: int
    """In memory only, since the journal cannot be written."""
    oldest_seconds: float
    """How long the oldest record of the journal has been waiting."""
    written_records: int
    rejected_records: int
    lost_records: int
    taken_at: float | None
    """Unix time at which storage last took records; None before the first."""
    is_storage_up: bool
    is_refusing: bool


NO_LEDGER = LedgerFigures(0, 0, 0, 0.0, 0, 0, 0, None, is_storage_up=False, is_refusing=False)
AskLedger = Callable[[], LedgerFigures | None]
"""Returns None where nothing is recorded."""
AskTrouble = Callable[[], str]
"""Returns what is wrong, empty if nothing is."""
