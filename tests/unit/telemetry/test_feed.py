"""The feed by itself: who hears what, and what becomes of those who do not keep up."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.telemetry.feed import KINDS, Feed, FeedFull


async def test_a_listener_hears_the_kinds_that_it_wants_in_their_order() -> None:
    feed = Feed(wall=lambda: 1_700_000_000.5)
    all_of_them, some = feed.listen(), feed.listen({"reload"})
    feed.tell("request", {"id": "1"})
    feed.tell("reload", {"ok": True})
    heard = await all_of_them.batch()
    assert [(each.number, each.kind) for each in heard] == [(1, "request"), (2, "reload")]
    assert json.loads(heard[0].data) == {"ts": "2023-11-14T22:13:20.500Z", "id": "1"}
    assert [each.number for each in await some.batch()] == [2]


async def test_who_does_not_keep_up_is_told_how_much_was_lost_and_where() -> None:
    feed = Feed(queue_events=3)
    slow, quick = feed.listen(), feed.listen()
    for number in range(5):
        feed.tell("request", {"id": number})
        assert (await quick.next()).number == number + 1  # type: ignore[union-attr]
    first = await slow.next()
    assert first is not None
    assert first.number == 1
    feed.tell("request", {"id": "later"})
    heard = await slow.batch()
    assert [each.kind for each in heard] == ["request", "request", "lost", "request"]
    assert json.loads(heard[2].data) == {"events": 2}
    assert [each.number for each in heard] == sorted(each.number for each in heard)


async def test_a_loss_is_told_even_if_nothing_follows() -> None:
    feed = Feed(queue_events=1)
    slow = feed.listen()
    feed.tell("request", {})
    feed.tell("request", {})
    kinds = [(await slow.next()).kind for _ in range(2)]  # type: ignore[union-attr]
    assert kinds == ["request", "lost"]


async def test_it_is_heard_only_while_somebody_listens() -> None:
    feed = Feed()
    turns: list[bool] = []
    feed.follow(lambda: turns.append(feed.is_heard))
    one, other = feed.listen(), feed.listen()
    assert feed.is_heard
    feed.leave(one)
    feed.leave(one)
    feed.leave(other)
    assert not feed.is_heard
    assert turns == [True, False]


async def test_no_more_listen_than_may() -> None:
    feed = Feed(most_listeners=2)
    feed.listen()
    last = feed.listen()
    with pytest.raises(FeedFull, match="2 listen already"):
        feed.listen()
    feed.leave(last)
    feed.listen()


async def test_the_end_comes_after_what_was_told_and_to_whoever_comes_later() -> None:
    feed = Feed()
    listener = feed.listen()
    waiting = asyncio.create_task(feed.listen().next())
    await asyncio.sleep(0)
    feed.tell("request", {})
    feed.close()
    assert [each.kind for each in await listener.batch()] == ["request"]
    assert await listener.batch() == []
    assert (await waiting) is not None
    assert await feed.listen().next() is None
    assert not feed.is_heard


def test_every_kind_says_what_it_means() -> None:
    assert all(meaning.endswith(".") for meaning in KINDS.values())
