"""What every storage does, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from gateway.records import Project, Team
from gateway.storage.base import (
    DAY_MS,
    HOUR_MS,
    LONG_AGO_MS,
    MAX_PAGE,
    AuditEntry,
    OwnersQuery,
    RecordsQuery,
    RecordsRefused,
    Storage,
    StorageRefused,
    UsageQuery,
)
from gateway.storage.rows import MAX_AMOUNT, MAX_TEXT
from tests.storage.values import AGGREGATES_DAYS, HARSH, RETENTION_DAYS, START_MS, Clock, key, opened, record, tidied


async def requests(storage: Storage) -> int:
    return sum(row.requests for row in await storage.usage(UsageQuery()))


async def test_a_record_comes_back_as_it_was(storage: Storage) -> None:
    plain = replace(record("r0"), cost_nano_usd=None, ttft_ms=None, attempts=(), stream=False)
    kept = [record("r1", at_ms=START_MS + 2 * HOUR_MS), record("r2", error="timeout", is_cancelled=True), plain]
    await storage.append(kept)
    assert await storage.records(RecordsQuery()) == [kept[0], kept[1], plain]


async def test_no_record_is_no_work(storage: Storage) -> None:
    await storage.append([])
    assert await storage.usage(UsageQuery()) == []


async def test_a_record_that_is_there_counts_once(storage: Storage) -> None:
    one, other = record("r1"), record("r2")
    await storage.append([one, other, one])
    await storage.append([one])
    await storage.append([replace(one, cost_nano_usd=1), record("r3"), other])
    (row,) = await storage.usage(UsageQuery())
    assert (row.requests, row.cost_nano_usd, row.input_tokens) == (3, 3 * 123_456_789, 300)
    assert len(await storage.records(RecordsQuery())) == 3


async def test_records_of_two_at_once_count_once(url: str, storage: Storage) -> None:
    batch = [record(f"r{number}") for number in range(100)]
    async with opened(url) as other:
        await asyncio.gather(
            *(each.append(batch[start:] + batch[:start]) for start in range(0, 100, 10) for each in (storage, other))
        )
    assert await requests(storage) == 100


async def test_what_a_row_counts(storage: Storage) -> None:
    await storage.append(
        [
            record("r1"),
            record("r2", status=503, cost_nano_usd=None),
            record("r3", error="stream_broken", usage_source="estimated"),
            record("r4", is_cancelled=True, cost_nano_usd=0),
        ]
    )
    (row,) = await storage.usage(UsageQuery())
    assert (row.requests, row.errors, row.cancelled, row.estimated, row.unpriced) == (4, 2, 1, 1, 1)
    assert (row.input_tokens, row.cached_tokens, row.cache_write_tokens) == (400, 160, 12)
    assert (row.output_tokens, row.reasoning_tokens, row.cost_nano_usd) == (200, 80, 2 * 123_456_789)


async def test_usage_is_grouped_by_what_was_asked_for(storage: Storage) -> None:
    await storage.append(
        [
            record("r1", key_id="k1", at_ms=START_MS + 1),
            record("r2", key_id="k2", at_ms=START_MS + HOUR_MS - 1),
            record("r3", key_id="k2", at_ms=START_MS + DAY_MS, model="other"),
        ]
    )
    by_key = await storage.usage(UsageQuery(by=("key",)))
    assert [(row.group, row.requests) for row in by_key] == [({"key": "k1"}, 1), ({"key": "k2"}, 2)]
    by_day = await storage.usage(UsageQuery(by=("day", "model"), where={"key": ("k2",)}))
    assert [row.group for row in by_day] == [
        {"day": START_MS, "model": "gpt-4.1-2025-04-14"},
        {"day": START_MS + DAY_MS, "model": "other"},
    ]
    by_hour = await storage.usage(UsageQuery(by=("hour",), since_ms=START_MS, until_ms=START_MS + HOUR_MS))
    assert [(row.group, row.requests) for row in by_hour] == [({"hour": START_MS}, 2)]
    assert await storage.usage(UsageQuery(where={"key": ()})) == []


async def test_a_span_has_whole_hours(storage: Storage) -> None:
    with pytest.raises(ValueError, match="since_ms must be the beginning of an hour"):
        UsageQuery(since_ms=1)
    with pytest.raises(ValueError, match="until_ms must be the beginning of an hour"):
        UsageQuery(until_ms=-HOUR_MS)
    with pytest.raises(ValueError, match="since_ms must be the beginning of an hour"):
        await storage.spent(["key:k1"], 5)


async def test_too_many_groups_are_refused_not_cut(storage: Storage) -> None:
    for start in range(0, 10_500, 500):
        await storage.append([record(f"r{number}", model=f"m{number}") for number in range(start, start + 500)])
    with pytest.raises(StorageRefused, match="more than 10000 groups"):
        await storage.usage(UsageQuery(by=("model",)))
    assert await requests(storage) == 10_500


async def test_what_each_owner_spent(storage: Storage) -> None:
    await storage.append(
        [
            record("r1", cost_nano_usd=1, at_ms=START_MS),
            record("r2", cost_nano_usd=10, at_ms=START_MS + DAY_MS, key_id="k2"),
            record("r3", cost_nano_usd=100, at_ms=START_MS + DAY_MS, team_id="t2", project_id=""),
            record("r4", cost_nano_usd=None, at_ms=START_MS + DAY_MS),
        ]
    )
    owners = ["key:k1", "key:k2", "team:t1", "team:t2", "project:p1", "key:nobody", "team:k1", "strange"]
    assert await storage.spent(owners, 0) == {
        "key:k1": 101,
        "key:k2": 10,
        "team:t1": 11,
        "team:t2": 100,
        "project:p1": 11,
        "key:nobody": 0,
        "team:k1": 0,
        "strange": 0,
    }
    assert await storage.spent(["key:k1", "team:t1"], START_MS + DAY_MS) == {"key:k1": 100, "team:t1": 10}
    assert await storage.spent([], 0) == {}


async def test_many_owners_are_asked_at_once(storage: Storage) -> None:
    await storage.append([record("r1", cost_nano_usd=7, key_id="k39999")])
    spent = await storage.spent([f"key:k{number}" for number in range(40_000)], 0)
    assert (len(spent), sum(spent.values()), spent["key:k39999"]) == (40_000, 7, 7)


async def test_sums_beyond_what_a_float_holds_are_exact(storage: Storage) -> None:
    await storage.append([record(f"r{number}", cost_nano_usd=MAX_AMOUNT - number) for number in range(300)])
    total = 300 * MAX_AMOUNT - sum(range(300))
    assert await storage.spent(["key:k1"], 0) == {"key:k1": total}
    assert (await storage.usage(UsageQuery()))[0].cost_nano_usd == total


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"id": ""}, "its id must have up to 512 characters"),
        ({"id": "x" * 513}, "its id must have up to 512 characters"),
        ({"id": "a\0"}, "none of them NUL"),
        ({"input_tokens": -1}, "input_tokens -1 is not between 0 and"),
        ({"output_tokens": 10**30}, "output_tokens 1000000000000000000000000000000 is not between"),
        ({"cost_nano_usd": MAX_AMOUNT + 1}, "cost_nano_usd 1000000000000001 is not between"),
        ({"at_ms": 5}, "at_ms 5 is no moment of these times"),
        ({"status": 10**9}, "status 1000000000 is not HTTP's"),
    ],
)
async def test_what_cannot_be_kept_is_named_and_nothing_is_kept(
    storage: Storage, members: dict[str, object], reason: str
) -> None:
    bad = record(**{"id": "bad", **members})
    with pytest.raises(RecordsRefused, match=reason) as refusal:
        await storage.append([record("good"), bad])
    assert set(refusal.value.reasons) == {bad.id}
    assert await requests(storage) == 0


async def test_texts_that_nobody_expects_are_kept_or_cut(storage: Storage) -> None:
    long = "🔑" * 3000
    await storage.append([record(f"r{number}", route=text, model=text) for number, text in enumerate(HARSH)])
    await storage.append(
        [record("nul", model="a\0b"), record("long", **dict.fromkeys(("model", "route", "key_id"), long))]
    )
    rows = await storage.usage(UsageQuery(by=("model",)))
    assert {row.group["model"] for row in rows} == {*HARSH, "a\N{REPLACEMENT CHARACTER}b", long[:MAX_TEXT]}
    for text in HARSH:
        assert [row.requests for row in await storage.usage(UsageQuery(where={"model": (text,)}))] == [1]
        assert len(await storage.records(RecordsQuery(where={"route": (text,)}))) == 1
        assert await storage.spent([f"key:{text}"], 0) == {f"key:{text}": 0}


async def test_records_come_in_pages_the_newest_first(storage: Storage) -> None:
    # Several at the same moment, so that the id decides.
    batch = [record(f"r{number:02}", at_ms=START_MS + number // 4) for number in range(25)]
    await storage.append(batch)
    seen: list[str] = []
    query = RecordsQuery(limit=4)
    while page := await storage.records(query):
        seen += [each.id for each in page]
        query = replace(query, older_than=(page[-1].at_ms, page[-1].id))
    assert seen == [each.id for each in reversed(batch)]


async def test_records_are_found_by_what_they_say(storage: Storage) -> None:
    await storage.append([record("r1"), record("r2", key_id="k2"), record("r3", status=500), record("r4", error="x")])
    assert [each.id for each in await storage.records(RecordsQuery(id="r2"))] == ["r2"]
    assert [each.id for each in await storage.records(RecordsQuery(where={"key": ("k2", "k3")}))] == ["r2"]
    assert [each.id for each in await storage.records(RecordsQuery(only_errors=True))] == ["r4", "r3"]
    assert await storage.records(RecordsQuery(since_ms=START_MS + HOUR_MS + 1)) == []
    assert len(await storage.records(RecordsQuery(until_ms=START_MS + HOUR_MS + 1))) == 4


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
async def test_pages_have_a_size_that_is_bounded(storage: Storage, limit: int) -> None:
    for asked in (RecordsQuery, OwnersQuery):
        with pytest.raises(ValueError, match="limit must be between 1 and 1000"):
            asked(limit=limit)
    with pytest.raises(ValueError, match="limit must be between 1 and 1000"):
        await storage.audits(limit=limit)


def entry(number: int, **members: str) -> AuditEntry:
    return AuditEntry(START_MS + number, **{"actor": "admin", "action": "key.create", "subject": "key:k1", **members})


async def test_the_audit_log_is_kept_in_order(storage: Storage) -> None:
    for number in range(5):
        assert await storage.audit(entry(number, subject=f"key:k{number % 2}")) == number + 1
    newest = await storage.audits(limit=2)
    assert [(row.sequence, row.entry.at_ms) for row in newest] == [(5, START_MS + 4), (4, START_MS + 3)]
    assert [row.sequence for row in await storage.audits(before=4)] == [3, 2, 1]
    assert [row.sequence for row in await storage.audits(subject="key:k1")] == [4, 2]
    verdict = await storage.verify_audit()
    assert (verdict.entries, verdict.broken_at, verdict.digest) == (5, None, newest[0].digest)


async def test_a_change_and_what_the_audit_log_says_of_it_happen_together(storage: Storage) -> None:
    await storage.put_key(key("k1"), entry(1))
    await storage.put_team(Team("t1", "Team"), entry(2))
    await storage.put_project(Project("p1", "Project"), entry(3))
    with pytest.raises(StorageRefused):
        await storage.put_key(key("k2", digest=key("k1").digest), entry(4))
    assert [row.entry for row in await storage.audits()] == [entry(3), entry(2), entry(1)]
    assert (await storage.verify_audit()).broken_at is None


async def test_entries_of_several_at_once_make_one_chain(url: str, storage: Storage) -> None:
    async with opened(url) as other:
        numbers = await asyncio.gather(*(each.audit(entry(1)) for _ in range(20) for each in (storage, other)))
    assert sorted(numbers) == list(range(1, 41))
    assert (await storage.verify_audit()).entries == 40


async def test_a_long_audit_log_is_read_to_its_end(storage: Storage) -> None:
    for number in range(1100):
        await storage.audit(entry(number))
    assert (await storage.verify_audit()).entries == 1100


async def test_records_go_after_their_time_and_their_sums_stay(storage: Storage, clock: Clock) -> None:
    await storage.append([record("r1"), record("r2", at_ms=START_MS - 90 * DAY_MS)])
    before = await storage.usage(UsageQuery(by=("hour", "key")))
    clock.now_ms += RETENTION_DAYS * DAY_MS
    assert await storage.tidy(clock.now_ms) == 0
    assert [each.id for each in await storage.records(RecordsQuery())] == ["r1", "r2"]
    await storage.append([record("r3")])
    assert await storage.tidy(clock.now_ms + 1) == 0
    assert [each.id for each in await storage.records(RecordsQuery())] == ["r3"]
    assert sum(row.requests for row in before) == 2
    assert await requests(storage) == 3


async def test_tidying_takes_small_steps(storage: Storage, clock: Clock) -> None:
    for start in range(0, 1500, 500):
        await storage.append(
            [record(f"r{number}", at_ms=START_MS + number * HOUR_MS) for number in range(start, start + 500)]
        )
    clock.now_ms += 1000 * DAY_MS
    assert await storage.tidy(clock.now_ms) == 1000 + 1500
    assert await tidied(storage, clock.now_ms) == 5
    assert await storage.records(RecordsQuery()) == []
    assert await requests(storage) == 1500


async def test_what_was_long_ago_is_known_by_owner(storage: Storage, clock: Clock) -> None:
    await storage.append([record(f"r{number}", model=f"m{number}", cost_nano_usd=number) for number in range(10)])
    await storage.append([record("other", key_id="k2", cost_nano_usd=50)])
    clock.now_ms += (AGGREGATES_DAYS + 1) * DAY_MS
    await storage.append([record("new", at_ms=clock.now_ms)])
    await tidied(storage, clock.now_ms)
    rows = await storage.usage(UsageQuery(by=("hour", "key", "model")))
    assert [(tuple(row.group.values()), row.requests) for row in rows] == [
        ((LONG_AGO_MS, "k1", ""), 10),
        ((LONG_AGO_MS, "k2", ""), 1),
        ((clock.now_ms, "k1", "gpt-4.1-2025-04-14"), 1),
    ]
    assert await storage.spent(["key:k1", "key:k2", "team:t1"], 0) == {
        "key:k1": 45 + 123_456_789,
        "key:k2": 50,
        "team:t1": 95 + 123_456_789,
    }
    assert await storage.spent(["key:k1"], clock.now_ms) == {"key:k1": 123_456_789}
    # What comes late is added to what is there already.
    await storage.append([record("late", cost_nano_usd=5)])
    await tidied(storage, clock.now_ms)
    assert (await storage.spent(["key:k1"], 0))["key:k1"] == 50 + 123_456_789


async def test_a_cancelled_append_happened_wholly_or_not_at_all(storage: Storage) -> None:
    for number in range(40):
        batch = [record(f"r{number}-{each}") for each in range(20)]
        task = asyncio.create_task(storage.append(batch))
        await asyncio.sleep(0.0005 * number)
        task.cancel()
        await asyncio.wait([task])
        assert await requests(storage) in (number * 20, (number + 1) * 20)
        await storage.append(batch)
        assert await requests(storage) == (number + 1) * 20


async def test_no_log_quotes_what_is_kept(
    url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    async with opened(url) as storage:
        await storage.put_key(
            key("k1", name="canary-name", digest=b"canary-digest"), entry(1, details="canary-details")
        )
        await storage.append([record("canary-id", model="canary-model")])
        await storage.records(RecordsQuery(where={"model": ("canary-model",)}))
        with pytest.raises(StorageRefused):
            await storage.put_key(key("k2", digest=b"canary-digest"))
    assert "canary" not in caplog.text
    assert "canary" not in "".join(capsys.readouterr())


async def test_the_tables_are_current_after_an_upgrade(storage: Storage) -> None:
    await storage.ping()
    assert await storage.is_current()
    assert await storage.revision() == ("0003", "0003")
