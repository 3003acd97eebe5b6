"""SIGKILL at any moment: what an append said was written comes into storage, once, whoever drains it."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path

import pytest

from gateway.storage.base import RecordsQuery, UsageQuery
from gateway.storage.factory import open_storage
from gateway.storage.journal import Journal
from gateway.storage.writer import Writer
from tests.storage.ledger_parts import FAST, Shelf, names, record

# Each round starts an interpreter, which takes seconds where many tests run at once.
pytestmark = pytest.mark.timeout(400)

ROUNDS = 24
DRAINING_ROUNDS = 5
SQLITE_ROUNDS = 4
_SECONDS = 0.25
"""Longest life of a process after its first record; four times that where it has a database."""


async def live_and_die(directory: Path, prefix: str, seconds: float, kind: str) -> list[str]:
    """Returns the ids of the appends that returned before the process was killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.storage.appender", str(directory), prefix, kind, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    first = await asyncio.wait_for(process.stdout.readline(), 30)
    ends_at = time.monotonic() + seconds
    said = [first]
    while time.monotonic() < ends_at:
        said.append(await process.stdout.read(4096))
    process.kill()
    said.append(await process.stdout.read())
    assert await process.wait() == -9
    # A last id that was broken off belongs to an append that returned, but nobody heard it.
    return b"".join(said).decode().rpartition("\n")[0].split("\n")


async def test_no_append_that_returned_is_lost_or_doubled_by_a_kill(tmp_path: Path) -> None:
    chance, shelf = random.Random(7), Shelf()
    journal = Journal(tmp_path)
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    returned: list[str] = []
    for start in range(0, ROUNDS, 2):
        # Two at a time in one directory, while a third one adopts what the dead leave.
        lives = [
            live_and_die(tmp_path, f"p{start + number}", chance.random() * _SECONDS, "nothing") for number in range(2)
        ]
        returned += [id for ids in await asyncio.gather(*lives) for id in ids]
    assert await writer.flush(30)
    await writer.aclose()
    journal.adopt()
    last = Writer(journal, shelf, pace=FAST)
    last.start()
    assert await last.flush(30)
    await last.aclose()
    journal.close()
    assert set(returned) <= set(shelf.records)
    assert len(set(returned)) == len(returned) >= ROUNDS
    # At most the one that each process was just at was written without being said.
    assert len(shelf.records) - len(returned) <= ROUNDS
    assert {*shelf.appends.values()} == {1}
    assert names(tmp_path, "") == []


async def test_what_a_killed_process_had_brought_into_storage_is_not_brought_again(tmp_path: Path) -> None:
    chance = random.Random(8)
    returned: list[str] = []
    for number in range(DRAINING_ROUNDS):
        returned += await live_and_die(tmp_path, f"p{number}", 0.05 + chance.random() * _SECONDS, "ids")
    shelf, journal = Shelf(), Journal(tmp_path)
    writer = Writer(journal, shelf, pace=FAST)
    writer.start()
    assert await writer.flush(30)
    await writer.aclose()
    journal.close()
    before = (tmp_path / "stored").read_text().split("\n")[:-1]
    assert set(returned) <= {*before, *shelf.records}
    # Only of the batches that a process was at when it died, storage may hear twice.
    assert len(before) + len(shelf.records) - len({*before, *shelf.records}) <= DRAINING_ROUNDS * FAST.batch_records


async def test_real_storage_counts_each_record_once_however_often_its_process_is_killed(tmp_path: Path) -> None:
    chance = random.Random(9)
    storage = open_storage(None, tmp_path)
    await storage.upgrade()
    returned: list[str] = []
    for start in range(0, SQLITE_ROUNDS, 2):
        lives = [
            live_and_die(tmp_path, f"p{start + number}", chance.random() * 4 * _SECONDS, "sqlite")
            for number in range(2)
        ]
        returned += [id for ids in await asyncio.gather(*lives) for id in ids]
    journal = Journal(tmp_path)
    writer = Writer(journal, storage, pace=FAST)
    writer.start()
    assert await writer.flush(60)
    await writer.aclose()
    journal.close()
    (sums,) = await storage.usage(UsageQuery())
    assert writer.rejected_records == 0
    assert len(set(returned)) == len(returned) <= sums.requests <= len(returned) + SQLITE_ROUNDS
    assert sums.cost_nano_usd == sums.requests * record("r").cost_nano_usd
    for id in chance.sample(returned, min(len(returned), 100)):
        assert len(await storage.records(RecordsQuery(id=id))) == 1
    await storage.aclose()
