"""What keys that keep content asked and were answered: where it is, for how long, and where it never is."""

from __future__ import annotations

import json
from pathlib import Path

from alembic import command
from msgspec import UNSET
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.records import Content, UsageRecord
from gateway.storage import steps
from gateway.storage.base import DAY_MS, AuditEntry, RecordsQuery, RecordsRefused, Storage, UsageQuery
from gateway.storage.factory import open_storage
from gateway.storage.journal import Journal
from gateway.storage.ledger import Ledger
from gateway.storage.segments import MAX_CONTENT_BYTES, MAX_LINE_BYTES, line_of, record_of
from gateway.storage.store import SqlStorage
from gateway.storage.writer import Writer
from tests.storage import ledger_parts
from tests.storage.ledger_parts import FAST, Shelf, Trouble, until
from tests.storage.values import CONTENT_DAYS, START_MS, Clock, opened, record, tidied

CANARY = b"canary-of-a-prompt"
CONTENT = Content(b'{"messages":"' + CANARY + b'"}', b"\xff\0 answer", 70_000, 9)
ENTRY = AuditEntry(START_MS, "test", "request.read", "request:r1")


def with_content(id: str = "r1") -> UsageRecord:
    return record(id, content=CONTENT)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


async def test_it_is_beside_the_record_and_every_reading_of_it_is_in_the_audit_log(storage: Storage) -> None:
    await storage.append([with_content(), record("r2")])
    assert [each.content for each in await storage.records(RecordsQuery())] == [UNSET, UNSET]
    assert await storage.read_content("r2", ENTRY) is None
    assert await storage.audits() == []
    assert await storage.read_content("r1", ENTRY) == CONTENT
    assert [each.entry for each in await storage.audits()] == [ENTRY]
    assert (await storage.verify_audit()).broken_at is None


async def test_a_record_that_comes_twice_keeps_what_came_first(storage: Storage) -> None:
    await storage.append([with_content()])
    await storage.append([record(content=Content(b"other", b"", 5, 0)), with_content("r2")])
    assert await storage.read_content("r1", ENTRY) == CONTENT
    assert await storage.read_content("r2", ENTRY) == CONTENT


async def test_it_goes_after_its_days_and_the_record_stays(storage: Storage, clock: Clock) -> None:
    await storage.append([with_content(f"r{number}") for number in range(250)])
    await tidied(storage, START_MS + CONTENT_DAYS * DAY_MS)
    assert await storage.read_content("r249", ENTRY) == CONTENT
    clock.now_ms = START_MS + DAY_MS
    await storage.append([with_content("later")])
    assert await tidied(storage, START_MS + CONTENT_DAYS * DAY_MS + 1) > 2
    assert [await storage.read_content(f"r{number}", ENTRY) for number in range(250)] == [None] * 250
    assert await storage.read_content("later", ENTRY) == CONTENT
    assert [row.requests for row in await storage.usage(UsageQuery())] == [251]
    assert len(await storage.records(RecordsQuery(limit=1000))) == 251


async def test_it_stays_no_longer_than_records_do(url: str, clock: Clock) -> None:
    storage = open_storage(url, Path("unused"), retention_days=2, content_days=7, now_ms=clock)
    try:
        await storage.upgrade()
        await storage.append([with_content()])
        await tidied(storage, START_MS + 2 * DAY_MS + 1)
        assert await storage.read_content("r1", ENTRY) is None
    finally:
        await storage.aclose()


async def test_what_has_gone_is_in_no_file_of_sqlite_any_more(tmp_path: Path) -> None:
    path = tmp_path / "anyport.db"
    async with opened(f"sqlite:///{path}") as storage:
        await storage.append([record(content=Content(CANARY * 3000, CANARY, 60_000, 20))])
    assert CANARY in path.read_bytes()
    async with opened(f"sqlite:///{path}") as storage:
        await tidied(storage, START_MS + CONTENT_DAYS * DAY_MS + 1)
    assert [name for name, data in files(tmp_path).items() if CANARY in data] == []


async def test_a_database_of_the_first_tables_gets_it_and_keeps_what_it_has(url: str) -> None:
    storage = open_storage(url, Path("unused"), now_ms=Clock())
    assert isinstance(storage, SqlStorage)

    def first_tables(connection: Connection) -> None:
        config = steps._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    async def run(connection: AsyncConnection) -> None:
        await connection.run_sync(first_tables)

    try:
        await storage._database.prepare()
        await storage._database.write(run)
        await storage.append([record("old")])
        assert await storage.revision() == ("0001", "0003")
        await storage.upgrade()
        await storage.append([with_content("new")])
        assert await storage.is_current()
        assert [each.id for each in await storage.records(RecordsQuery())] == ["old", "new"]
        assert await storage.read_content("new", ENTRY) == CONTENT
    finally:
        await storage.aclose()


def test_lines_of_keys_that_do_not_keep_it_are_as_they_were() -> None:
    line = line_of(record())
    assert "content" not in json.loads(line[18:])
    assert record_of(line[:-1]) == record()
    assert record_of(line_of(with_content())[:-1]) == with_content()


def test_the_longest_fits_into_a_line() -> None:
    longest = bytes(MAX_CONTENT_BYTES)
    line = line_of(record(content=Content(longest, longest, 1 << 40, 1 << 40)))
    assert len(line) < MAX_LINE_BYTES - 100_000


async def test_it_passes_through_the_journal(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/anyport.db") as storage:
        ledger = Ledger(Journal(tmp_path / "journal"), storage, pace=FAST)
        ledger.start()
        ledger.record(with_content())
        assert await ledger.catch_up(10) == 0
        assert await storage.read_content("r1", ENTRY) == CONTENT
        await ledger.aclose(10)


async def test_it_is_neither_in_what_storage_refuses_nor_in_damaged_lines(tmp_path: Path) -> None:
    shelf, journal = Shelf(), Journal(tmp_path)
    shelf.before = Trouble(RecordsRefused({"r1": "it is no good"}))
    line = line_of(with_content("r0"))
    (tmp_path / "journal-abc-000001.log").write_bytes(line.replace(b"gpt-4.1", b"gpt-4.2"))
    journal.append(with_content())
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    await until(lambda: writer.rejected_records == 2)
    await writer.aclose()
    journal.close()
    rejected = b"".join(data for name, data in files(tmp_path).items() if name.startswith("rejected-"))
    assert b'"id":"r0"' in rejected and b'"id":"r1"' in rejected
    assert b"content" not in rejected


async def test_a_journal_that_is_half_full_takes_records_without_it(tmp_path: Path) -> None:
    shelf, journal = Shelf(), Journal(tmp_path, max_bytes=20_000)
    ledger = Ledger(journal, shelf)
    while journal.is_roomy:
        ledger.record(with_content(f"r{journal.pending_records}"))
    count = journal.pending_records
    ledger.record(with_content("last"))
    found: list[UsageRecord] = []
    while (segment := journal.next_segment()) is not None:
        lines = ledger_parts.read_lines(segment.path, segment.drained, segment.size, 500)
        found += lines.records
        journal.advance(segment, lines.end, len(lines.records))
    assert [each.content for each in found] == [CONTENT] * count + [UNSET]
    await ledger.aclose(0)


async def test_records_that_are_held_in_memory_are_held_without_it(tmp_path: Path) -> None:
    shelf, journal = Shelf(), Journal(tmp_path, max_bytes=20_000)
    ledger = Ledger(journal, shelf)
    while not ledger.held_records:
        ledger.record(with_content(f"r{journal.pending_records}"))
    assert [each.content for each in ledger._held] == [UNSET]
    await ledger.aclose(0)
