"""What becomes of requests and their records while the journal cannot be written."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.storage import ledger as ledger_module
from gateway.storage.base import StorageUnavailable, UsageQuery
from gateway.storage.factory import open_storage
from gateway.storage.journal import Journal
from gateway.storage.ledger import Ledger, OnFailure
from tests.storage.ledger_parts import FAST, Shelf, Trouble, disk, record, until


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def full(ledger: Ledger) -> int:
    """Records until the journal takes no more; returns how many records there are then."""
    count = 0
    while not ledger.held_records:
        ledger.record(record(f"r{count}"))
        count += 1
    return count


class Busy:
    """An outbox of a server with many requests."""

    is_busy = True

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def before(self, write_down: Callable[[], None]) -> None:
        self.waiting.append(write_down)


async def test_records_that_are_put_off_are_written_together_and_held_one_by_one_where_they_cannot(
    tmp_path: Path,
) -> None:
    ledger, outbox = Ledger(Journal(tmp_path, max_bytes=100_000), Shelf(), pace=FAST), Busy()
    for number in range(3):
        ledger.record(record(f"r{number}"), outbox)
    assert (ledger.journal.pending_records, len(outbox.waiting)) == (0, 1)
    outbox.waiting.pop()()
    assert ledger.journal.pending_records == 3
    count = full(ledger)
    for number in range(2):
        ledger.record(record(f"s{number}"), outbox)
    outbox.waiting.pop()()
    assert (ledger.journal.pending_records, ledger.held_records) == (3 + count - 1, 3)
    ledger.journal.close()


@pytest.mark.parametrize(("on_failure", "is_refusing"), [("refuse", True), ("serve", False)])
async def test_records_of_a_full_journal_are_held_until_it_has_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, on_failure: OnFailure, is_refusing: bool
) -> None:
    caplog.set_level(logging.WARNING, "anyport.storage")
    shelf, trouble, clock = Shelf(), Trouble(StorageUnavailable("away")), Clock()
    shelf.before = trouble
    ledger = Ledger(Journal(tmp_path, max_bytes=100_000, clock=clock), shelf, on_failure=on_failure, pace=FAST)
    ledger.start()
    assert (ledger.is_writable, ledger.is_refusing) == (True, False)
    count = full(ledger)
    for number in range(count, count + 250):
        ledger.record(record(f"r{number}"))
    assert (ledger.is_writable, ledger.is_refusing, ledger.held_records) == (False, is_refusing, 251)
    trouble.error = None
    await ledger.writer.flush(10)
    clock.now += 1
    await until(lambda: ledger.held_records == 0)
    assert (ledger.is_writable, ledger.is_refusing, ledger.lost_records) == (True, False, 0)
    await ledger.writer.flush(10)
    assert set(shelf.records) == {f"r{number}" for number in range(count + 250)}
    said = [each.getMessage() for each in caplog.records]
    assert len(said) == 2
    assert "storage.journal_max_bytes is 100000" in said[0]
    assert "can be written again" in said[1]
    await ledger.aclose(10)
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240  a directory in memory


async def test_what_cannot_be_held_either_is_counted_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledger_module, "HELD_RECORDS", 10)
    shelf, trouble = Shelf(), Trouble(StorageUnavailable("away"))
    shelf.before = trouble
    ledger = Ledger(Journal(tmp_path, max_bytes=100_000), shelf, on_failure="serve", pace=FAST)
    full(ledger)
    for number in range(20):
        ledger.record(record(f"s{number}"))
    assert (ledger.held_records, ledger.lost_records) == (10, 11)
    ledger.start()
    await ledger.aclose(0.05)
    assert (ledger.held_records, ledger.lost_records) == (0, 21)
    assert "records lost: 10" in caplog.text
    assert "records not in storage yet" in caplog.text


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    with disk(tmp_path, "2m") as place:
        yield place


async def test_one_full_disk_below_journal_and_database_costs_no_record(tiny_disk: Path) -> None:
    storage = open_storage(None, tiny_disk)
    await storage.upgrade()
    ledger = Ledger(Journal(tiny_disk / "journal"), storage, on_failure="refuse", pace=FAST)
    ledger.start()
    count = 0
    ballast = tiny_disk / "ballast"
    for _ in range(3):
        until_full = os.statvfs(tiny_disk).f_bavail * os.statvfs(tiny_disk).f_bsize
        ballast.write_bytes(b"x" * max(until_full - 40_000, 0))
        while not ledger.is_refusing:
            ledger.record(record(f"r{count}"))
            count += 1
        for _ in range(30):
            ledger.record(record(f"r{count}"))
            count += 1
        ballast.unlink()
        await until(lambda: not ledger.is_refusing and not ledger.held_records)
        assert await ledger.writer.flush(10)
    (sums,) = await storage.usage(UsageQuery())
    assert (sums.requests, ledger.lost_records, ledger.writer.rejected_records) == (count, 0, 0)
    await ledger.aclose(10)
    await storage.aclose()


async def test_a_record_that_cannot_be_written_is_lost_loudly_and_makes_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(Journal(tmp_path), Shelf(), on_failure="refuse", pace=FAST)
    ledger.record(record("r\ud800"))
    assert (ledger.lost_records, ledger.held_records, ledger.is_refusing) == (1, 0, False)
    assert "cannot be written" in caplog.text
    ledger.start()
    await ledger.aclose(10)
