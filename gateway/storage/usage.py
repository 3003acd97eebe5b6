"""Statements about records and their sums by hour, and what becomes of both when they are old."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Select, and_, delete, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.records import UsageRecord
from gateway.storage import contents
from gateway.storage.base import (
    DAY_MS,
    LONG_AGO_MS,
    MAX_USAGE_ROWS,
    Dimension,
    Filter,
    RecordsQuery,
    StorageRefused,
    UsageQuery,
    UsageRow,
)
from gateway.storage.engine import Insert
from gateway.storage.rows import COLUMNS, Row, as_record, as_values, folded, merged, sums_of
from gateway.storage.tables import SUMS, hours, records

STEP_ROWS: Final = 500
"""Rows that one step of tidying takes away."""
_ROWS_AT_ONCE: Final = 150
"""Rows that one statement adds: making one holds up the requests of this process for so long."""
_QMARK: Final = "qmark"
"""How SQLite's driver marks values."""
_COUNTED: Final = 10_000
"""Where counting what is left to do ends."""
_ASKED_AT_ONCE: Final = 500
_OWNER_COLUMNS: Final = {"key": hours.c.key_id, "team": hours.c.team_id, "project": hours.c.project_id}
_COLUMNS: Final[dict[Dimension, ColumnElement[Any]]] = {
    **cast("dict[Dimension, ColumnElement[Any]]", _OWNER_COLUMNS),
    "route": hours.c.route,
    "model": hours.c.model,
    "provider": hours.c.provider,
    "deployment": hours.c.deployment,
    # Not a division, of which each database has its own.
    "day": hours.c.hour_ms - hours.c.hour_ms % literal(DAY_MS),
    "hour": hours.c.hour_ms,
}


async def append(connection: AsyncConnection, insert: Insert, batch: Sequence[UsageRecord], now_ms: int) -> None:
    """Adds the records that are not there, and them alone to the sums."""
    fitting = {record.id: record for record in reversed(batch)}
    # In order: two processes that append the same records then never wait for each other.
    ids = sorted(fitting)
    sums: list[Row] = []
    paramstyle = connection.dialect.paramstyle
    # SQLite's driver looks for an adapter of each value that is neither text nor a number, and finds none for these.
    flag = int if paramstyle == _QMARK else bool
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        rows = {id: as_values(fitting[id], now_ms, flag) for id in ids[start : start + _ROWS_AT_ONCE]}
        statement = _adding_records(paramstyle, len(rows))
        added = (await connection.exec_driver_sql(statement, tuple(chain(*rows.values())))).scalars().all()
        sums += sums_of(rows[id] for id in added)
        await contents.add(connection, insert, (fitting[id] for id in added), now_ms)
    await _add(connection, insert, merged(sums))


async def _add(connection: AsyncConnection, insert: Insert, sums: list[Row]) -> None:
    if sums:
        await connection.execute(_adding_sums(insert), sums)


@lru_cache(maxsize=8)
def _adding_records(paramstyle: str, count: int) -> str:
    """Returns the statement in the driver's own words: what SQLAlchemy does with each value costs more than the rest.

    Both databases say it in the same way, but for what stands in the place of a value.
    """
    mark = {_QMARK: "?", "numeric_dollar": "${}"}[paramstyle]
    row = f"({', '.join([mark] * len(COLUMNS))})"
    rows = ", ".join([row] * count).format(*range(1, count * len(COLUMNS) + 1))
    into = f"{records.name} ({', '.join(COLUMNS)})"
    return f"INSERT INTO {into} VALUES {rows} ON CONFLICT (id) DO NOTHING RETURNING id"  # noqa: S608  names of ours


@cache  # made once for each dialect: making one costs as much as thirty records
def _adding_sums(insert: Insert) -> Any:
    statement = insert(hours)
    more = {name: hours.c[name] + statement.excluded[name] for name in SUMS}
    return statement.on_conflict_do_update(index_elements=[hours.c.hour_ms, hours.c.series], set_=more)


