"""Records as rows, and as what they add to the sums of their hour."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from operator import add, attrgetter, itemgetter
from typing import Any, Final

import msgspec
from msgspec.structs import astuple, fields

from gateway.records import AttemptRecord, UsageRecord
from gateway.storage.base import HOUR_MS, LONG_AGO_MS, RecordsRefused
from gateway.storage.tables import LABELS, OWNER_LABELS, SUMS

Row = dict[str, Any]
Values = list[Any]
"""A row of single records without its names, in the order of `COLUMNS`."""
MAX_AMOUNT: Final = 10**15
"""Most tokens or nano-dollars (a million dollars) of one record. Sums of it fit 64 bits, and a mistake stays out."""
MAX_AT_MS: Final = 10**14
MAX_TEXT: Final = 512
"""Longer texts are cut: they come from upstreams, and an index has a limit."""
_MAX_STATUS: Final = 999
_AMOUNTS: Final = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nano_usd",
)
_MEMBERS: Final = tuple(name for name in UsageRecord.__struct_fields__ if name != "content")
COLUMNS: Final = (*_MEMBERS, "stored_at_ms")
_PLACES: Final = {name: place for place, name in enumerate(COLUMNS)}
_TEXT_NAMES: Final = tuple(field.name for field in fields(UsageRecord) if field.type in (str, str | None))
_TEXTS: Final = tuple(map(_PLACES.__getitem__, _TEXT_NAMES))
_texts_of: Final = itemgetter(*map(_PLACES.__getitem__, _TEXT_NAMES))
_tokens_of: Final = attrgetter(*_AMOUNTS[:-1])
_labels_of: Final = itemgetter(*map(_PLACES.__getitem__, LABELS))
_summed_of: Final = itemgetter(
    *map(_PLACES.__getitem__, ("at_ms", "status", "error", "is_cancelled", "usage_source", *_AMOUNTS))
)
_FLAGS: Final = tuple(_PLACES[field.name] for field in fields(UsageRecord) if field.type is bool)
_place_of: Final = itemgetter("hour_ms", *LABELS)
_attempts_encoder: Final = msgspec.json.Encoder()
_attempts_decoder: Final = msgspec.json.Decoder(tuple[AttemptRecord, ...])


def refuse_unfit(records: Iterable[UsageRecord]) -> None:
    """Raises RecordsRefused if some could not be kept as they are."""
    reasons = {record.id: reason for record in records if (reason := _unfit(record))}
    if reasons:
        raise RecordsRefused(reasons)


def _unfit(record: UsageRecord) -> str:
    if not 0 < len(record.id) <= MAX_TEXT or record.id.find("\0") >= 0:
        return f"its id must have up to {MAX_TEXT} characters, none of them NUL"
    if not HOUR_MS <= record.at_ms <= MAX_AT_MS:
        return f"at_ms {record.at_ms} is no moment of these times"
    if not 0 <= record.status <= _MAX_STATUS:
        return f"status {record.status} is not HTTP's"
    tokens: tuple[int, ...] = _tokens_of(record)
    if min(tokens) >= 0 and max(tokens) <= MAX_AMOUNT and 0 <= (record.cost_nano_usd or 0) <= MAX_AMOUNT:
        return ""
    for name in _AMOUNTS:
        amount: int = getattr(record, name) or 0
        if not 0 <= amount <= MAX_AMOUNT:
            return f"{name} {amount} is not between 0 and {MAX_AMOUNT}"
    return ""


def as_values(record: UsageRecord, stored_at_ms: int, flag: Callable[[bool], int] = bool) -> Values:
    """Returns the row of a single record, its flags as `flag` makes them; its content is in a table of its own."""
    values: Values = [*astuple(record)[: len(_MEMBERS)], stored_at_ms]
    for place in _FLAGS:
        values[place] = flag(values[place])
    whole = "".join(filter(None, _texts_of(values)))
    if len(whole) > MAX_TEXT or whole.find("\0") >= 0:
        for place in _TEXTS:
            values[place] = values[place] and fit_text(values[place])
    values[_PLACES["attempts"]] = _attempts_encoder.encode(record.attempts).decode()
    return values


def as_record(row: Mapping[Any, Any]) -> UsageRecord:
    """Returns the record of a row."""
    members = {name: row[name] for name in _MEMBERS}
    members["attempts"] = _attempts_decoder.decode(members["attempts"])
    return UsageRecord(**members)


def fit_text(text: str) -> str:
    """Returns a text that every database keeps: PostgreSQL takes no NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:MAX_TEXT]


def hour_of(at_ms: int) -> int:
    """Returns the beginning of the hour."""
    return at_ms - at_ms % HOUR_MS


def sums_of(rows: Iterable[Values]) -> list[Row]:
    """Returns what these single rows add to the sums."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        at_ms, status, error, is_cancelled, usage_source, *tokens, cost = _summed_of(row)
        amounts = [1, status >= 400 or error is not None, is_cancelled, usage_source == "estimated", cost is None]
        amounts += *tokens, cost or 0
        place = (hour_of(at_ms), *_labels_of(row))
        sums[place] = list(map(add, sums[place], amounts)) if place in sums else list(map(int, amounts))
    return merged(
        {**dict(zip(("hour_ms", *LABELS), place, strict=True)), **dict(zip(SUMS, amounts, strict=True))}
        for place, amounts in sums.items()
    )


def folded(rows: Iterable[Row]) -> list[Row]:
    """Returns what is kept of these sums for good: those of each owner, without an hour."""
    nothing = dict.fromkeys((name for name in LABELS if name not in OWNER_LABELS), "")
    return merged({**row, **nothing, "hour_ms": LONG_AGO_MS} for row in rows)


def merged(rows: Iterable[Row]) -> list[Row]:
    """Returns the sums of sums, in an order that is the same for everybody.

    Two transactions that change the same sums then never wait for each other.
    """
    sums: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        place = _place_of(row)
        if (found := sums.get(place)) is None:
            hour_ms, *labels = place
            named = dict(zip(LABELS, labels, strict=True))
            amounts = {name: row[name] for name in SUMS}
            sums[place] = {"hour_ms": hour_ms, "series": _series(tuple(labels)), **named, **amounts}
            continue
        for name in SUMS:
            if amount := row[name]:
                found[name] += amount
    return sorted(sums.values(), key=lambda row: (row["hour_ms"], row["series"]))


def _series(labels: tuple[str, ...]) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(labels), digest_size=16).digest()
