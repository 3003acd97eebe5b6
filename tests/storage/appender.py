"""A process that appends records to a journal and says which appends returned, until it is killed.

Arguments: the directory, what ids begin with, and `drain` if it is to drain into a file of ids, too.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.records import UsageRecord
from gateway.storage.journal import Journal
from gateway.storage.writer import Writer
from tests.storage.ledger_parts import FAST, record


class IdFile:
    """Storage that a process shares with its successors: what it was given, one id a line."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def append(self, records: Sequence[UsageRecord]) -> None:
        await asyncio.sleep(0)
        os.write(self._descriptor, b"".join(each.id.encode() + b"\n" for each in records))


async def main(directory: Path, prefix: str, *, is_draining: bool) -> None:
    journal = Journal(directory, segment_bytes=20_000)
    if is_draining:
        Writer(journal, IdFile(directory / "stored"), pace=FAST).start()
    number = 0
    while True:
        for _ in range(20):
            id = f"{prefix}-{number}"
            journal.append(record(id, model="m" * (number * 37 % 9000)))
            os.write(1, id.encode() + b"\n")
            number += 1
        await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], is_draining=sys.argv[3] == "drain"))
