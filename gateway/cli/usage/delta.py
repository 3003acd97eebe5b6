"""The difference of two snapshots of usage: what was used between them, exactly."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import astuple, replace

from gateway.http.usage.snapshot import Counters, OfModel, OfOwner, Snapshot

Row = TypeVar("Row", OfOwner, OfModel)


class NoDelta(Exception):
    """Two snapshots cannot be compared; says why."""


class Delta(Struct, frozen=True):
    """What was used between two snapshots; rows of whatever was not used are left out."""

    start: str
    end: str
    totals: Counters
    owners: list[OfOwner]
    models: list[OfModel] | None
    """None if the snapshots count models from different moments."""
    object: str = "usage.delta"


def delta_of(before: Snapshot, after: Snapshot) -> Delta:
    """Returns after less before; raises NoDelta if anything has become less."""
    return Delta(
        start=before.as_of,
        end=after.as_of,
        totals=_less(after.totals, before.totals),
        owners=_rows(before.owners, after.owners, lambda row: (row.key, row.team, row.project)),
        models=(
            _rows(before.models, after.models, lambda row: (row.key, row.provider, row.model))
            if before.models_from == after.models_from
            else None
        ),
    )


def _rows(before: Sequence[Row], after: Sequence[Row], name: Callable[[Row], Hashable]) -> list[Row]:
    known = {name(row): row.counters for row in before}
    if gone := set(known) - {name(row) for row in after}:
        raise NoDelta(f"the second one lacks {next(iter(gone))}: they are of different gateways, or in the wrong order")
    rows = [replace(row, counters=_less(row.counters, known.get(name(row), Counters()))) for row in after]
    return [row for row in rows if row.counters != Counters()]


def _less(after: Counters, before: Counters) -> Counters:
    found = Counters(*(more - less for more, less in zip(astuple(after), astuple(before), strict=True)))
    if min(astuple(found)) < 0:
        raise NoDelta(
            "the second one counts less than the first: they are of different gateways, or in the wrong order"
        )
    return found
