"""What owners of budgets have spent is known without waiting, and where it is not known nobody guesses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest

from gateway.access import spending
from gateway.access.admission import owner_id, span
from gateway.access.spending import Spending, SpendingUnknown
from gateway.records import Budget, Team, VirtualKey, Window
from gateway.storage.base import StorageUnavailable

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = Budget(100, Window.DAY)
MONTH = Budget(1000, Window.MONTH)


class Shelf:
    """Storage: what each owner has spent, by the beginning of the time that is asked for."""

    def __init__(self) -> None:
        self.now = NOON
        self.amounts: dict[str, int] = {}
        self.held: dict[str, dict[str, int]] = {}
        self.asked: list[tuple[tuple[str, ...], int]] = []
        self.is_away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.owners: list[VirtualKey | Team] = []
        self.spending = Spending(lambda: self, lambda: self.owners, now_ms=self.now_ms)

    def now_ms(self) -> int:
        return int(self.now.timestamp()) * 1000

    async def spent(self, owners: Collection[str], since_ms: int) -> dict[str, int]:
        self.asked.append((tuple(owners), since_ms))
        await self.answers.wait()
        if self.is_away:
            raise StorageUnavailable("the database is away")
        return {owner: self.amounts.get(owner, 0) for owner in owners}

    async def reserved(self) -> dict[str, dict[str, int]]:
        return self.held

    def look(self) -> None:
        asyncio.run(self.spending.refresh())

    def said(self, owner: VirtualKey | Team, window: Window = Window.DAY) -> int:
        return self.spending.spent(owner_id(owner), span(window, self.now_ms()))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def key(name: str, *budgets: Budget) -> VirtualKey:
    return VirtualKey(name, name, name.encode(), budgets=budgets or (DAY,))


def test_the_ledgers_figure_counts_once_it_was_read(shelf: Shelf) -> None:
    one = key("one")
    shelf.owners, shelf.amounts = [one], {"key:one": 40}
    with pytest.raises(SpendingUnknown):
        shelf.said(one)
    shelf.look()
    assert shelf.said(one) == 40
    shelf.amounts["key:one"] = 60
    shelf.look()
    assert shelf.said(one) == 60


def test_each_window_is_asked_for_from_its_own_beginning(shelf: Shelf) -> None:
    one, team = key("one", DAY, MONTH), Team("t", "t", budgets=(MONTH,))
    shelf.owners = [one, team]
    shelf.look()
    midnight = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()) * 1000
    first = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1000
    assert shelf.asked == [(("key:one",), midnight), (("key:one", "team:t"), first)]


def test_nothing_is_asked_where_nobody_has_a_budget(shelf: Shelf) -> None:
    shelf.look()
    assert shelf.asked == []


def test_the_last_figure_stays_while_storage_is_away_and_the_trouble_is_told(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = key("one")
    shelf.owners, shelf.amounts = [one], {"key:one": 40}
    shelf.look()
    shelf.is_away = True
    shelf.look()
    assert (shelf.said(one), shelf.spending.trouble) == (40, "the database is away")
    shelf.is_away = False
    shelf.look()
    shelf.look()
    assert shelf.spending.trouble == ""
    assert [record.message for record in caplog.records] == [
        "what was spent of budgets cannot be read: the database is away",
        "what was spent of budgets can be read again",
    ]


def test_a_window_that_has_begun_since_the_last_look_is_empty(shelf: Shelf) -> None:
    one = key("one", DAY, MONTH)
    shelf.owners, shelf.amounts = [one], {"key:one": 40}
    shelf.look()
    shelf.is_away = True
    shelf.now = NOON + timedelta(days=1)
    shelf.look()
    assert shelf.said(one) == 0
    assert shelf.said(one, Window.MONTH) == 40


def test_a_clock_that_goes_back_over_midnight_makes_no_spending_up(shelf: Shelf) -> None:
    one = key("one")
    shelf.owners, shelf.amounts, shelf.now = [one], {"key:one": 40}, datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
    shelf.look()
    shelf.now -= timedelta(hours=1)
    with pytest.raises(SpendingUnknown):
        shelf.said(one)
    shelf.look()
    assert shelf.said(one) == 40


def test_a_budget_that_came_later_is_not_known_before_it_was_read(shelf: Shelf) -> None:
    shelf.owners = [key("one")]
    shelf.look()
    shelf.owners = [key("one", DAY, MONTH)]
    with pytest.raises(SpendingUnknown):
        shelf.said(shelf.owners[0], Window.MONTH)
    shelf.look()
    assert shelf.said(shelf.owners[0], Window.MONTH) == 0


def test_of_many_owners_those_asked_for_are_read_in_each_look_and_the_others_by_turns(shelf: Shelf) -> None:
    shelf.owners = [key(f"k{number}") for number in range(1000)]
    shelf.look()
    assert len(shelf.asked[0][0]) == 1000
    seen: set[str] = set()
    for _ in range(5):
        shelf.asked.clear()
        shelf.said(shelf.owners[7])
        shelf.look()
        read = shelf.asked[0][0]
        assert "key:k7" in read
        assert len(read) <= 201
        seen |= set(read)
    assert len(seen) == 1000


def test_who_has_gone_is_forgotten(shelf: Shelf) -> None:
    one = key("one")
    shelf.owners = [one]
    shelf.look()
    shelf.owners = []
    shelf.look()
    with pytest.raises(SpendingUnknown):
        shelf.said(one)


async def test_nothing_is_known_before_storage_has_what_was_written_down_before(shelf: Shelf) -> None:
    one, is_complete = key("one"), False
    await shelf.spending.start(lambda: is_complete)
    assert shelf.spending.trouble == ""  # nobody has a budget
    shelf.owners, shelf.amounts = [one], {"key:one": 40}
    await shelf.spending.refresh()
    assert shelf.spending.trouble == "older records are not in storage yet"
    with pytest.raises(SpendingUnknown):
        shelf.said(one)
    is_complete = True
    await shelf.spending.refresh()
    assert (shelf.said(one), shelf.spending.trouble) == (40, "")
    await shelf.spending.aclose()


async def test_of_a_new_owner_it_is_known_before_anybody_may_come_in_its_name() -> None:
    shelf, one, two = Shelf(), key("one"), key("two")
    shelf.amounts = {"key:one": 40}
    await shelf.spending.foresee([one])
    assert shelf.asked == [], "before the start storage may lack what a process before this one wrote down"
    await shelf.spending.start()
    await shelf.spending.foresee([one, VirtualKey("three", "three", b"three")])
    shelf.owners.append(one)
    assert shelf.said(one) == 40
    await shelf.spending.foresee([one])
    assert len(shelf.asked) == 1, "nothing of it is new, and who has no budget is not asked for"
    await shelf.spending.foresee([key("one", DAY, MONTH)])
    assert shelf.said(one, Window.MONTH) == 40
    shelf.is_away = True
    await shelf.spending.foresee([two])
    with pytest.raises(SpendingUnknown):
        shelf.said(two)
    await shelf.spending.aclose()


async def test_new_owners_do_not_wait_long_for_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "_FORESIGHT_SECONDS", 0.02)
    shelf = Shelf()
    await shelf.spending.start()
    shelf.answers.clear()
    async with asyncio.timeout(10):
        await shelf.spending.foresee([key("one")])
    assert shelf.asked
    shelf.answers.set()
    await shelf.spending.aclose()


def test_what_lines_at_providers_may_cost_is_read_and_counts_once_where_it_is_held(shelf: Shelf) -> None:
    shelf.owners, shelf.held = [key("one")], {"key:one": {"a": 30, "b": 5}}
    assert shelf.spending.reserved("key:one") == 0
    shelf.look()
    assert shelf.spending.reserved("key:one") == 35
    shelf.spending.held_here.add("a")
    assert shelf.spending.reserved("key:one") == 5
    shelf.spending.held_here.clear()
    shelf.spending.forget("b")
    assert shelf.spending.reserved("key:one") == 30


def test_what_is_reserved_no_more_counts_until_the_sums_have_what_came_of_it(shelf: Shelf) -> None:
    shelf.owners, shelf.held = [key("one")], {"key:one": {"a": 30}}
    shelf.look()
    shelf.held, shelf.is_away = {}, True
    shelf.look()
    assert shelf.spending.reserved("key:one") == 30
    shelf.is_away = False
    shelf.look()
    assert shelf.spending.reserved("key:one") == 0
