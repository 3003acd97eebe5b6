"""Whoever asks the books hears of everything that was before, or how much of it is missing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.books import Books
from gateway.settings.model import StorageSettings
from gateway.storage.base import Storage, StorageUnavailable, UsageQuery, UsageRow
from gateway.storage.factory import open_storage
from tests.storage.values import record


def books_in(directory: Path) -> tuple[Books, Storage]:
    storage = open_storage(None, directory)
    books = Books(StorageSettings(), directory, lambda: storage, is_place_chosen=True)
    return books, storage


async def test_an_answer_has_every_record_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.books.CATCH_UP_SECONDS", 20.0)
    books, storage = books_in(tmp_path)
    books.start()
    try:
        for number in range(1, 6):
            books.record(record(f"r{number}"))
            told = await books.told(lambda storage: storage.usage(UsageQuery()))
            assert [row.requests for row in told.answer] == [number]
            assert told.pending_records == 0
        figures = books.figures()
        assert figures is not None
        assert (figures.pending_records, figures.written_records, figures.is_storage_up) == (0, 5, True)
        assert figures.taken_at is not None
    finally:
        await books.aclose()
        await storage.aclose()


async def test_what_storage_does_not_take_is_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.books.CATCH_UP_SECONDS", 0.1)
    books, storage = books_in(tmp_path)

    async def away(*records: object) -> None:
        raise StorageUnavailable("away")

    async def sums(storage: Storage) -> list[UsageRow]:
        return await storage.usage(UsageQuery())

    books.start()
    try:
        assert (await books.told(sums)).answer == []
        monkeypatch.setattr(books, "append", away)
        books.record(record("r1"))
        told = await books.told(sums)
        assert (told.answer, told.pending_records) == ([], 1)
        figures = books.figures()
        assert figures is not None
        assert (figures.pending_records, figures.is_storage_up) == (1, False)
        monkeypatch.undo()
        told = await books.told(sums)
        assert ([row.requests for row in told.answer], told.pending_records) == ([1], 0)
    finally:
        await books.aclose()
        await storage.aclose()


async def test_a_model_without_a_price_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "anyport.storage")
    books, storage = books_in(tmp_path)
    for number in range(300):
        books.record(replace(record(f"r{number}"), cost_nano_usd=None, deployment=f"local/m{number % 3}"))
        books.record(record(f"p{number}"))
    assert [line.args for line in caplog.records] == [("local/m0",), ("local/m1",), ("local/m2",)]
    for number in range(300):
        books.record(replace(record(f"r{number}"), cost_nano_usd=None, deployment=f"local/{number}"))
    assert len(caplog.records) == 100
    await storage.aclose()


async def test_an_answer_has_what_other_processes_have_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.books.CATCH_UP_SECONDS", 20.0)
    (mine, storage), (theirs, other) = books_in(tmp_path), books_in(tmp_path)

    async def away(*records: object) -> None:
        raise StorageUnavailable("away")

    mine.start()
    theirs.start()
    try:
        for number in range(1, 6):
            theirs.record(record(f"r{number}"))
            told = await mine.told(lambda storage: storage.usage(UsageQuery()))
            assert ([row.requests for row in told.answer], told.pending_records) == ([number], 0)
        monkeypatch.setattr("gateway.books.CATCH_UP_SECONDS", 0.1)
        monkeypatch.setattr(theirs, "append", away)
        for number in (6, 7):
            theirs.record(record(f"r{number}"))
        told = await mine.told(lambda storage: storage.usage(UsageQuery()))
        assert ([row.requests for row in told.answer], told.pending_records) == ([5], 2)
        monkeypatch.undo()
    finally:
        await theirs.aclose()
        await mine.aclose()
        await other.aclose()
        await storage.aclose()
