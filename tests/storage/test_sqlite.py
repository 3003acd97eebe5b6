# ruff: noqa: ASYNC220, ASYNC240 - files are made and looked at between the steps of one test
"""What goes wrong with a file: full, locked, read-only, broken, in the wrong place."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.storage.base import RecordsQuery, Storage, StorageUnavailable, UsageQuery
from gateway.storage.factory import data_directory, open_storage
from tests.storage.test_upgrade import execute
from tests.storage.values import key, opened, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "data" / "anyport.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[Storage]:
    async with opened(f"sqlite:///{path}") as storage:
        yield storage


async def refused(url: str | None, directory: Path) -> str:
    """Returns what an upgrade is refused with."""
    with pytest.raises(ConfigError) as refusal:
        storage = open_storage(url, directory)
        try:
            await storage.upgrade()
        finally:
            await storage.aclose()
    assert "storage.url" in str(refusal.value)
    return str(refusal.value)


async def requests(storage: Storage) -> int:
    return sum(row.requests for row in await storage.usage(UsageQuery()))


async def test_files_and_directories_are_their_owners_alone(path: Path, storage: Storage) -> None:
    await storage.append([record()])
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert files == {"anyport.db": 0o600, "anyport.db-wal": 0o600, "anyport.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_readers_do_not_wait_for_the_writer(path: Path, storage: Storage) -> None:
    await storage.append([record()])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await requests(storage) == 1
        assert await storage.key("k1") is None
        other.execute("ROLLBACK")


async def test_what_another_process_does_with_the_file_takes_nothing_away_from_a_gateway_that_has_it_open(
    path: Path, storage: Storage
) -> None:
    await storage.append([record("r1")])
    await storage.upgrade()  # as keys and ledger of one process do, each for itself
    look = "import sqlite3, sys; file = sqlite3.connect(sys.argv[1]); "
    look += "print(*file.execute('SELECT count(*) FROM anyport_records').fetchone()); file.close()"
    for count in (1, 2):
        # The last one to close a database removes what it takes for nobody's any more.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", look, str(path), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        assert said == b"%d\n" % count
        await storage.append([record(f"r{count + 1}")])
    async with opened(f"sqlite:///{path}") as other:
        assert await requests(other) == 3


async def test_a_lock_of_five_seconds_is_waited_for(path: Path, storage: Storage) -> None:
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(5, other.execute, ("ROLLBACK",))
        timer.start()
        await storage.append([record()])
        assert timer.finished.is_set()
        timer.join()
    assert await requests(storage) == 1


async def test_a_longer_lock_is_told_and_nothing_is_half_done(path: Path, storage: Storage) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageUnavailable, match="database is locked"):
            await storage.append([record()])
        other.execute("ROLLBACK")
    await storage.append([record()])
    assert await requests(storage) == 1


async def test_a_full_disk_is_told_and_everything_goes_on_when_there_is_room(storage: Storage) -> None:
    await storage.append([record()])
    pages = await limit_pages(storage, 1)
    with pytest.raises(StorageUnavailable, match="database or disk is full"):
        for number in range(100):
            await storage.append([record(f"a{number}-{each}") for each in range(100)])
    assert await requests(storage) % 100 == 1
    before = await requests(storage)
    assert len(await storage.records(RecordsQuery(limit=1000))) == before
    await limit_pages(storage, pages * 100)
    await storage.append([record(f"b{each}") for each in range(100)])
    assert await requests(storage) == before + 100


async def limit_pages(storage: Storage, most: int) -> int:
    """Lets the writer's connection use so many pages at most, at least those that it has; returns how many are used."""
    await execute(storage, f"PRAGMA max_page_count={most}")
    with closing(sqlite3.connect(str(storage.place).removeprefix("sqlite at "))) as other:
        return other.execute("PRAGMA page_count").fetchone()[0]


