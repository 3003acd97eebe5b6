"""Counters of what was ever used: of two snapshots, the difference is what was used in between.

Theory. Sums of owners are kept for ever, whatever becomes of single records and hours, so that they never go back. Sums
of models are not: what is too old is known by owner alone. They count from a moment that the snapshot names; one that
is to be compared with it must count from the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import astuple, replace

from gateway.http.usage.sums import OWNERS, Called, name_of
from gateway.storage.base import DAY_MS, Filter, Storage, UsageQuery, UsageRow

_MODELS: Final = ("key", "provider", "model")
SNAPSHOT: Final = "usage.snapshot"


class Counters(Struct, frozen=True):
    """Whole numbers that only grow; see `UsageRow`."""

    requests: int = 0
    errors: int = 0
    cancelled: int = 0
    estimated: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano_usd: int = 0


class OfOwner(Struct, frozen=True):
    """What the requests of a key have used while it belonged to that team and project."""

    key: str
    team: str
    project: str
    counters: Counters
    key_name: str = ""
    team_name: str = ""
    project_name: str = ""


class OfModel(Struct, frozen=True):
    """What a key's requests for one model have used."""

    key: str
    provider: str
    model: str
    counters: Counters
    key_name: str = ""


class Snapshot(Struct, frozen=True):
    """All counters at one moment."""

    as_of: str
    pending_records: int
    totals: Counters
    owners: list[OfOwner]
    models_from: str
    models: list[OfModel]
    object: str = SNAPSHOT


class Counted(Struct, frozen=True):
    """What storage says for a snapshot."""

    totals: Counters
    owners: list[OfOwner]
    models: list[OfModel]

    def named(self, called: Called) -> Counted:
        """Returns the same with the names of today."""
        owners = [
            replace(row, **{f"{word}_name": name_of(word, getattr(row, word), called) for word in OWNERS})
            for row in self.owners
        ]
        models = [replace(row, key_name=name_of("key", row.key, called)) for row in self.models]
        return replace(self, owners=owners, models=models)


async def counted(storage: Storage, where: Filter, models_from_ms: int) -> Counted:
    """Returns the counters of the owners that `where` names, all if it names none."""
    owners = [
        OfOwner(str(row.group["key"]), str(row.group["team"]), str(row.group["project"]), _counters(row))
        for row in await storage.usage(UsageQuery(by=OWNERS, where=where))
    ]
    models = [
        OfModel(str(row.group["key"]), str(row.group["provider"]), str(row.group["model"]), _counters(row))
        for row in await storage.usage(UsageQuery(by=_MODELS, where=where, since_ms=models_from_ms))
    ]
    return Counted(added(each.counters for each in owners), owners, models)


def added(counters: Iterable[Counters]) -> Counters:
    """Returns the sums."""
    return Counters(*map(sum, zip(astuple(Counters()), *map(astuple, counters), strict=True)))


def usual_start(month_ms: int, horizon_ms: int) -> int:
    """Returns from when models are counted if nobody says so: the month's beginning, or what is still known."""
    return max(month_ms, horizon_ms - horizon_ms % DAY_MS + DAY_MS)


def _counters(row: UsageRow) -> Counters:
    return Counters(**{name: getattr(row, name) for name in Counters.__struct_fields__})
