"""Nothing that anybody writes becomes part of a statement: the database hears the same ones, whatever they carry."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from gateway.records import Budget, Limits, Project, Team, VirtualKey, Window
from gateway.storage.base import AuditEntry, OwnersQuery, RecordsQuery, Storage, StorageError, UsageQuery
from tests.storage.values import opened, record

SEEDS = (
    "'",
    "''",
    '"',
    "`",
    "\\",
    "\\'",
    "' OR 1=1--",
    "' OR '1'='1",
    "') OR ('1'='1",
    "'; DROP TABLE anyport_keys;--",
    "1; DELETE FROM anyport_audit",
    "x' UNION SELECT digest FROM anyport_keys--",
    "/**/",
    "--",
    "#",
    "%",
    "%%%%%%%%%%%%%%%%",
    "_",
    "\\%",
    "%s",
    "%(name)s",
    ":name",
    "?",
    "$1",
    "{0}",
    "${jndi:x}",
    "\0",
    "a\0b",
    "\x1a",
    "\r\n",
    "\u2028",
    "\ud7ff\ue000",
    "\U0001f600",
    "\u02bc",
    "\uff07",
    "NULL",
    "0x27",
    "char(39)",
    "x" * 5000,
    "' AND SLEEP(5)--",
    "||pg_sleep(5)--",
)
STRINGS = [a + b for a, b in itertools.islice(itertools.product(SEEDS, ("", *SEEDS[:12])), 500)]
PLAIN = "plain"


class Heard:
    """The statements that every connection of this process is given."""

    def __init__(self) -> None:
        self.statements: set[str] = set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        def hear(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            self.statements.add(statement)

        event.listen(Engine, "before_cursor_execute", hear)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", hear)


async def everything(storage: Storage, text: str, number: int, every: int = 1) -> None:
    """Does whatever storage can do, with `text` wherever a text can stand; what it refuses is none of the matter.

    `every` leaves out all but each so manyth.
    """
    budget = (Budget(10**9, Window.DAY),)
    entry = AuditEntry(1, text, text, text, text)
    key = VirtualKey(
        f"key{number}{text}"[:200],
        text,
        number.to_bytes(32, "big"),
        text,
        text,
        text,
        (text,),
        (text,),
        Limits(1, 2, 3),
        budget,
        former_digest=(number + 10**6).to_bytes(32, "big"),
    )
    names = {name: text for name in ("operation", "route", "deployment", "provider", "model", "error", "fallback")}
    where: Any = {name: (text,) for name in ("key", "team", "project", "route", "model", "provider", "deployment")}
    by: Any = ("key", "team", "project", "route", "model", "provider", "deployment", "day")
    work = (
        lambda: storage.put_key(key, entry),
        lambda: storage.put_key(key, entry),
        lambda: storage.put_team(Team(text[:200], text), entry),
        lambda: storage.put_project(Project(text[:200], text, text), entry),
        lambda: storage.key(text),
        lambda: storage.team(text),
        lambda: storage.project(text),
        lambda: storage.keys(OwnersQuery(prefix=text[:200], team_id=text, project_id=text, after=text)),
        lambda: storage.teams(OwnersQuery(prefix=text[:200], after=text)),
        lambda: storage.projects(OwnersQuery(prefix=text[:200], team_id=text, after=text)),
        lambda: storage.audit(entry),
        lambda: storage.audits(subject=text, before=5),
        lambda: storage.append([record(f"{number}{text}", **names), record(f"b{number}")]),
        lambda: storage.append([record(f"{number}{text}", **names)]),
        lambda: storage.usage(UsageQuery(by=by, where=where, since_ms=0)),
        lambda: storage.records(RecordsQuery(id=text, where=where, older_than=(1, text), only_errors=True)),
        lambda: storage.spent([text], 0),
    )
    for one in work[number % every :: every]:
        with contextlib.suppress(StorageError):
            await one()


@pytest.mark.timeout(300)
async def test_every_statement_is_one_that_harmless_texts_make_as_well(tmp_path: Path) -> None:
    harmless, hostile = Heard(), Heard()
    async with opened(f"sqlite:///{tmp_path}/data/anyport.db") as storage:
        with harmless.listening():
            await everything(storage, PLAIN, 1)
            await everything(storage, PLAIN, 1)  # again: what is there already takes other ways
            await everything(storage, "", 2)
        with hostile.listening():
            for number, text in enumerate(STRINGS, 10):
                await everything(storage, text, number, 1 if text in SEEDS else 4)
        assert len(harmless.statements) > 20
        assert hostile.statements - harmless.statements == set()
        assert await storage.is_current()
        assert (await storage.verify_audit()).broken_at is None


async def test_a_name_with_signs_of_a_pattern_finds_itself_only(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/data/anyport.db") as storage:
        for number, text in enumerate(("%", "_", "\\", "a%b", "plain", "'")):
            await storage.put_team(Team(f"t{number}", text))
        for text, found in (("%", ["%"]), ("_", ["_"]), ("\\", ["\\"]), ("a%", ["a%b"]), ("'", ["'"]), ("%%%%", [])):
            assert [each.name for each in await storage.teams(OwnersQuery(prefix=text))] == found