async def test_a_database_that_cannot_be_written_any_more_is_told(path: Path, storage: Storage) -> None:
    await storage.append([record()])
    await execute(storage, "PRAGMA query_only=ON")
    with pytest.raises(StorageUnavailable, match="attempt to write a readonly database"):
        await storage.append([record("r2")])
    async with opened(f"sqlite:///{path}") as other:
        await other.append([record("r2")])
    assert await requests(storage) == 2


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become somebody else")
async def test_somebody_without_rights_is_told_which_setting_to_change(tmp_path: Path, path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/first.db"):
        pass  # so that all is imported, which somebody else may not read
    os.seteuid(65534)
    try:
        said = await refused(f"sqlite:///{path}", tmp_path)
    finally:
        os.seteuid(0)
    assert f"{path} cannot be written: Permission denied" in said
    assert "set storage.url or storage.directory to a place that can be written" in said


async def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    said = await refused(None, tmp_path / "file" / "data")
    assert "anyport.db cannot be written: " in said
    assert "cannot be written: Is a directory" in await refused(f"sqlite:///{tmp_path}", tmp_path)


@pytest.mark.parametrize(
    "content", [b"# A text, long enough to be one.\n" * 200, b"SQLite format 3\0" + b"\xff" * 5000]
)
async def test_what_is_no_database_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    said = await refused(f"sqlite:///{path}", path.parent)
    assert f"{path} is broken, or no database: " in said
    assert "restore a backup, or move it away to begin anew" in said
    assert path.read_bytes() == content


async def test_a_database_with_a_broken_page_is_refused(path: Path) -> None:
    async with opened(f"sqlite:///{path}") as storage:
        for start in range(0, 2000, 500):
            await storage.append([record(f"r{number}") for number in range(start, start + 500)])
    content = bytearray(path.read_bytes())
    for page in range(20, len(content) // 4096, 7):
        content[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    path.write_bytes(bytes(content))
    assert "is broken, or no database: " in await refused(f"sqlite:///{path}", path.parent)


async def test_a_file_that_was_cut_is_refused(path: Path) -> None:
    async with opened(f"sqlite:///{path}") as storage:
        await storage.append([record(f"r{number}") for number in range(500)])
    path.write_bytes(path.read_bytes()[:-50_000])
    assert "is broken, or no database: " in await refused(f"sqlite:///{path}", path.parent)


async def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()
    async with opened(f"sqlite:///{path}") as storage:
        await storage.append([record()])


async def test_asking_makes_no_file(path: Path) -> None:
    storage = open_storage(f"sqlite:///{path}", path.parent)
    try:
        with pytest.raises(StorageUnavailable, match="`anyport db upgrade` makes it"):
            await storage.revision()
        with pytest.raises(StorageUnavailable, match="there is no such file"):
            await storage.append([record()])
    finally:
        await storage.aclose()
    assert not path.parent.exists()


async def test_what_was_committed_survives_the_process(path: Path) -> None:
    code = (
        "import asyncio, os, sys\nfrom tests.storage.values import opened, record\n"
        "async def main():\n"
        "    async with opened(sys.argv[1]) as storage:\n"
        "        for number in range(1000):\n"
        "            await storage.append([record(f'r{number}')])\n"
        "            print(number, flush=True)\n"
        "asyncio.run(main())"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, f"sqlite:///{path}"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(20):
            last = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read().split()
    last = int(rest[-1]) if rest else last
    async with opened(f"sqlite:///{path}") as storage:
        assert await requests(storage) in (last + 1, last + 2)
        assert len(await storage.records(RecordsQuery(limit=1000))) == await requests(storage)


@pytest.mark.parametrize("name", ["a b?c#d%20e.db", "ключ.db", "x'y.db"])
async def test_any_name_of_a_file_is_that_file(tmp_path: Path, name: str) -> None:
    if "?" in name:
        assert "without options" in await refused(f"sqlite:///{tmp_path}/{name}", tmp_path)
        name = name.replace("?", "")
    async with opened(f"sqlite:///{tmp_path}/{name}") as storage:
        await storage.put_key(key())
    assert (tmp_path / name).stat().st_size > 0


@pytest.mark.parametrize(
    "url", ["sqlite:///", "sqlite:///:memory:", "sqlite:///x/", "mysql://u:hunter2@h/d", "hunter2"]
)
async def test_other_urls_are_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    said = await refused(url, tmp_path)
    assert "must" in said
    assert "hunter2" not in said


def test_files_of_this_machine_are_where_the_operator_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert data_directory(None, {}) == tmp_path / ".anyport"
    assert data_directory(None, {"ANYPORT_DATA_DIR": "/data"}) == Path("/data")
    assert data_directory(None, {"ANYPORT_DATA_DIR": ""}) == tmp_path / ".anyport"
    assert data_directory("mine", {"ANYPORT_DATA_DIR": "/data"}) == tmp_path / "mine"


async def test_without_a_url_the_file_is_in_the_directory(tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path / "data")
    try:
        await storage.upgrade()
        assert storage.place == f"sqlite at {tmp_path}/data/anyport.db"
    finally:
        await storage.aclose()


async def test_closing_waits_for_what_was_begun(path: Path) -> None:
    async with opened(f"sqlite:///{path}") as storage:
        task = asyncio.create_task(storage.append([record()]))
        await asyncio.sleep(0)
        task.cancel()
    async with opened(f"sqlite:///{path}") as storage:
        assert await requests(storage) in (0, 1)
    assert not path.with_name("anyport.db-wal").exists()
