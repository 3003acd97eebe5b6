"""Changes of a file are noticed however they are made; nothing else is."""

# ruff: noqa: ASYNC110, ASYNC240 - the files are tiny, and nobody tells that they were looked at

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.reload.watch import DirectoryWatch, FileWatch
from tests.reload.gateway import SLACK_SECONDS

LOOK = 0.02
LONG_ENOUGH = 0.6


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "anyport.yaml"
    made.write_text("a: 1")
    return made


@asynccontextmanager
async def watched(file: Path) -> AsyncIterator[list[str]]:
    """Gives what the file said whenever it was called changed."""
    seen: list[str] = []

    async def changed() -> None:
        seen.append(file.read_text())

    task = asyncio.create_task(FileWatch(file, changed, look_seconds=LOOK).run())
    yield seen
    task.cancel()
    await asyncio.wait([task])


async def until(seen: list[str], count: int) -> None:
    async with asyncio.timeout(SLACK_SECONDS):
        while len(seen) < count:
            await asyncio.sleep(LOOK)


async def test_a_file_that_is_written_to_has_changed(file: Path) -> None:
    async with watched(file) as seen:
        file.write_text("a: 2")
        await until(seen, 1)
        file.write_text("a: 3")
        await until(seen, 2)
    assert seen == ["a: 2", "a: 3"]


async def test_a_file_that_another_one_was_put_in_the_place_of_has_changed(file: Path) -> None:
    async with watched(file) as seen:
        (new := file.with_suffix(".swp")).write_text("a: 2")
        os.replace(new, file)
        await until(seen, 1)


async def test_a_file_that_is_removed_and_made_again_has_changed_once(file: Path) -> None:
    async with watched(file) as seen:
        file.unlink()
        await asyncio.sleep(LONG_ENOUGH)
        assert seen == []
        file.write_text("a: 2")
        await until(seen, 1)


async def test_links_that_are_swapped_change_the_file(tmp_path: Path) -> None:
    for name, text in (("one", "a: 1"), ("two", "a: 2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "anyport.yaml").write_text(text)
    (tmp_path / "data").symlink_to("one")
    file = tmp_path / "anyport.yaml"
    file.symlink_to("data/anyport.yaml")
    async with watched(file) as seen:
        (tmp_path / "next").symlink_to("two")
        os.replace(tmp_path / "next", tmp_path / "data")
        await until(seen, 1)


async def test_a_file_that_was_only_touched_has_not_changed(file: Path) -> None:
    async with watched(file) as seen:
        os.utime(file, (1, 1))
        await asyncio.sleep(LONG_ENOUGH)
    assert seen == []


async def test_half_of_a_file_is_not_taken_for_all_of_it(file: Path) -> None:
    async with watched(file) as seen:
        with file.open("w") as writing:
            for part in range(20):
                writing.write(f"part{part}: 1\n")
                writing.flush()
                await asyncio.sleep(0.05)
        await until(seen, 1)
    assert "part19" in seen[-1]
    assert len(seen) == 1


async def test_a_file_that_was_not_there_may_come(tmp_path: Path) -> None:
    file = tmp_path / "anyport.yaml"
    async with watched(file) as seen:
        file.write_text("a: 1")
        await until(seen, 1)


async def test_files_of_a_directory_that_come_change_and_go_are_changes(tmp_path: Path) -> None:
    directory = tmp_path / "providers.d"
    seen: list[str] = []

    async def changed() -> None:
        seen.append(" ".join(f"{path.name}={path.read_text()}" for path in sorted(directory.iterdir())))

    task = asyncio.create_task(DirectoryWatch(directory, changed, look_seconds=LOOK).run())
    directory.mkdir()
    (directory / "a.yaml").write_text("1")
    await until(seen, 1)
    (directory / "a.yaml").write_text("2")
    await until(seen, 2)
    (directory / "a.yaml").unlink()
    await until(seen, 3)
    task.cancel()
    await asyncio.wait([task])
    assert seen == ["a.yaml=1", "a.yaml=2", ""]
