"""What was used, as answers tell it: sums, money, moments and spans."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from starlette.datastructures import QueryParams

from gateway.books import Told
from gateway.errors import InvalidRequest
from gateway.records import dollars
from gateway.storage.base import HOUR_MS, Dimension, UsageRow

COUNTS: Final = tuple(name for name in UsageRow.__struct_fields__ if name not in ("group", "cost_nano_usd"))
SUMS: Final = (*COUNTS, "cost_nano_usd", "cost_usd")
OWNERS: Final = ("key", "team", "project")
Called = Callable[[str, str], str]
"""Says what a key, team or project is called, by the word and its id; empty if that is not known."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN: Final = 64
_MAX_VALUE: Final = 512
"""No name in a record is longer."""


def sums_of(row: UsageRow) -> dict[str, int | str]:
    """Returns the sums of a row, its money as a whole number and as exact decimal digits."""
    counts = {name: getattr(row, name) for name in COUNTS}
    return {**counts, "cost_nano_usd": row.cost_nano_usd, "cost_usd": dollars(row.cost_nano_usd)}


def as_rows(found: Iterable[UsageRow], called: Called) -> list[dict[str, str | int]]:
    """Returns rows for people: names beside ids, days and hours as UTC's."""
    return [{**_group(row, called), **sums_of(row)} for row in found]


def columns_of(by: Iterable[str]) -> list[str]:
    """Returns the columns of rows."""
    return [column for name in by for column in (name, *_name_columns(name))] + [*SUMS]


def name_of(word: str, id: str, called: Called) -> str:
    """Returns what an owner is called; a key that was not made here is one of the file, whose id is its name."""
    return called(word, id) or (id if word == "key" else "")


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Returns a table with a head line; a text that a spreadsheet would take for a formula gets an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return text.getvalue()


def reliance(told: Told[Any]) -> dict[str, str | int]:
    """Returns the members that say how far an answer can be relied on."""
    return {"as_of": moment_text(told.as_of_ms), "pending_records": told.pending_records}


def moment_text(moment_ms: int) -> str:
    """Returns a moment of UTC: `2026-11-21T14:00:00Z`, with milliseconds where there are any."""
    moment = _EPOCH + timedelta(milliseconds=moment_ms)
    thousandths = f".{moment_ms % 1000:03}" if moment_ms % 1000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{thousandths}Z"


def check_names(given: QueryParams, known: Sequence[str], repeatable: Iterable[str] = ()) -> None:
    """Raises InvalidRequest for a parameter that is not known, or is given twice and may not be."""
    for name in given:
        if name not in known:
            shown = name[:_SHOWN]
            message = f"unknown parameter {shown!r}; known are {', '.join(known)}"
            raise InvalidRequest(message, code="unknown_parameter", param=shown)
    for name in set(given) - set(repeatable):
        if len(given.getlist(name)) > 1:
            raise wrong(name, f"{name} may be given once only")


def values(given: QueryParams, name: str) -> tuple[str, ...]:
    """Returns all values of a parameter; raises InvalidRequest for one that can be in no record."""
    found = tuple(given.getlist(name))
    for value in found:
        if len(value) > _MAX_VALUE or "\0" in value:
            raise wrong(name, f"{name} must have up to {_MAX_VALUE} characters, none of them NUL")
    return found


def span(given: QueryParams) -> tuple[int | None, int | None]:
    """Returns `from` and `to` in milliseconds; raises InvalidRequest unless they are full hours, in order."""
    start, end = moment(given, "from"), moment(given, "to")
    if start is not None and end is not None and start >= end:
        raise wrong("from", f"from ({moment_text(start)}) must be before to ({moment_text(end)})")
    return start, end


def moment(given: QueryParams, name: str) -> int | None:
    """Returns milliseconds; a date is its midnight, and a time without a zone is UTC's."""
    text = given.get(name)
    if text is None:
        return None
    milliseconds = milliseconds_of(text)
    if milliseconds < 0 or milliseconds % HOUR_MS:
        example = "a date or a full hour such as 2026-11-21 or 2026-11-21T14:00Z"
        raise wrong(name, f"{name} must be {example}, not {text[:_SHOWN]!r}")
    return milliseconds


def milliseconds_of(text: str) -> int:
    """Returns the moment of a date or time, -1 if it is none; without a zone it is UTC's."""
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
        return max(-1, (found - _EPOCH) // timedelta(milliseconds=1))
    except (ValueError, OverflowError):
        return -1


def wrong(name: str, message: str) -> InvalidRequest:
    """Returns the error of a parameter that means nothing."""
    return InvalidRequest(message, code="invalid_value", param=name)


def _harmless(value: str | int) -> str | int:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _name_columns(name: str) -> tuple[str, ...]:
    return (f"{name}_name",) if name in OWNERS else ()


def _group(row: UsageRow, called: Called) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for name, value in row.group.items():
        found[name] = _shown(name, value)
        found |= {column: name_of(name, str(value), called) for column in _name_columns(name)}
    return found


def _shown(name: Dimension, value: str | int) -> str | int:
    if isinstance(value, str):
        return value
    found = _EPOCH + timedelta(milliseconds=value)
    return f"{found:%Y-%m-%d}" if name == "day" else f"{found:%Y-%m-%dT%H:00Z}"
