"""GET /admin/usage: sums of what requests used and cost, by whatever somebody wants them to be apart by."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast, get_args

from fastapi import FastAPI, Request, Response
from starlette.datastructures import QueryParams

from gateway.engine.cost import dollars
from gateway.errors import InvalidRequest, LedgerUnavailable
from gateway.runtime import Runtime
from gateway.storage.base import HOUR_MS, Dimension, StorageRefused, StorageUnavailable, UsageQuery, UsageRow

USAGE_PATH: Final = "/admin/usage"
_FORMS: Final = ("json", "csv")
DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)
_TIMES: Final = ("day", "hour")
_KNOWN: Final = ("by", "since", "until", "format", *(name for name in DIMENSIONS if name not in _TIMES))
_SUMS: Final = tuple(name for name in UsageRow.__struct_fields__ if name not in ("group", "cost_nano_usd"))


def read_usage_query(given: QueryParams) -> UsageQuery:
    """Returns what the parameters ask for; raises InvalidRequest naming the one that is wrong."""
    for name in given:
        if name not in _KNOWN:
            raise _wrong(name[:64], f"unknown parameter {name[:64]!r}; known are {', '.join(_KNOWN)}")
    by = tuple(name for name in given.get("by", "").split(",") if name)
    for name in by:
        if name not in DIMENSIONS or by.count(name) > 1:
            raise _wrong("by", f"by must name each of {', '.join(DIMENSIONS)} once at most, not {name[:64]!r}")
    where = {name: tuple(given.getlist(name)) for name in DIMENSIONS if name not in _TIMES and name in given}
    return UsageQuery(
        by=cast("tuple[Dimension, ...]", by),
        where=where,  # pyright: ignore[reportArgumentType] - they are all of DIMENSIONS
        since_ms=_moment(given, "since"),
        until_ms=_moment(given, "until"),
    )


def add_usage_route(shell: FastAPI, current: Callable[[], Runtime], answer: Callable[[Request, Any], Response]) -> None:
    """Adds the route; `answer` makes JSON of a value."""

    @shell.get(USAGE_PATH)
    async def usage(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        query = read_usage_query(request.query_params)
        form = request.query_params.get("format", "json")
        if form not in _FORMS:
            raise _wrong("format", f"format must be json or csv, not {form[:64]!r}")
        found = await _sums(current(), query)
        if form == "csv":
            return Response(as_csv(query, found), media_type="text/csv", headers={"cache-control": "no-store"})
        return answer(request, {"data": as_rows(found)})


async def _sums(runtime: Runtime, query: UsageQuery) -> list[UsageRow]:
    try:
        return await (await runtime.books.storage()).usage(query)
    except StorageRefused as error:
        raise InvalidRequest(str(error), code="invalid_value") from None
    except StorageUnavailable:
        raise LedgerUnavailable("the database does not answer now; its trouble is in the log") from None


def as_rows(found: list[UsageRow]) -> list[dict[str, str | int]]:
    """Returns rows for people: days and hours as UTC's, money as decimal digits."""
    return [
        {
            **{name: _shown(name, value) for name, value in row.group.items()},
            **{name: getattr(row, name) for name in _SUMS},
            "cost_usd": dollars(row.cost_nano_usd),
        }
        for row in found
    ]


def as_csv(query: UsageQuery, found: list[UsageRow]) -> str:
    """Returns the same with a head line; a text that a spreadsheet would take for a formula gets an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*query.by, *_SUMS, "cost_usd"])
    writer.writeheader()
    for row in as_rows(found):
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return text.getvalue()


def _harmless(value: str | int) -> str | int:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _shown(name: Dimension, value: str | int) -> str | int:
    if isinstance(value, str):
        return value
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
    return f"{moment:%Y-%m-%d}" if name == "day" else f"{moment:%Y-%m-%dT%H:00Z}"


def _moment(given: QueryParams, name: str) -> int | None:
    """Returns milliseconds; a date is its midnight, and a time without a zone is UTC's."""
    text = given.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        milliseconds = -1
    if milliseconds < 0 or milliseconds % HOUR_MS:
        message = f"{name} must be a date or a full hour such as 2026-11-21 or 2026-11-21T14:00Z, not {text[:64]!r}"
        raise _wrong(name, message)
    return milliseconds


def _wrong(name: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_value", param=name)
