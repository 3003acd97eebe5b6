"""Files and batches in a database: each method is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import asdict, replace
from sqlalchemy import ColumnElement, Executable, Select, Table, and_, case, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage import jobs
from gateway.storage.consignments import SqlConsignments
from gateway.storage.engine import Database
from gateway.storage.jobs import AT_WORK, COMPLETED, FAILED, Batch, Line, LineResult, Page, Status, StoredFile
from gateway.storage.tables import batch_lines as lines
from gateway.storage.tables import batches, file_parts, files

_SWEPT: Final = 20
"""Files and batches that go in one transaction."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Batch).decode
_RUNNING: Final[Status] = "in_progress"


class SqlJobs(SqlConsignments):
    """See `Jobs`."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)

    async def begin_file(self, file: StoredFile) -> None:
        """Notes a file that is not whole yet."""
        await self._write(insert(files).values(**asdict(file), is_whole=False))

    async def add_part(self, file_id: str, number: int, data: bytes) -> None:
        """Keeps one part."""
        longer = update(files).where(files.c.id == file_id, files.c.is_whole.is_(False))

        async def run(connection: AsyncConnection) -> None:
            await connection.execute(insert(file_parts).values(file_id=file_id, number=number, data=data))
            await connection.execute(longer.values(bytes=files.c.bytes + len(data)))

        await self._database.write(run)

    async def end_file(self, file: StoredFile) -> None:
        """Shows a file that is whole."""
        await self._write(update(files).where(files.c.id == file.id).values(**asdict(file), is_whole=True))

    async def file(self, owner: str, id: str) -> StoredFile | None:
        """Returns one file."""
        found = await self._rows(_of(files, owner).where(files.c.id == id, files.c.is_whole))
        return _file(found[0]) if found else None

    async def files(self, owner: str, page: Page) -> list[StoredFile]:
        """Returns a page of files."""
        statement = _of(files, owner).where(files.c.is_whole)
        if page.purpose:
            statement = statement.where(files.c.purpose == page.purpose)
        return [_file(row) for row in await self._rows(_paged(statement, files, page))]

    async def part(self, file_id: str, number: int) -> bytes | None:
        """Returns one part."""
        wanted = and_(file_parts.c.file_id == file_id, file_parts.c.number == number)
        found = await self._rows(select(file_parts.c.data).where(wanted))
        return found[0]["data"] if found else None

    async def remove_file(self, owner: str, id: str) -> bool:
        """Forgets a file and its parts."""

        async def run(connection: AsyncConnection) -> bool:
            gone = await connection.execute(delete(files).where(files.c.id == id, files.c.owner == owner))
            if gone.rowcount:
                await connection.execute(delete(file_parts).where(file_parts.c.file_id == id))
            return bool(gone.rowcount)

        return await self._database.write(run)

    async def kept_bytes(self, owner: str) -> int:
        """Returns the sum over all files of an owner, and over the copies that batches at work have of them."""
        found = await self._rows(select(func.sum(files.c.bytes).label("bytes")).where(files.c.owner == owner))
        return int(found[0]["bytes"] or 0) + sum(
            each.input_bytes for each in await self.at_work() if each.owner == owner
        )

    async def put_batch(self, batch: Batch) -> None:
        """Keeps a new batch."""
        values = {"owner": batch.owner, "created_at_ms": batch.created_at_ms, "expires_at_ms": batch.expires_at_ms}
        await self._write(insert(batches).values(id=batch.id, **values, **_document(batch), holder="", held_until_ms=0))

    async def batch(self, owner: str, id: str) -> Batch | None:
        """Returns one batch."""
        found = await self._batches(_of(batches, owner).where(batches.c.id == id))
        return found[0] if found else None

    async def batches(self, owner: str, page: Page) -> list[Batch]:
        """Returns a page of batches."""
        return await self._batches(_paged(_of(batches, owner), batches, page))

    async def at_work(self) -> list[Batch]:
        """Returns all that have not ended."""
        wanted = select(batches.c.document).where(batches.c.status.in_(AT_WORK))
        found = await self._rows(wanted.order_by(batches.c.created_at_ms, batches.c.id))
        return [_decode(row["document"]) for row in found]

    async def cancel(self, owner: str, id: str, now_ms: int) -> Batch | None:
        """Has a batch end early."""

        async def run(connection: AsyncConnection) -> None:
            found = await connection.execute(_of(batches, owner).where(batches.c.id == id).with_for_update())
            row = found.mappings().first()
            if row is None or row["status"] not in ("validating", _RUNNING):
                return
            batch = replace(_decode(row["document"]), status="cancelling", cancelling_at_ms=now_ms)
            # Whoever checks it holds it no longer; who is fetching answers of it goes on, or two would fetch them.
            free = {"holder": "", "held_until_ms": 0} if row["status"] == "validating" else {}
            await connection.execute(update(batches).where(batches.c.id == id).values(**_document(batch), **free))

        await self._database.write(run)
        return await self.batch(owner, id)

    async def hold(self, id: str, holder: str, now_ms: int, until_ms: int) -> Batch | None:
        """Holds a batch that nobody else holds."""

        async def run(connection: AsyncConnection) -> Batch | None:
            is_free = or_(batches.c.holder == holder, batches.c.held_until_ms <= now_ms)
            wanted = select(batches.c.document).where(batches.c.id == id, batches.c.status.in_(AT_WORK), is_free)
            document = (await connection.execute(wanted.with_for_update(skip_locked=True))).scalar_one_or_none()
            if document is None:
                return None
            held = {"holder": holder, "held_until_ms": until_ms}
            await connection.execute(update(batches).where(batches.c.id == id).values(**held))
            return _decode(document)

        return await self._database.write(run)

    async def change(self, batch: Batch, holder: str, was: Status) -> bool:
        """Changes a batch that is held."""

        async def run(connection: AsyncConnection) -> bool:
            free = {"holder": "", "held_until_ms": 0}
            changed = update(batches).where(_held(batch.id, holder, was)).values(**_document(batch), **free)
            return bool((await connection.execute(changed)).rowcount)

        return await self._database.write(run)

    async def add_lines(self, batch_id: str, holder: str, new: Sequence[Line], *, is_first: bool) -> bool:
        """Keeps lines of a batch that is being checked."""

        async def run(connection: AsyncConnection) -> bool:
            held = select(batches.c.id).where(_held(batch_id, holder, "validating")).with_for_update()
            if (await connection.execute(held)).first() is None:
                return False
            if is_first:
                await connection.execute(delete(lines).where(lines.c.batch_id == batch_id))
            fresh = {"state": jobs.WAITING, "holder": "", "held_until_ms": 0}
            if new:
                await connection.execute(insert(lines), [{**asdict(line), **fresh} for line in new])
            return True

        return await self._database.write(run)

    async def take(self, batch_id: str, holder: str, limit: int, now_ms: int, until_ms: int) -> list[Line]:
        """Holds lines that nobody holds, while the batch runs."""

        async def run(connection: AsyncConnection) -> list[Line]:
            # Shared with others that take, and in the way of whoever ends the batch: nothing is taken after that.
            runs = and_(batches.c.id == batch_id, batches.c.status == _RUNNING, batches.c.expires_at_ms > now_ms)
            if (await connection.execute(select(batches.c.id).where(runs).with_for_update(read=True))).first() is None:
                return []
            free = and_(lines.c.batch_id == batch_id, _is_undone(), lines.c.held_until_ms <= now_ms)
            wanted = select(lines.c.number, lines.c.custom_id, lines.c.body, lines.c.tries).where(free)
            wanted = wanted.order_by(lines.c.number).limit(limit).with_for_update(skip_locked=True)
            found = list((await connection.execute(wanted)).mappings())
            numbers = [row["number"] for row in found]
            if numbers:
                held = {"state": jobs.TAKEN, "holder": holder, "held_until_ms": until_ms, "tries": lines.c.tries + 1}
                named = and_(lines.c.batch_id == batch_id, lines.c.number.in_(numbers))
                await connection.execute(update(lines).where(named).values(**held))
            return [
                Line(batch_id, row["number"], row["custom_id"], bytes(row["body"]), row["tries"] + 1) for row in found
            ]

        return await self._database.write(run)

    async def renew(self, holder: str, batch_ids: Sequence[str], until_ms: int) -> None:
        """Holds lines, and batches, for longer."""

        async def run(connection: AsyncConnection) -> None:
            taken = and_(lines.c.batch_id.in_(batch_ids), lines.c.state == jobs.TAKEN, lines.c.holder == holder)
            await connection.execute(update(lines).where(taken).values(held_until_ms=until_ms))
            mine = and_(batches.c.id.in_(batch_ids), batches.c.holder == holder)
            await connection.execute(update(batches).where(mine).values(held_until_ms=until_ms))

        await self._database.write(run)

    async def end_line(self, line: Line, holder: str, state: int, result: bytes) -> bool:
        """Keeps what became of a line."""
        return await self._leave(line, holder, {"state": state, "result": result, "held_until_ms": 0})

    async def give_back(self, line: Line, holder: str, not_before_ms: int, *, is_tried: bool) -> None:
        """Has a line wait again."""
        tries = line.tries if is_tried else line.tries - 1
        await self._leave(line, holder, {"state": jobs.WAITING, "held_until_ms": not_before_ms, "tries": tries})

    async def _leave(self, line: Line, holder: str, values: dict[str, Any]) -> bool:
        async def run(connection: AsyncConnection) -> bool:
            place = and_(lines.c.batch_id == line.batch_id, lines.c.number == line.number)
            mine = and_(place, lines.c.state == jobs.TAKEN, lines.c.holder == holder)
            return bool((await connection.execute(update(lines).where(mine).values(**values, holder=""))).rowcount)

        return await self._database.write(run)

    async def unfinished(self, batch_id: str, now_ms: int) -> tuple[int, int]:
        """Counts lines that are not done."""
        is_held = and_(lines.c.state == jobs.TAKEN, lines.c.held_until_ms > now_ms)
        counted = select(func.count().label("all"), func.sum(case((is_held, 1), else_=0)).label("held"))
        found = await self._rows(counted.where(lines.c.batch_id == batch_id, _is_undone()))
        return int(found[0]["all"]), int(found[0]["held"] or 0)

    async def results(self, batch_id: str, after: int, limit: int, most_bytes: int) -> list[LineResult]:
        """Returns what became of lines."""
        behind = and_(lines.c.batch_id == batch_id, lines.c.number > after)
        lengths = select(lines.c.number, func.length(lines.c.result)).where(behind)
        whole = select(lines.c.number, lines.c.custom_id, lines.c.state, lines.c.result).where(behind)

        async def run(connection: AsyncConnection) -> list[LineResult]:
            last, left = after, most_bytes
            for number, length in await connection.execute(lengths.order_by(lines.c.number).limit(limit)):
                left -= length or 0
                if left < 0 and last != after:
                    break
                last = number
            found = await connection.execute(whole.where(lines.c.number <= last).order_by(lines.c.number))
            return [LineResult(**row) for row in found.mappings()]

        return await self._database.read(run)

    async def finish(self, batch: Batch, holder: str, was: Status, new: Sequence[StoredFile]) -> bool:
        """Ends a batch: its files are there, its lines go."""

        async def run(connection: AsyncConnection) -> bool:
            changed = update(batches).where(_held(batch.id, holder, was)).values(**_document(batch))
            if not (await connection.execute(changed)).rowcount:
                return False
            for file in new:
                row = update(files).where(files.c.id == file.id).values(**asdict(file), is_whole=True)
                await connection.execute(row)
            await connection.execute(delete(lines).where(lines.c.batch_id == batch.id))
            return True

        return await self._database.write(run)

    async def sweep(self, before_ms: int, unfinished_before_ms: int) -> int:
        """Takes away some of what is too old."""

        async def run(connection: AsyncConnection) -> int:
            abandoned = and_(files.c.is_whole.is_(False), files.c.created_at_ms < unfinished_before_ms)
            old = select(files.c.id).where(or_(files.c.created_at_ms < before_ms, abandoned)).limit(_SWEPT)
            ids = list((await connection.execute(old)).scalars())
            ended = and_(batches.c.status.not_in(AT_WORK), batches.c.created_at_ms < before_ms)
            done = list((await connection.execute(select(batches.c.id).where(ended).limit(_SWEPT))).scalars())
            if ids:
                await connection.execute(delete(file_parts).where(file_parts.c.file_id.in_(ids)))
                await connection.execute(delete(files).where(files.c.id.in_(ids)))
            if done:
                await connection.execute(delete(lines).where(lines.c.batch_id.in_(done)))
                await connection.execute(delete(batches).where(batches.c.id.in_(done)))
            return len(ids) + len(done)

        return await self._database.write(run)

    async def _batches(self, statement: Select[Any]) -> list[Batch]:
        """Returns batches with the counts of their lines as they are now."""

        async def run(connection: AsyncConnection) -> list[Batch]:
            found = [_decode(row.document) for row in await connection.execute(statement)]
            counting = [batch.id for batch in found if batch.status in AT_WORK]
            if not counting:
                return found
            wanted = select(lines.c.batch_id, lines.c.state, func.count()).where(lines.c.batch_id.in_(counting))
            counts: dict[tuple[str, int], int] = {
                (id, state): count
                for id, state, count in await connection.execute(wanted.group_by(lines.c.batch_id, lines.c.state))
            }
            return [
                replace(each, completed=counts.get((each.id, COMPLETED), 0), failed=counts.get((each.id, FAILED), 0))
                if each.id in counting
                else each
                for each in found
            ]

        return await self._database.read(run)

    async def _rows(self, statement: Executable) -> list[dict[str, Any]]:
        async def run(connection: AsyncConnection) -> list[dict[str, Any]]:
            return [dict(row) for row in (await connection.execute(statement)).mappings()]

        return await self._database.read(run)

    async def _write(self, statement: Any) -> None:
        async def run(connection: AsyncConnection) -> None:
            await connection.execute(statement)

        await self._database.write(run)


def _of(table: Table, owner: str) -> Select[Any]:
    return select(table).where(table.c.owner == owner)


def _paged(statement: Select[Any], table: Table, page: Page) -> Select[Any]:
    moment, id = table.c.created_at_ms, table.c.id
    if page.after:
        last = select(moment).where(id == page.after).scalar_subquery()
        if page.is_ascending:
            statement = statement.where(or_(moment > last, and_(moment == last, id > page.after)))
        else:
            statement = statement.where(or_(moment < last, and_(moment == last, id < page.after)))
    order = (moment, id) if page.is_ascending else (moment.desc(), id.desc())
    return statement.order_by(*order).limit(page.limit)


def _is_undone() -> ColumnElement[bool]:
    return lines.c.state.in_((jobs.WAITING, jobs.TAKEN))


def _held(id: str, holder: str, status: Status) -> ColumnElement[bool]:
    return and_(batches.c.id == id, batches.c.holder == holder, batches.c.status == status)


def _document(batch: Batch) -> dict[str, Any]:
    return {"status": batch.status, "document": _encode(batch)}


def _file(row: dict[str, Any]) -> StoredFile:
    return StoredFile(**{name: row[name] for name in StoredFile.__struct_fields__})
