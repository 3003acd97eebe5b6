"""Statements about keys, teams and projects, each of which is kept whole, as a document."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Table, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.records import Project, Team, VirtualKey
from gateway.storage.base import ChangedMeanwhile, NameTaken, Owners, OwnersQuery, StorageRefused
from gateway.storage.engine import Insert
from gateway.storage.tables import CHANGES, keys, meta, projects, teams

Owner = TypeVar("Owner", VirtualKey, Team, Project)
_MAX_ID: Final = 512
_encode: Final = msgspec.json.Encoder().encode
_TABLES: Final[dict[type, Table]] = {VirtualKey: keys, Team: teams, Project: projects}


async def put(
    connection: AsyncConnection,
    insert: Insert,
    owner: VirtualKey | Team | Project,
    before: VirtualKey | Team | Project | None = None,
) -> int:
    """Keeps an owner under the next version, and returns that; raises ChangedMeanwhile unless it was as `before`.

    Raises NameTaken if another team or project is called so.
    """
    if not 0 < len(owner.id) <= _MAX_ID or "\0" in owner.id:
        raise StorageRefused(f"an id must have up to {_MAX_ID} characters, none of them NUL")
    new = await counted(connection, CHANGES)
    # Only now: whoever else changes it waits for the end of this transaction, or this one has waited for theirs.
    kind: Any = type(owner)
    there = await one(connection, kind, owner.id)
    if before is not None and there != before:
        raise ChangedMeanwhile(f"{owner.id!r} was changed by somebody else at the same time; try again")
    if there is None or there.name != owner.name:
        await _refuse_taken(connection, owner)
    await _refuse_dangling(connection, owner)
    table = _TABLES[type(owner)]
    if isinstance(owner, VirtualKey):
        same = select(keys.c.id).where(keys.c.digest == owner.digest, keys.c.id != owner.id)
        if (await connection.execute(same)).first() is not None:
            raise StorageRefused(f"key {owner.id!r} is the same as one that is there under another id")
    row = _row(owner, table, new)
    changed = {name: value for name, value in row.items() if name != "id"}
    statement = insert(table).values(row).on_conflict_do_update(index_elements=[table.c.id], set_=changed)
    await connection.execute(statement)
    return new


async def remove(connection: AsyncConnection, kind: type[Team] | type[Project], id: str) -> None:
    """Forgets an owner; raises StorageRefused if others belong to it."""
    await counted(connection, CHANGES)  # whoever puts something into it meanwhile waits, and is refused
    column = "team_id" if kind is Team else "project_id"
    for table, word in ((projects, "project"), (keys, "key")):
        if column in table.c:
            statement = select(table.c.id).where(table.c[column] == id).order_by(table.c.id).limit(1)
            found = (await connection.execute(statement)).scalar_one_or_none()
            if found is not None:
                raise StorageRefused(f"{id!r} cannot be deleted: {word} {found!r}, maybe others too, belongs to it")
    table = _TABLES[kind]
    await connection.execute(delete(table).where(table.c.id == id))


async def _refuse_taken(connection: AsyncConnection, owner: VirtualKey | Team | Project) -> None:
    """Raises NameTaken: who says the name of a team or project means one. Names of keys may be there twice."""
    if isinstance(owner, VirtualKey):
        return
    table, kind = _TABLES[type(owner)], type(owner)
    statement = select(table.c.document).where(table.c.folded_name == _folded(owner.name), table.c.id != owner.id)
    for document in (await connection.execute(statement)).scalars():
        other = msgspec.json.decode(document, type=kind)
        if other.name == owner.name:
            word = "team" if isinstance(owner, Team) else "project"
            raise NameTaken(f"another {word}, {other.id!r}, is called {owner.name[:64]!r}")


async def _refuse_dangling(connection: AsyncConnection, owner: VirtualKey | Team | Project) -> None:
    """Raises StorageRefused for an owner that belongs to one that is not there: nobody's limits would hold for it."""
    for column, table in (("team_id", teams), ("project_id", projects)):
        id: str = getattr(owner, column, "")
        if id and (await connection.execute(select(table.c.id).where(table.c.id == id))).first() is None:
            raise StorageRefused(f"{column}: there is no {id!r}")


async def counted(connection: AsyncConnection, name: str) -> int:
    """Returns the next number of a row of `meta`; whoever asks next waits for the end of this transaction.

    Numbers so become visible in their order, without gaps.
    """
    statement = update(meta).where(meta.c.name == name).values(number=meta.c.number + 1).returning(meta.c.number)
    return int((await connection.execute(statement)).scalar_one())


async def version(connection: AsyncConnection) -> int:
    """Returns the number of the last change."""
    return int((await connection.execute(select(meta.c.number).where(meta.c.name == CHANGES))).scalar_one())


async def changed_since(connection: AsyncConnection, since_version: int) -> Owners:
    """Returns what was changed after a version."""
    # The version first: what is changed in between has a higher one, and comes once more.
    current = await version(connection)
    if since_version == current:
        return Owners(current, is_whole=False)
    # Of a version that never was: another database, or a backup of this one.
    since = since_version if 0 < since_version < current else 0
    return Owners(
        current,
        is_whole=not since,
        keys=await _changed(connection, VirtualKey, since),
        teams=await _changed(connection, Team, since),
        projects=await _changed(connection, Project, since),
    )


async def _changed(connection: AsyncConnection, kind: type[Owner], since: int) -> tuple[Owner, ...]:
    table = _TABLES[kind]
    statement = select(table.c.document).where(table.c.version > since).order_by(table.c.version)
    decoder = msgspec.json.Decoder(kind)
    return tuple(decoder.decode(document) for document in (await connection.execute(statement)).scalars())


async def one(connection: AsyncConnection, kind: type[Owner], id: str) -> Owner | None:
    """Returns an owner."""
    table = _TABLES[kind]
    document = (await connection.execute(select(table.c.document).where(table.c.id == id))).scalar_one_or_none()
    return None if document is None else msgspec.json.decode(document, type=kind)


async def page(connection: AsyncConnection, kind: type[Owner], query: OwnersQuery) -> list[Owner]:
    """Returns owners in the order of their ids."""
    table = _TABLES[kind]
    statement = select(table.c.document).where(table.c.id > query.after).order_by(table.c.id).limit(query.limit)
    if query.prefix:
        # Not LIKE, in which some characters mean something, and others than themselves.
        folded = _folded(query.prefix)
        statement = statement.where(func.substr(table.c.folded_name, 1, len(folded)) == folded)
    for name, id in (("team_id", query.team_id), ("project_id", query.project_id)):
        if id and name in table.c:
            statement = statement.where(table.c[name] == id)
    decoder = msgspec.json.Decoder(kind)
    return [decoder.decode(document) for document in (await connection.execute(statement)).scalars()]


def _row(owner: VirtualKey | Team | Project, table: Table, version: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        name: getattr(owner, name) for name in ("id", "digest", "team_id", "project_id") if name in table.c
    }
    return {**row, "folded_name": _folded(owner.name), "version": version, "document": _encode(owner)}


def _folded(name: str) -> str:
    return name.casefold().replace("\0", "\N{REPLACEMENT CHARACTER}")
