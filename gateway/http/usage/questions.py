"""GET /admin/usage: sums of what requests used and cost, by whatever somebody wants them to be apart by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeVar, cast, get_args

from fastapi import FastAPI, Request, Response
from starlette.datastructures import QueryParams

from gateway.access.admission import span as window_span
from gateway.access.keys import client_keys
from gateway.books import Books, Told
from gateway.errors import InvalidRequest, LedgerUnavailable
from gateway.http.usage.snapshot import Snapshot, counted, usual_start
from gateway.http.usage.sums import (
    OWNERS,
    Called,
    as_csv,
    as_rows,
    check_names,
    columns_of,
    moment,
    moment_text,
    reliance,
    span,
    values,
    wrong,
)
from gateway.records import Window
from gateway.runtime import Runtime
from gateway.storage.base import (
    DAY_MS,
    HOUR_MS,
    Dimension,
    Filter,
    Storage,
    StorageRefused,
    StorageUnavailable,
    UsageQuery,
    UsageRow,
)

USAGE_PATH: Final = "/admin/usage"
SNAPSHOT_PATH: Final = "/admin/usage/snapshot"
_FORMS: Final = ("json", "csv")
DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)
_TIMES: Final = ("day", "hour")
_FILTERS: Final = tuple(name for name in DIMENSIONS if name not in _TIMES)
_KNOWN: Final = ("by", "from", "to", "format", *_FILTERS)
Answer = TypeVar("Answer")
Owning = Literal["key", "team", "project"]
"""Who can have used something."""


def read_usage_query(given: QueryParams) -> UsageQuery:
    """Returns what the parameters ask for; raises InvalidRequest naming the one that is wrong."""
    check_names(given, _KNOWN, _FILTERS)
    by = tuple(name for name in given.get("by", "").split(",") if name)
    for name in by:
        if name not in DIMENSIONS or by.count(name) > 1:
            raise wrong("by", f"by must name each of {', '.join(DIMENSIONS)} once at most, not {name[:64]!r}")
    start, end = span(given)
    where = _filter(given, _FILTERS)
    return UsageQuery(by=cast("tuple[Dimension, ...]", by), where=where, since_ms=start, until_ms=end)


def add_usage_route(shell: FastAPI, current: Callable[[], Runtime], answer: Callable[[Request, Any], Response]) -> None:
    """Adds the routes; `answer` makes JSON of a value."""

    @shell.get(USAGE_PATH)
    async def usage(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        query = read_usage_query(request.query_params)
        form = request.query_params.get("format", "json")
        if form not in _FORMS:
            raise wrong("format", f"format must be json or csv, not {form[:64]!r}")
        told = await summed(current(), query)
        rows = as_rows(told.answer, called_in(current()))
        if form == "csv":
            text = as_csv(columns_of(query.by), rows)
            return Response(text, media_type="text/csv", headers={"cache-control": "no-store"})
        return answer(request, {"data": rows, **reliance(told)})

    @shell.get(SNAPSHOT_PATH)
    async def snapshot(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        given = request.query_params
        check_names(given, ("from", *OWNERS), OWNERS)
        where = _filter(given, OWNERS)
        await _refuse_unknown(current(), where)
        return answer(request, await taken_snapshot(current(), where, moment(given, "from")))


async def summed(runtime: Runtime, query: UsageQuery) -> Told[list[UsageRow]]:
    """Returns the sums; raises InvalidRequest for more than fit, and for owners that never were."""
    await _refuse_unknown(runtime, query.where)
    return await asked(runtime.books, lambda storage: storage.usage(query))


async def taken_snapshot(runtime: Runtime, where: Filter, models_from_ms: int | None) -> Snapshot:
    """Returns the counters of now; raises InvalidRequest for a moment of which models are no longer known."""
    now_ms = runtime.shared.stored.thing.picture.now_ms()
    days = runtime.settings.storage.aggregates_days
    horizon_ms = now_ms - days * DAY_MS
    start_ms = models_from_ms
    if start_ms is None:
        start_ms = usual_start(window_span(Window.MONTH, now_ms).start_ms, horizon_ms)
    elif start_ms < horizon_ms - horizon_ms % HOUR_MS:
        known = f"models are told apart for storage.aggregates_days ({days}) days"
        raise wrong("from", f"from must be later than {moment_text(start_ms)}: {known}")
    told = await asked(runtime.books, lambda storage: counted(storage, where, start_ms))
    found = told.answer.named(called_in(runtime))
    as_of = moment_text(told.as_of_ms)
    return Snapshot(as_of, told.pending_records, found.totals, found.owners, moment_text(start_ms), found.models)


def called_in(runtime: Runtime) -> Called:
    """Returns what says the names of today."""
    return runtime.shared.stored.thing.picture.called


async def asked(books: Books, ask: Callable[[Storage], Awaitable[Answer]]) -> Told[Answer]:
    """Returns what storage says, once it has what was recorded before; raises LedgerUnavailable and InvalidRequest."""
    try:
        return await books.told(ask)
    except StorageRefused as error:
        raise InvalidRequest(str(error), code="invalid_value") from None
    except StorageUnavailable:
        raise LedgerUnavailable("the database does not answer now; its trouble is in the log") from None


async def _refuse_unknown(runtime: Runtime, where: Filter) -> None:
    """Raises InvalidRequest for a key, project or team that is not there and never has used anything."""
    for word in OWNERS:
        if not (ids := _unknown(runtime, word, where)):
            continue
        # What was made elsewhere a moment ago may not have been seen yet.
        await runtime.shared.stored.thing.picture.refresh()
        used = await _that_have_used(runtime, word, ids)
        if gone := [id for id in _unknown(runtime, word, where) if id not in used]:
            message = f"there is no {word} {gone[0][:64]!r}, nor anything that one has used; see GET /admin/{word}s"
            raise wrong(word, message)


def _unknown(runtime: Runtime, word: Owning, where: Filter) -> tuple[str, ...]:
    """Returns the ids asked for that nobody has now; an empty one asks for the requests of nobody."""
    called = called_in(runtime)
    ids = (id for id in where.get(word, ()) if id and not called(word, id))
    if word != "key":
        return tuple(ids)
    in_file = {caller.name for _, caller in client_keys(runtime.settings.server.api_keys)}
    return tuple(id for id in ids if id not in in_file)


async def _that_have_used(runtime: Runtime, word: Owning, ids: tuple[str, ...]) -> set[str | int]:
    query = UsageQuery(by=(word,), where={word: ids})
    told = await asked(runtime.books, lambda storage: storage.usage(query))
    return {row.group[word] for row in told.answer}


def _filter(given: QueryParams, names: tuple[str, ...]) -> Filter:
    return cast("Filter", {name: values(given, name) for name in names if name in given})
