"""Changes of a file are noticed however they are made; nothing else is."""

# ruff: noqa: ASYNC110, ASYNC240 - the files are tiny, and nobody tells that they were looked at

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.reload.watch import ConfigWatch
from gateway.settings.references import SecretFile
from tests.reload.gateway import SLACK_SECONDS

LOOK = 0.02
LONG_ENOUGH = 0.6


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "anyport.yaml"
    made.write_text("a: 1")
    return made


@asynccontextmanager
async def watched(file: Path, *secrets: Path) -> AsyncIterator[list[str]]:
    """Gives what the files said whenever they were called changed, the file itself or those of secrets."""
    seen: list[str] = []

    async def changed(why: str) -> None:
        is_of_secrets = why == "a file of a secret has changed"
        seen.append(" ".join(each.read_text() for each in (secrets if is_of_secrets else (file,))))

    named = [SecretFile(str(each), each.name) for each in secrets]
    watch = ConfigWatch(file, changed, lambda: named, look_seconds=LOOK)
    task = asyncio.create_task(watch.run())
    while len(watch._said.secrets) < len(named):
        await asyncio.sleep(LOOK)
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


async def test_files_of_providers_that_come_change_and_go_are_changes(file: Path) -> None:
    directory = file.with_name("providers.d")
    seen: list[str] = []

    async def changed(why: str) -> None:
        assert why == "the files of providers have changed"
        seen.append(" ".join(f"{path.name}={path.read_text()}" for path in sorted(directory.iterdir())))

    task = asyncio.create_task(ConfigWatch(file, changed, look_seconds=LOOK).run())
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


async def test_a_secret_that_is_being_replaced_holds_up_the_others_and_is_told_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = file.with_name("one"), file.with_name("two")
    one.write_text("a1\n")
    two.write_text("b1\n")
    async with watched(file, one, two) as seen:
        two.write_text("\n")
        await said(caplog, "two, where a secret stands, is gone, empty or not readable")
        one.write_text("a2\n")
        two.unlink()
        await asyncio.sleep(LONG_ENOUGH)
        assert seen == []
        two.write_text("b1\n")
        await until(seen, 1)
    assert seen == ["a2\n b1\n"], "although the one that came back says what it said before"
    assert len(caplog.messages) == 1


async def test_a_secret_that_others_may_write_no_more_has_changed(file: Path) -> None:
    key = file.with_name("key")
    key.write_text("a1")
    key.chmod(0o600)
    async with watched(file, key) as seen:
        key.write_text("a2")
        key.chmod(0o602)
        await until(seen, 1)
        key.chmod(0o600)  # as the refusal of a moment ago has advised
        await until(seen, 2)
        key.chmod(0o400)
        await asyncio.sleep(LONG_ENOUGH)
    assert seen == ["a2", "a2"]


async def test_a_secret_behind_links_that_are_swapped_as_kubernetes_does_has_changed(file: Path) -> None:
    for name in ("..one", "..two"):
        file.with_name(name).mkdir()
        (file.with_name(name) / "key").write_text(name)
    file.with_name("..data").symlink_to("..one")
    key = file.with_name("key")
    key.symlink_to("..data/key")
    async with watched(file, key) as seen:
        file.with_name("..data_tmp").symlink_to("..two")
        os.replace(file.with_name("..data_tmp"), file.with_name("..data"))
        await until(seen, 1)
    assert seen == ["..two"]


async def test_a_secret_that_another_settings_file_names_is_looked_at_from_then_on(file: Path) -> None:
    key = file.with_name("key")
    key.write_text("a1")
    seen: list[str] = []

    async def changed(why: str) -> None:
        seen.append(f"{why}: {key.read_text()}")

    def files() -> list[SecretFile]:
        if file.read_text() == "broken":
            raise ConfigError([])
        return [SecretFile(str(key), "key")] if "key" in file.read_text() else []

    task = asyncio.create_task(ConfigWatch(file, changed, files, look_seconds=LOOK).run())
    file.write_text("key")
    await until(seen, 1)
    file.write_text("broken")
    await until(seen, 2)
    key.write_text("a2")
    await until(seen, 3)
    task.cancel()
    await asyncio.wait([task])
    assert seen[2] == "a file of a secret has changed: a2", "what was named before a fault is still in use"


async def said(caplog: pytest.LogCaptureFixture, words: str) -> None:
    async with asyncio.timeout(SLACK_SECONDS):
        while words not in caplog.text:
            await asyncio.sleep(LOOK)
