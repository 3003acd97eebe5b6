"""That all of a journal comes into storage once, whatever storage does."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from gateway.records import UsageRecord
from gateway.storage.base import RecordsRefused, StorageRefused, StorageUnavailable, UsageQuery
from gateway.storage.factory import open_storage
from gateway.storage.journal import Journal
from gateway.storage.segments import line_of
from gateway.storage.writer import Pace, Writer
from tests.storage.ledger_parts import AT_MS, FAST, Shelf, Trouble, names, record, until
from tests.storage.server import PostgresServer


def rejected(directory: Path) -> Path:
    (path,) = directory.glob("rejected-*.log")
    return path


async def ended(writer: Writer, journal: Journal) -> None:
    await writer.aclose()
    journal.close()


async def test_all_comes_into_storage_in_batches(tmp_path: Path) -> None:
    shelf, trouble = Shelf(), Trouble()
    shelf.before = trouble
    journal = Journal(tmp_path, segment_bytes=100_000)
    for number in range(1203):
        journal.append(record(f"r{number}"))
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    assert await writer.flush(10)
    assert list(shelf.records) == [f"r{number}" for number in range(1203)]
    assert set(shelf.appends.values()) == {1}
    assert max(trouble.batches) == FAST.batch_records
    assert (writer.written_records, writer.failures, writer.oldest_age_seconds) == (1203, 0, 0.0)
    await ended(writer, journal)
    assert names(tmp_path, "") == []


async def test_what_comes_later_is_brought_without_being_asked(tmp_path: Path) -> None:
    shelf, journal = Shelf(), Journal(tmp_path)
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    for number in range(50):
        journal.append(record(f"r{number}"))
        await asyncio.sleep(0.001)
    await until(lambda: len(shelf.records) == 50)
    await ended(writer, journal)


@pytest.mark.parametrize(
    "error", [StorageUnavailable("away"), OSError(111, "refused"), TimeoutError(), sqlite3.OperationalError("locked")]
)
async def test_while_storage_is_away_nothing_is_lost_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    caplog.set_level(logging.INFO, "anyport.storage")
    shelf, journal, trouble = Shelf(), Journal(tmp_path, segment_bytes=5000), Trouble(error)
    shelf.before = trouble
    writer = Writer(journal, shelf, pace=FAST, wall_clock=lambda: AT_MS / 1000 + 7)
    writer.start()
    for number in range(30):
        journal.append(record(f"r{number}"))
    await until(lambda: len(trouble.batches) >= 5)
    for number in range(30, 60):
        journal.append(record(f"r{number}"))
    assert not await writer.flush(0.05)
    assert writer.is_away and writer.failures >= 5
    assert (writer.oldest_age_seconds, journal.pending_records) == (pytest.approx(7), 60)
    await until(lambda: journal.unsynced() == [])
    trouble.error = None
    assert await writer.flush(10)
    assert sorted(shelf.records) == sorted(f"r{number}" for number in range(60))
    assert not writer.is_away
    said = [each.getMessage() for each in caplog.records]
    assert [text.partition(":")[0].partition(" after")[0] for text in said] == [
        "storage takes no records, they wait in the journal",
        "storage takes records again",
    ]
    await ended(writer, journal)


async def test_pauses_grow_while_storage_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    shelf, journal, trouble = Shelf(), Journal(tmp_path), Trouble(StorageUnavailable("away"))
    shelf.before = trouble

    async def rest(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            trouble.error = None
        await asyncio.sleep(0)

    writer = Writer(journal, shelf, pace=Pace())
    monkeypatch.setattr(writer, "_rest", rest)
    journal.append(record("r"))
    writer.start()
    assert await writer.flush(10)
    assert pauses[:8] == [pytest.approx(each) for each in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0)]
    await ended(writer, journal)


async def test_storage_that_never_answers_is_asked_again(tmp_path: Path) -> None:
    shelf, journal = Shelf(), Journal(tmp_path)
    asked = 0

    async def before(records: Sequence[UsageRecord]) -> None:
        nonlocal asked
        asked += 1
        if asked < 3:
            await asyncio.Event().wait()

    shelf.before = before
    journal.append(record("r"))
    writer = Writer(journal, shelf, pace=Pace(append_seconds=0.02, first_pause_seconds=0.001))
    writer.start()
    assert await writer.flush(10)
    assert (asked, writer.failures) == (3, 2)
    await ended(writer, journal)


async def test_a_batch_that_was_stored_without_our_hearing_of_it_is_sent_again(tmp_path: Path) -> None:
    shelf, journal = Shelf(), Journal(tmp_path)

    async def after(records: Sequence[UsageRecord]) -> None:
        if shelf.appends[records[0].id] < 3:
            raise ConnectionResetError("in the middle of the answer")

    shelf.after = after
    for number in range(10):
        journal.append(record(f"r{number}"))
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    assert await writer.flush(10)
    assert len(shelf.records) == 10 and set(shelf.appends.values()) == {3}
    await ended(writer, journal)


async def test_what_is_written_while_storage_is_slow_follows(tmp_path: Path) -> None:
    shelf, journal = Shelf(), Journal(tmp_path, segment_bytes=3000)

    async def before(records: Sequence[UsageRecord]) -> None:
        await asyncio.sleep(0.02)

    shelf.before = before
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    for number in range(100):
        journal.append(record(f"r{number:03}"))
        await asyncio.sleep(0.001)
    assert await writer.flush(10)
    assert list(shelf.records) == [f"r{number:03}" for number in range(100)]
    await ended(writer, journal)


@pytest.mark.parametrize("is_named", [True, False])
async def test_a_record_that_storage_refuses_is_set_aside_and_holds_up_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_named: bool
) -> None:
    shelf, journal = Shelf(), Journal(tmp_path)

    async def before(records: Sequence[UsageRecord]) -> None:
        bad = {each.id: "a bad model" for each in records if each.model == "bad"}
        if bad:
            raise RecordsRefused(bad) if is_named else StorageRefused("some are bad")

    shelf.before = before
    for number in range(20):
        journal.append(record(f"r{number}", model="bad" if number in (0, 7, 8, 19) else "good"))
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    assert await writer.flush(10)
    assert len(shelf.records) == 16
    assert (writer.written_records, writer.rejected_records) == (16, 4)
    path = rejected(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    # As a segment, the file is taken once more: for the day on which storage takes them.
    assert path.read_bytes() == b"".join(line_of(record(f"r{number}", model="bad")) for number in (0, 7, 8, 19))
    assert "records set aside in" in caplog.text
    await ended(writer, journal)
    path.rename(tmp_path / "journal-again-1.log")
    shelf.before = None
    journal = Journal(tmp_path)
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    await until(lambda: len(shelf.records) == 20)
    await ended(writer, journal)


async def test_a_damaged_record_is_set_aside_and_a_broken_off_one_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = line_of(record("r1"))
    damaged = whole.replace(b"model-1", b"model-2")
    (tmp_path / "journal-abc-000001.log").write_bytes(whole + damaged + line_of(record("r2")) + whole[:40])
    shelf, journal = Shelf(), Journal(tmp_path)
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    assert await writer.flush(10)
    assert list(shelf.records) == ["r1", "r2"]
    assert (writer.rejected_records, writer.torn_records) == (1, 1)
    path = rejected(tmp_path)
    assert path.read_bytes() == damaged
    assert "damaged in" in caplog.text and "broken off" in caplog.text
    await ended(writer, journal)


async def test_a_segment_that_somebody_removed_is_said_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shelf, trouble = Shelf(), Trouble(StorageUnavailable("away"))
    shelf.before = trouble
    journal = Journal(tmp_path, segment_bytes=5 * len(line_of(record("r00"))))
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    for number in range(20):
        journal.append(record(f"r{number:02}"))
    await until(lambda: writer.is_away)
    for name in names(tmp_path, ".log")[1:]:
        (tmp_path / name).unlink()
    trouble.error = None
    assert await writer.flush(10)
    journal.append(record("later"))
    assert await writer.flush(10)
    assert list(shelf.records) == [f"r{number:02}" for number in range(5)] + ["later"]
    assert caplog.text.count("records lost: 5") == 3
    await ended(writer, journal)


async def test_a_living_process_brings_what_a_dead_one_left(tmp_path: Path) -> None:
    shelf, journal = Shelf(), Journal(tmp_path)
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    await writer.flush(10)
    other = Journal(tmp_path)
    for number in range(10):
        other.append(record(f"r{number}"))
    other.close()
    await until(lambda: len(shelf.records) == 10)
    await until(lambda: names(tmp_path, ".log") == [])
    await ended(writer, journal)


async def test_two_processes_share_a_directory(tmp_path: Path) -> None:
    shelf, journals = Shelf(), [Journal(tmp_path, segment_bytes=3000) for _ in range(2)]
    writers = [Writer(journal, shelf, pace=FAST) for journal in journals]
    for writer in writers:
        writer.start()
    for number in range(200):
        journals[number % 2].append(record(f"r{number}"))
        if number % 10 == 0:
            await asyncio.sleep(0.001)
    for writer, journal in zip(writers, journals, strict=True):
        assert await writer.flush(10)
        await ended(writer, journal)
    assert len(shelf.records) == 200 and set(shelf.appends.values()) == {1}
    assert names(tmp_path, "") == []


async def test_what_is_not_in_storage_at_the_end_is_there_for_the_next_process(tmp_path: Path) -> None:
    shelf, trouble, journal = Shelf(), Trouble(StorageUnavailable("away")), Journal(tmp_path)
    shelf.before = trouble
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    for number in range(10):
        journal.append(record(f"r{number}"))
    assert not await writer.flush(0.05)
    await ended(writer, journal)
    journal = Journal(tmp_path)
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    assert not await writer.flush(0.05)
    assert not writer.has_caught_up
    trouble.error = None
    assert await writer.flush(10)
    assert (len(shelf.records), writer.has_caught_up) == (10, True)
    await ended(writer, journal)


async def test_trouble_with_the_journal_itself_does_not_end_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shelf, journal = Shelf(), Journal(tmp_path)
    journal.append(record("r"))
    hidden = tmp_path / "hidden"
    path = tmp_path / names(tmp_path, ".log")[0]
    path.rename(hidden)
    path.mkdir()  # reading it fails, as a broken disk would
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    await until(lambda: writer.failures > 2)
    path.rmdir()
    hidden.rename(path)
    assert await writer.flush(10)
    assert list(shelf.records) == ["r"]
    assert "trouble with the journal" in caplog.text
    await ended(writer, journal)


async def test_connections_that_break_in_the_middle_of_batches_lose_and_double_nothing(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = await postgres.database()
    storage = open_storage(url, tmp_path)
    await storage.upgrade()
    journal = Journal(tmp_path)
    writer = Writer(journal, storage, pace=replace(FAST, batch_records=20))
    killer = await asyncpg.connect(url)
    writer.start()
    for number in range(100):
        for each in range(30):
            journal.append(record(f"r{number}-{each}"))
        await asyncio.sleep(0.005)
        await killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    await killer.close()
    assert await writer.flush(30)
    assert (writer.failures > 0, writer.rejected_records, writer.is_away) == (True, 0, False)
    (sums,) = await storage.usage(UsageQuery())
    assert sums.requests == 3000
    await ended(writer, journal)
    await storage.aclose()


async def test_whoever_asks_waits_for_what_was_before_and_not_for_what_comes_meanwhile(tmp_path: Path) -> None:
    shelf, journal = Shelf(), Journal(tmp_path)
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    journal.append(record("before"))

    async def more(records: Sequence[UsageRecord]) -> None:
        journal.append(record(f"later-{len(shelf.records)}"))  # so that the journal is never empty

    shelf.after = more
    async with asyncio.timeout(30):
        assert await writer.catch_up(3600)
    assert "before" in shelf.records
    shelf.after = None
    await ended(writer, journal)


async def test_whoever_asks_while_storage_is_away_waits_no_longer_than_it_wants_to(tmp_path: Path) -> None:
    shelf, journal, trouble = Shelf(), Journal(tmp_path), Trouble(StorageUnavailable("away"))
    shelf.before = trouble
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    assert await writer.catch_up(0.05)  # nothing waits
    journal.append(record("r"))
    assert not await writer.catch_up(0.05)
    trouble.error = None
    assert await writer.catch_up(10)
    await ended(writer, journal)


async def test_whoever_asks_waits_for_no_pause_of_the_writer(tmp_path: Path) -> None:
    shelf, journal = Shelf(), Journal(tmp_path)
    writer = Writer(journal, shelf, pace=replace(FAST, gather_seconds=3600.0))
    writer.start()
    async with asyncio.timeout(30):
        for number in range(20):
            journal.append(record(f"r{number}"))
            waiting = asyncio.create_task(writer.catch_up(3600))
            await asyncio.sleep(0)
            journal.append(record(f"also-{number}"))
            assert await writer.catch_up(3600) and await waiting
    assert len(shelf.records) == 40
    await ended(writer, journal)
