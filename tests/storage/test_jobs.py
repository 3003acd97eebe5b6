"""Files, batches and their lines, on both databases."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from gateway.storage.base import Storage
from gateway.storage.jobs import COMPLETED, FAILED, Batch, Consignment, Line, Page, StoredFile
from tests.storage.values import opened

NOW = 1_800_000_000_000
LATER = NOW + 30_000


def file(id: str = "file-1", owner: str = "key:a", **more: int) -> StoredFile:
    return StoredFile(id, owner, f"{id}.jsonl", "batch", more.get("bytes", 0), more.get("at", NOW))


def batch(id: str = "batch_1", owner: str = "key:a", at: int = NOW) -> Batch:
    return Batch(id, owner, "/v1/chat/completions", "file-1", "24h", at, at + 86_400_000, metadata={"a": "b"})


async def running(storage: Storage, lines: int = 5) -> Batch:
    """Keeps a batch that has been checked."""
    jobs = storage.jobs
    made = batch()
    await jobs.put_batch(made)
    assert await jobs.hold(made.id, "one", NOW, LATER)
    new = [Line(made.id, number, f"c{number}", b"{}") for number in range(lines)]
    assert await jobs.add_lines(made.id, "one", new, is_first=True)
    made = replace(made, status="in_progress", total=lines, in_progress_at_ms=NOW)
    assert await jobs.change(made, "one", "validating")
    return made


async def test_a_file_is_seen_when_it_is_whole_and_by_its_owner_alone(storage: Storage) -> None:
    jobs = storage.jobs
    await jobs.begin_file(file())
    await jobs.add_part("file-1", 0, b"one\n")
    await jobs.add_part("file-1", 1, b"\0two\n")
    assert await jobs.file("key:a", "file-1") is None
    whole = file(bytes=9)
    await jobs.end_file(whole)
    assert await jobs.file("key:a", "file-1") == whole
    assert await jobs.file("key:b", "file-1") is None
    assert [await jobs.part("file-1", number) for number in range(3)] == [b"one\n", b"\0two\n", None]
    assert (await jobs.kept_bytes("key:a"), await jobs.kept_bytes("key:b")) == (9, 0)
    assert not await jobs.remove_file("key:b", "file-1")
    assert await jobs.remove_file("key:a", "file-1")
    assert await jobs.part("file-1", 0) is None


async def test_files_and_batches_come_in_pages(storage: Storage) -> None:
    jobs = storage.jobs
    for number in range(5):
        await jobs.begin_file(file(f"file-{number}", at=NOW + number // 2))
        await jobs.end_file(file(f"file-{number}", at=NOW + number // 2))
        await jobs.put_batch(batch(f"batch_{number}", at=NOW + number // 2))
    first = await jobs.files("key:a", Page(limit=2))
    rest = await jobs.files("key:a", Page(limit=9, after=first[-1].id))
    assert [each.id for each in (*first, *rest)] == [f"file-{number}" for number in (4, 3, 2, 1, 0)]
    oldest = await jobs.files("key:a", Page(limit=9, is_ascending=True, after="file-1"))
    assert [each.id for each in oldest] == ["file-2", "file-3", "file-4"]
    assert await jobs.files("key:a", Page(purpose="batch_output")) == []
    assert [each.id for each in await jobs.batches("key:a", Page(limit=2))] == ["batch_4", "batch_3"]
    assert await jobs.batches("key:b", Page()) == []


async def test_a_line_is_held_by_one_until_it_is_done_or_its_holder_is_gone(storage: Storage) -> None:
    jobs = storage.jobs
    made = await running(storage)
    mine = await jobs.take(made.id, "one", 2, NOW, LATER)
    others = await jobs.take(made.id, "two", 9, NOW, LATER + 30_000)
    assert ([line.number for line in mine], [line.number for line in others]) == ([0, 1], [2, 3, 4])
    assert await jobs.end_line(mine[0], "one", COMPLETED, b"done\n")
    again = await jobs.take(made.id, "two", 9, LATER, LATER + 30_000)
    assert [(line.number, line.tries) for line in again] == [(1, 2)]
    assert not await jobs.end_line(mine[1], "one", COMPLETED, b"too late\n")
    assert not await jobs.end_line(mine[0], "one", COMPLETED, b"twice\n")
    await jobs.give_back(again[0], "two", LATER + 5000, is_tried=False)
    assert await jobs.take(made.id, "one", 9, LATER + 4999, LATER + 60_000) == []
    assert [line.tries for line in await jobs.take(made.id, "one", 9, LATER + 5000, LATER + 60_000)] == [2]


async def test_many_that_take_at_the_same_time_never_get_the_same_line(url: str, storage: Storage) -> None:
    made = await running(storage, lines=200)
    async with opened(url) as other:

        async def take(which: Storage, name: str) -> list[int]:
            found: list[int] = []
            while taken := await which.jobs.take(made.id, name, 7, NOW, LATER):
                found += [line.number for line in taken]
            return found

        taken = await asyncio.gather(*(take(which, f"{n}") for n, which in enumerate((storage, other) * 2)))
    assert sorted(number for numbers in taken for number in numbers) == list(range(200))


async def test_holding_is_made_longer_and_a_batch_is_finished_by_its_holder(storage: Storage) -> None:
    jobs = storage.jobs
    made = await running(storage, lines=2)
    lines = await jobs.take(made.id, "one", 2, NOW, LATER)
    await jobs.renew("one", [made.id], LATER + 60_000)
    assert await jobs.take(made.id, "two", 2, LATER, LATER + 1) == []
    assert await jobs.unfinished(made.id, LATER) == (2, 2)
    await jobs.end_line(lines[0], "one", COMPLETED, b"yes\n")
    await jobs.end_line(lines[1], "one", FAILED, b"no\n")
    seen = await jobs.batch("key:a", made.id)
    assert seen is not None
    assert (seen.total, seen.completed, seen.failed) == (2, 1, 1)
    assert await jobs.unfinished(made.id, LATER) == (0, 0)
    held = await jobs.hold(made.id, "one", LATER, LATER + 30_000)
    assert held is not None
    assert await jobs.hold(made.id, "two", LATER, LATER + 30_000) is None
    assert [each.result for each in await jobs.results(made.id, -1, 10, 1_000)] == [b"yes\n", b"no\n"]
    for most_bytes, count in ((0, 1), (6, 1), (7, 2)):
        assert len(await jobs.results(made.id, -1, 10, most_bytes)) == count
    await jobs.begin_file(file("file-out"))
    await jobs.add_part("file-out", 0, b"yes\n")
    ended = replace(held, status="completed", completed=1, failed=1, output_file_id="file-out")
    assert not await jobs.finish(ended, "two", "in_progress", [file("file-out", bytes=4)])
    assert await jobs.finish(ended, "one", "in_progress", [file("file-out", bytes=4)])
    assert await jobs.batch("key:a", made.id) == ended
    assert await jobs.file("key:a", "file-out") == file("file-out", bytes=4)
    assert (await jobs.at_work(), await jobs.results(made.id, -1, 10, 1_000)) == ([], [])


async def test_after_a_cancellation_nothing_is_taken_and_no_check_goes_on(storage: Storage) -> None:
    jobs = storage.jobs
    await jobs.put_batch(batch("batch_2"))
    assert await jobs.hold("batch_2", "one", NOW, LATER)
    assert await jobs.cancel("key:b", "batch_2", NOW) is None
    cancelled = await jobs.cancel("key:a", "batch_2", NOW)
    assert cancelled is not None
    assert (cancelled.status, cancelled.cancelling_at_ms) == ("cancelling", NOW)
    assert not await jobs.add_lines("batch_2", "one", [], is_first=True)
    assert not await jobs.change(replace(cancelled, status="in_progress"), "one", "validating")
    made = await running(storage)
    await jobs.cancel("key:a", made.id, NOW)
    assert await jobs.take(made.id, "one", 9, NOW, LATER) == []


async def test_who_lost_its_hold_changes_nothing_of_a_consignment(storage: Storage) -> None:
    jobs = storage.jobs
    made = await running(storage, lines=3)
    assert await jobs.hold(made.id, "one", NOW, LATER)
    new = Consignment("c1", "", "new", NOW)
    assert len(await jobs.consign(made.id, "one", new, 2, 1000, NOW)) == 2
    assert await jobs.hold(made.id, "two", LATER, LATER + 1)
    sending = replace(new, state="sending", reserved_nano_usd={"key:k1": 70, "team:t1": 70})
    assert await jobs.put_consignment(made.id, sending, "one") is None
    assert not await jobs.drop_consignment(made.id, "c1", "one")
    assert await storage.reserved() == {}
    found = await jobs.put_consignment(made.id, sending, "two")
    assert found is not None and found.consignments == (sending,)
    assert await storage.reserved() == {"key:k1": {"c1": 70}, "team:t1": {"c1": 70}}
    assert await jobs.unfinished(made.id, LATER) == (3, 2)
    assert await jobs.drop_consignment(made.id, "c1", "two")
    assert await storage.reserved() == {}
    assert await jobs.unfinished(made.id, LATER) == (3, 0)


async def test_what_is_old_goes_but_not_a_batch_at_work(storage: Storage) -> None:
    jobs = storage.jobs
    made = await running(storage)
    await jobs.begin_file(file("file-cut"))
    await jobs.begin_file(file())
    await jobs.end_file(file())
    assert await jobs.sweep(NOW, NOW + 1) == 1
    assert await jobs.sweep(NOW + 1, NOW + 1) == 1
    assert [each.id for each in await jobs.at_work()] == [made.id]
    assert await jobs.take(made.id, "one", 1, made.expires_at_ms, made.expires_at_ms + 1) == []
