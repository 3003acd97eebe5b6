"""Statements about the audit log: each row holds a digest over itself and the one before it."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
from msgspec.structs import asdict
from sqlalchemy import RowMapping, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage.base import MAX_PAGE, AuditEntry, AuditRow, AuditVerdict
from gateway.storage.owners import counted
from gateway.storage.tables import AUDITED, audit, meta

_START: Final = hashlib.sha256(b"anyport audit log").digest()
"""What the first row has as the digest before it."""
_MEMBERS: Final = AuditEntry.__struct_fields__


async def write(connection: AsyncConnection, entry: AuditEntry) -> int:
    """Writes an entry behind all others."""
    # Whoever is next waits here for the end of this transaction: the row before this one is then the last one.
    sequence = await counted(connection, AUDITED)
    before = (
        await connection.execute(select(audit.c.digest).order_by(audit.c.sequence.desc()).limit(1))
    ).scalar_one_or_none()
    kept = {name: value.replace("\0", "") if isinstance(value, str) else value for name, value in asdict(entry).items()}
    digest = _digest(before or _START, sequence, kept)
    await connection.execute(insert(audit).values({**kept, "sequence": sequence, "digest": digest}))
    return sequence


async def page(connection: AsyncConnection, subject: str, before: int | None, limit: int) -> list[AuditRow]:
    """Returns entries, the newest first."""
    statement = select(audit).order_by(audit.c.sequence.desc()).limit(limit)
    if subject:
        statement = statement.where(audit.c.subject == subject)
    if before is not None:
        statement = statement.where(audit.c.sequence < before)
    return [
        AuditRow(row["sequence"], AuditEntry(**_members(row)), row["digest"])
        for row in (await connection.execute(statement)).mappings()
    ]


async def verify(connection: AsyncConnection) -> AuditVerdict:
    """Reads all entries, a page at a time."""
    expected = (await connection.execute(select(meta.c.number).where(meta.c.name == AUDITED))).scalar_one()
    digest, good = _START, 0
    while good < expected:
        some = select(audit).where(audit.c.sequence > good).order_by(audit.c.sequence).limit(MAX_PAGE)
        rows = (await connection.execute(some)).mappings().all()
        for row in rows:
            if row["sequence"] != good + 1 or row["digest"] != _digest(digest, good + 1, _members(row)):
                return AuditVerdict(good, good + 1, digest)
            digest, good = row["digest"], good + 1
        if not rows:
            return AuditVerdict(good, good + 1, digest)
    return AuditVerdict(good, None, digest)


def _members(row: RowMapping) -> dict[str, Any]:
    return {name: row[name] for name in _MEMBERS}


def _digest(before: bytes, sequence: int, members: dict[str, Any]) -> bytes:
    return hashlib.sha256(msgspec.json.encode((before, sequence, *(members[name] for name in _MEMBERS)))).digest()
