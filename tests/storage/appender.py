"""A process that appends records to a journal and says which appends returned, until it is killed.

Arguments: the directory, what ids begin with, and into what it drains at the same time: `nothing`, `ids` (a file of
them) or `sqlite` (the real storage, whose tables exist).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.records import UsageRecord
from gateway.storage.factory import open_storage
from gateway.storage.journal import Journal
from gateway.storage.writer import Appender, Writer
from tests.storage.ledger_parts import FAST, record


class IdFile:
    """Storage that a process shares with its successors: what it was given, one id a line."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def append(self, records: Sequence[UsageRecord]) -> None:
        await asyncio.sleep(0)
        os.write(self._descriptor, b"".join(each.id.encode() + b"\n" for each in records))


def storage(directory: Path, kind: str) -> Appender | None:
    if kind == "sqlite":
        return open_storage(None, directory)
    return IdFile(directory / "stored") if kind == "ids" else None


async def main(directory: Path, prefix: str, kind: str) -> None:
    journal = Journal(directory, segment_bytes=20_000)
    drains_into = storage(directory, kind)
    if drains_into is not None:
        Writer(journal, drains_into, pace=FAST).start()
    number = 0
    while True:
        for _ in range(20):
            id = f"{prefix}-{number}"
            journal.append(record(id, model="m" * (number * 37 % 9000)))
            os.write(1, id.encode() + b"\n")
            number += 1
        # As fast as a disk is; a database's files take longer.
        await asyncio.sleep(0.02 if kind == "sqlite" else 0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
