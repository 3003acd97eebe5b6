"""Counters of owners never go back, whatever is taken away; those of models do not for as long as hours are kept."""

from __future__ import annotations

from msgspec.structs import astuple

from gateway.http.usage.snapshot import Counters, added, counted
from gateway.storage.base import DAY_MS, Storage
from tests.storage.values import AGGREGATES_DAYS, START_MS, Clock, record, tidied


async def test_counters_only_grow_while_records_and_hours_are_taken_away(storage: Storage, clock: Clock) -> None:
    before: dict[tuple[str, str, str], Counters] = {}
    for day in range(0, 3 * AGGREGATES_DAYS, 7):
        clock.now_ms = START_MS + day * DAY_MS
        batch = [
            record(
                f"{day}-{number}",
                at_ms=clock.now_ms + number,
                key_id=f"k{number % 3}",
                team_id=f"t{day % 2}",
                model=f"m{number}",
                cost_nano_usd=None if number == 4 else 10**9 + number,
            )
            for number in range(5)
        ]
        await storage.append(batch)
        await tidied(storage, clock.now_ms)
        found = await counted(storage, {}, 0)
        now = {(each.key, each.team, each.project): each.counters for each in found.owners}
        assert set(before) <= set(now)
        for owner, counters in before.items():
            assert all(later >= earlier for later, earlier in zip(astuple(now[owner]), astuple(counters), strict=True))
        days = day // 7 + 1
        assert (found.totals.requests, found.totals.unpriced) == (5 * days, days)
        assert found.totals.cost_nano_usd == days * (4 * 10**9 + 6)
        assert added(now.values()) == found.totals
        before = now
    assert min(row.counters.requests for row in found.models if not row.model) > 0  # what is old has no model any more


async def test_models_are_told_apart_and_add_up_from_any_hour_that_is_kept(storage: Storage, clock: Clock) -> None:
    for number in range(6):
        at_ms = START_MS + number * DAY_MS
        await storage.append([record(f"r{number}", at_ms=at_ms, model=f"m{number % 2}", key_id=f"k{number % 3}")])
    found = await counted(storage, {"key": ("k1",)}, START_MS + 2 * DAY_MS)
    assert [(each.model, each.counters.requests) for each in found.models] == [("m0", 1)]
    assert (found.totals.requests, [each.key for each in found.owners]) == (2, ["k1"])
