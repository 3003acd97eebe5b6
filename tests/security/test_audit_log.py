"""Whoever changes the audit log behind our back is found out, unless all of it is written anew."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.storage.base import AuditEntry, AuditVerdict
from tests.storage.values import opened

ENTRIES = 6
CHANGES = {
    "another time": ("UPDATE anyport_audit SET at_ms = at_ms + 1 WHERE sequence = 3", 3),
    "another actor": ("UPDATE anyport_audit SET actor = 'nobody' WHERE sequence = 3", 3),
    "another action": ("UPDATE anyport_audit SET action = 'key.show' WHERE sequence = 3", 3),
    "another subject": ("UPDATE anyport_audit SET subject = 'key:else' WHERE sequence = 1", 1),
    "other details": ("UPDATE anyport_audit SET details = '{}' WHERE sequence = 6", 6),
    "another digest": ("UPDATE anyport_audit SET digest = zeroblob(32) WHERE sequence = 2", 2),
    "the first is gone": ("DELETE FROM anyport_audit WHERE sequence = 1", 1),
    "one in the middle is gone": ("DELETE FROM anyport_audit WHERE sequence = 4", 4),
    "the last is gone": ("DELETE FROM anyport_audit WHERE sequence = 6", 6),
    "all are gone": ("DELETE FROM anyport_audit", 1),
    "two have changed places": (
        "UPDATE anyport_audit SET sequence = CASE sequence WHEN 2 THEN 103 WHEN 3 THEN 102 END"
        " WHERE sequence IN (2, 3); UPDATE anyport_audit SET sequence = sequence - 100 WHERE sequence > 100",
        2,
    ),
}


async def verdict_after(path: Path, script: str) -> tuple[AuditVerdict, AuditVerdict]:
    async with opened(f"sqlite:///{path}/data/anyport.db") as storage:
        for number in range(ENTRIES):
            await storage.audit(AuditEntry(number, "admin API", "key.create", f"key:{number}", '{"name": "a"}'))
        before = await storage.verify_audit()
        with closing(sqlite3.connect(path / "data" / "anyport.db")) as connection:
            connection.executescript(script)
            connection.commit()
        return before, await storage.verify_audit()


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_found_at_the_entry_that_it_was_made_to(tmp_path: Path, name: str) -> None:
    script, broken_at = CHANGES[name]
    before, after = await verdict_after(tmp_path, script)
    assert (before.entries, before.broken_at) == (ENTRIES, None)
    assert (after.entries, after.broken_at) == (broken_at - 1, broken_at)


async def test_an_entry_behind_the_last_is_not_taken_for_ours(tmp_path: Path) -> None:
    forged = "INSERT INTO anyport_audit SELECT 7, at_ms, actor, action, subject, details, digest FROM anyport_audit"
    _, after = await verdict_after(tmp_path, f"{forged} WHERE sequence = 6")
    assert after.entries == ENTRIES, "what no counter of ours knows is no entry"


async def test_the_same_log_written_anew_has_another_digest_than_the_one_noted(tmp_path: Path) -> None:
    digests: list[bytes] = []
    for actor in ("admin API", "nobody"):
        async with opened(f"sqlite:///{tmp_path}/{actor}/anyport.db") as storage:
            await storage.audit(AuditEntry(1, actor, "key.create", "key:1"))
            digests.append((await storage.verify_audit()).digest)
    assert digests[0] != digests[1]
