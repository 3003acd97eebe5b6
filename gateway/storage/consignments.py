"""Consignments in a database: they stand in the document of their batch, and hold lines in their name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from sqlalchemy import ColumnElement, and_, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage import jobs
from gateway.storage.engine import Database
from gateway.storage.jobs import Batch, Consignment, Lane, Line, Status
from gateway.storage.tables import batch_lines as lines
from gateway.storage.tables import batches

_NEVER_MS: Final = 2**53
"""Until then a consignment holds its lines: it is whoever brings it forward who gives them back."""
_RUNNING: Final[Status] = "in_progress"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Batch).decode


class SqlConsignments:
    """The part of `Jobs` that is about them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def let_go(self, id: str, holder: str) -> None:
        """Holds a batch no longer."""

        async def run(connection: AsyncConnection) -> None:
            mine = and_(batches.c.id == id, batches.c.holder == holder)
            await connection.execute(update(batches).where(mine).values(holder="", held_until_ms=0))

        await self._database.write(run)

    async def consign(
        self,
        batch_id: str,
        holder: str,
        consignment: Consignment,
        most_lines: int,
        most_bytes: int,
        now_ms: int,
        *,
        after: int = -1,
    ) -> list[Line]:
        """Holds lines behind a number that wait in the name of a consignment."""

        async def run(connection: AsyncConnection) -> list[Line]:
            batch = await _locked(connection, and_(batches.c.id == batch_id, batches.c.holder == holder))
            if batch is None or batch.status != "in_progress" or batch.expires_at_ms <= now_ms:
                return []
            waiting = and_(_is_free(batch_id, now_ms), lines.c.number > after)
            numbers = await _waiting(connection, waiting, most_lines, most_bytes)
            if not numbers:
                return []
            held = {"state": jobs.TAKEN, "holder": consignment.id, "held_until_ms": _NEVER_MS}
            place = and_(lines.c.batch_id == batch_id, lines.c.number.in_(numbers))
            await connection.execute(update(lines).where(place).values(**held, tries=lines.c.tries + 1))
            await _put(connection, replace(batch, consignments=(*batch.consignments, consignment)))
            return await _of(connection, batch_id, consignment.id)

        return await self._database.write(run)

    async def consigned(self, batch_id: str, consignment_id: str) -> list[Line]:
        """Returns the lines of a consignment that are not done."""
        return await self._database.read(lambda connection: _of(connection, batch_id, consignment_id))

    async def put_consignment(self, batch_id: str, consignment: Consignment, holder: str = "") -> Batch | None:
        """Notes how it stands with a consignment; returns its batch."""

        def changed(batch: Batch) -> Batch:
            others = (consignment if each.id == consignment.id else each for each in batch.consignments)
            return replace(batch, consignments=tuple(others))

        held = and_(batches.c.holder == holder, batches.c.status == _RUNNING) if holder else true()
        batch = await self._change(and_(batches.c.id == batch_id, held), changed)
        return batch if batch is not None and consignment in batch.consignments else None

    async def drop_consignment(self, batch_id: str, consignment_id: str, holder: str) -> bool:
        """Forgets a consignment; lines of it that are not done wait again."""

        def changed(batch: Batch) -> Batch:
            return replace(batch, consignments=tuple(e for e in batch.consignments if e.id != consignment_id))

        async def freed(connection: AsyncConnection) -> None:
            free = {"state": jobs.WAITING, "holder": "", "held_until_ms": 0, "tries": lines.c.tries - 1}
            await connection.execute(update(lines).where(_held(batch_id, consignment_id)).values(**free))

        held = and_(batches.c.id == batch_id, batches.c.holder == holder)
        return await self._change(held, changed, freed) is not None

    async def set_lane(self, batch_id: str, lane: Lane) -> None:
        """Notes how lines that wait are to be made."""
        await self._change(batches.c.id == batch_id, lambda batch: replace(batch, lane=lane))

    async def _change(
        self, which: ColumnElement[bool], changed: Callable[[Batch], Batch], also: Any = None
    ) -> Batch | None:
        async def run(connection: AsyncConnection) -> Batch | None:
            batch = await _locked(connection, which)
            if batch is None:
                return None
            batch = changed(batch)
            await _put(connection, batch)
            if also is not None:
                await also(connection)
            return batch

        return await self._database.write(run)


async def reserved(connection: AsyncConnection) -> dict[str, dict[str, int]]:
    """Returns what consignments may cost yet, by owner and then by consignment."""
    found: dict[str, dict[str, int]] = {}
    for row in await connection.execute(select(batches.c.document).where(batches.c.status.in_(jobs.AT_WORK))):
        for each in _decode(row.document).consignments:
            for owner, nano_usd in each.reserved_nano_usd.items():
                found.setdefault(owner, {})[each.id] = nano_usd
    return found


async def _locked(connection: AsyncConnection, which: ColumnElement[bool]) -> Batch | None:
    found = await connection.execute(select(batches.c.document).where(which).with_for_update())
    document = found.scalar_one_or_none()
    return None if document is None else _decode(document)


async def _put(connection: AsyncConnection, batch: Batch) -> None:
    await connection.execute(update(batches).where(batches.c.id == batch.id).values(document=_encode(batch)))


def _is_free(batch_id: str, now_ms: int) -> ColumnElement[bool]:
    return and_(lines.c.batch_id == batch_id, lines.c.state == jobs.WAITING, lines.c.held_until_ms <= now_ms)


async def _waiting(
    connection: AsyncConnection, which: ColumnElement[bool], most_lines: int, most_bytes: int
) -> list[int]:
    """Returns numbers of lines that wait, as many as are within the bounds, and one at least."""
    wanted = select(lines.c.number, func.length(lines.c.body)).where(which).order_by(lines.c.number).limit(most_lines)
    numbers: list[int] = []
    for number, length in await connection.execute(wanted.with_for_update(skip_locked=True)):
        most_bytes -= length
        if most_bytes < 0 and numbers:
            break
        numbers.append(number)
    return numbers


async def _of(connection: AsyncConnection, batch_id: str, consignment_id: str) -> list[Line]:
    wanted = select(lines.c.number, lines.c.custom_id, lines.c.body, lines.c.tries)
    found = await connection.execute(wanted.where(_held(batch_id, consignment_id)).order_by(lines.c.number))
    return [Line(batch_id, row.number, row.custom_id, bytes(row.body), row.tries) for row in found]


def _held(batch_id: str, consignment_id: str) -> ColumnElement[bool]:
    return and_(lines.c.batch_id == batch_id, lines.c.state == jobs.TAKEN, lines.c.holder == consignment_id)