async def usage(connection: AsyncConnection, query: UsageQuery) -> list[UsageRow]:
    """Returns the sums of each group."""
    groups = [_COLUMNS[name].label(f"by_{name}") for name in query.by]
    sums = [func.sum(hours.c[name]).label(name) for name in SUMS]
    statement = select(*groups, *sums).where(*_conditions(query.where, hours.c, query.since_ms, query.until_ms))
    if groups:
        statement = statement.group_by(*groups)
    rows = (await connection.execute(statement.limit(MAX_USAGE_ROWS + 1))).mappings().all()
    if len(rows) > MAX_USAGE_ROWS:
        raise StorageRefused(f"more than {MAX_USAGE_ROWS} groups: ask for a shorter span, or by less")
    # Without groups there is one row even of nothing. In order here: databases have orders of their own.
    in_order = sorted((row for row in rows if row["requests"]), key=lambda row: [row[each.name] for each in groups])
    return [
        UsageRow({name: row[f"by_{name}"] for name in query.by}, **{name: int(row[name]) for name in SUMS})
        for row in in_order
    ]


async def spent(connection: AsyncConnection, owners: Collection[str], since_ms: int) -> dict[str, int]:
    """Returns the nano-dollars of each owner."""
    amounts = dict.fromkeys(owners, 0)
    for kind, column in _OWNER_COLUMNS.items():
        ids = [owner.partition(":")[2] for owner in amounts if owner.startswith(f"{kind}:")]
        for start in range(0, len(ids), _ASKED_AT_ONCE):
            some = column.in_(ids[start : start + _ASKED_AT_ONCE])
            statement = select(column, func.sum(hours.c.cost_nano_usd)).where(some, hours.c.hour_ms >= since_ms)
            for id, amount in await connection.execute(statement.group_by(column)):
                amounts[f"{kind}:{id}"] = int(amount)
    return amounts


async def read_records(connection: AsyncConnection, query: RecordsQuery) -> list[UsageRecord]:
    """Returns a page of single records."""
    statement = select(records).where(*_conditions(query.where, records.c, query.since_ms, query.until_ms))
    if query.id:
        statement = statement.where(records.c.id == query.id)
    if query.only_errors:
        statement = statement.where(or_(records.c.status >= 400, records.c.error.is_not(None)))
    if query.older_than is not None:
        statement = statement.where(tuple_(records.c.at_ms, records.c.id) < tuple_(*map(literal, query.older_than)))
    statement = statement.order_by(records.c.at_ms.desc(), records.c.id.desc()).limit(query.limit)
    return [as_record(row) for row in (await connection.execute(statement)).mappings()]


async def tidy(connection: AsyncConnection, insert: Insert, stored_before_ms: int, hours_before_ms: int) -> int:
    """Takes away some of the records and folds some of the sums that are from before; returns how many are left."""
    old = records.c.stored_at_ms < stored_before_ms
    some = select(records.c.id).where(old).order_by(records.c.stored_at_ms).limit(STEP_ROWS)
    taken = (await connection.execute(delete(records).where(records.c.id.in_(some)))).rowcount
    past = and_(hours.c.hour_ms > LONG_AGO_MS, hours.c.hour_ms < hours_before_ms)
    if taken < STEP_ROWS:
        place = (hours.c.hour_ms, hours.c.series)
        some = select(*place).where(past).order_by(*place).limit(STEP_ROWS - taken)
        # Read and taken away by one statement, so that nothing is added in between.
        gone = await connection.execute(delete(hours).where(tuple_(*place).in_(some)).returning(*hours.c))
        await _add(connection, insert, folded(dict(row) for row in gone.mappings()))
    left = await _count(connection, select(records.c.id).where(old))
    return left + await _count(connection, select(hours.c.series).where(past))


async def _count(connection: AsyncConnection, rows: Select[Any]) -> int:
    counted = select(func.count()).select_from(rows.limit(_COUNTED).subquery())
    return int((await connection.execute(counted)).scalar_one())


def _conditions(where: Filter, columns: Any, since_ms: int | None, until_ms: int | None) -> list[ColumnElement[bool]]:
    moment = columns.hour_ms if columns is hours.c else columns.at_ms
    conditions: list[ColumnElement[bool]] = [
        columns[f"{name}_id" if name in _OWNER_COLUMNS else name].in_(values) for name, values in where.items()
    ]
    if since_ms is not None:
        conditions.append(moment >= since_ms)
    if until_ms is not None:
        conditions.append(moment < until_ms)
    return conditions
