"""Statements about what keys that keep content asked and were answered."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import asdict
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.records import Content, UsageRecord
from gateway.storage.engine import Insert
from gateway.storage.tables import contents

STEP_ROWS: Final = 100
"""Rows that one step of tidying takes away; each is as long as a hundred records."""


async def add(connection: AsyncConnection, insert: Insert, added: Iterable[UsageRecord], now_ms: int) -> None:
    """Keeps the contents of records that were just added."""
    rows = [
        {"id": record.id, "stored_at_ms": now_ms, **asdict(record.content)}
        for record in added
        if record.content is not UNSET
    ]
    if rows:
        await connection.execute(_adding(insert), rows)


@cache
def _adding(insert: Insert) -> Any:
    # Of a record that has gone and comes again, the content may still be there.
    return insert(contents).on_conflict_do_nothing(index_elements=[contents.c.id])


async def read(connection: AsyncConnection, id: str) -> Content | None:
    """Returns what is kept of a request."""
    row = (await connection.execute(select(contents).where(contents.c.id == id))).mappings().one_or_none()
    return None if row is None else Content(**{name: row[name] for name in Content.__struct_fields__})


async def tidy(connection: AsyncConnection, stored_before_ms: int) -> int:
    """Takes away some that were stored before; returns how many."""
    old = select(contents.c.id).where(contents.c.stored_at_ms < stored_before_ms)
    some = old.order_by(contents.c.stored_at_ms).limit(STEP_ROWS)
    return (await connection.execute(delete(contents).where(contents.c.id.in_(some)))).rowcount
