"""What a gateway keeps on disk is for its user alone."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

from tests.security.house import CONFIG, House, house


def modes(folder: Path) -> dict[str, int]:
    """Returns the permissions of a folder and all below it."""
    found = {".": folder, **{path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}}
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in found.items()}


def test_nobody_else_may_read_the_data_directory_and_what_is_in_it(tmp_path: Path) -> None:
    before = os.umask(0)  # a careless one; processes that are started have it, too
    try:
        with house(tmp_path) as one:
            one.chat(one.made("keys", name="a")["key"])
            found = modes(tmp_path / ".anyport")
    finally:
        os.umask(before)
    kinds = {name.rpartition(".")[2] for name in found}
    assert {"anyport.db", "anyport.db-wal", "pepper", "journal"} <= set(found)
    assert {"log", "claim"} & kinds, "the journal has files"
    for name, mode in found.items():
        is_folder = (tmp_path / ".anyport" / name).is_dir() or name in (".", "journal")
        assert mode == (0o700 if is_folder else 0o600), (name, oct(mode))
    assert stat.S_IMODE((tmp_path / "stdout.log").stat().st_mode) & 0o100 == 0


def test_a_chosen_directory_with_parents_of_its_own_is_private_as_well(tmp_path: Path) -> None:
    config = {**CONFIG, "storage": {"directory": str(tmp_path / "var" / "lib" / "anyport")}}
    with house(tmp_path, config) as one:
        one.made("keys", name="a")
        found = modes(tmp_path / "var" / "lib" / "anyport")
    assert {mode & 0o077 for mode in found.values()} == {0}


def test_neither_pepper_nor_key_is_in_the_database(tmp_path: Path) -> None:
    with house(tmp_path) as one:
        made = one.made("keys", name="a")
        one.chat(made["key"])
        rotated = one.admin("POST", f"/admin/keys/{made['id']}/rotate").json["key"]
        folder = tmp_path / ".anyport"
        pepper = (folder / "pepper").read_bytes()
        assert len(pepper) >= 32
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "pepper":
                data = path.read_bytes()
                assert not [word for word in (made["key"].encode(), rotated.encode(), pepper) if word in data], path


def test_access_records_are_for_user_and_group_alone(tmp_path: Path) -> None:
    log = tmp_path / "logs.jsonl"
    config = {**CONFIG, "server": {**CONFIG["server"], "access_log": str(log)}}
    with house(tmp_path, config) as one:
        one.chat("wrong")
    assert stat.S_IMODE(log.stat().st_mode) & 0o007 == 0
    assert all(json.loads(line) for line in log.read_text().splitlines())


def test_a_key_that_ends_in_one_process_ends_in_the_other_within_seconds(tmp_path: Path) -> None:
    shared = {**CONFIG, "storage": {"directory": str(tmp_path / "data")}}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with house(tmp_path / "one", shared) as one, house(tmp_path / "two", shared) as two:
        made = one.made("keys", name="a")
        assert becomes(two, made["key"], 200)
        second = one.admin("POST", f"/admin/keys/{made['id']}/rotate").json["key"]
        assert becomes(two, second, 200)
        assert becomes(two, made["key"], 401)
        assert one.admin("POST", f"/admin/keys/{made['id']}/disable").status == 200
        assert one.chat(second).status == 401
        assert becomes(two, second, 401)


def becomes(one: House, key: str, status: int) -> bool:
    """Waits until a key has an effect; the promise is 5 seconds, and the rest is for a busy machine."""
    end = time.monotonic() + 15
    while one.chat(key).status != status:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
