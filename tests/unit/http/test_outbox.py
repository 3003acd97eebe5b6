"""What is written down before answers go out, and what becomes of one that cannot be sent."""

from __future__ import annotations

import asyncio

from gateway.http.guard.outbox import Outbox


async def test_answers_of_one_turn_go_out_behind_the_records_of_all_of_them() -> None:
    told: list[str] = []
    outbox = Outbox(asyncio.get_running_loop(), range(8))
    for name in ("a", "b"):
        outbox.before(lambda name=name: told.append(f"record {name}"))
        outbox.after(lambda name=name: told.append(f"answer {name}"))
    assert (told, outbox.is_busy, outbox.is_holding) == ([], True, True)
    await asyncio.sleep(0)
    assert (told, outbox.is_holding) == (["record a", "record b", "answer a", "answer b"], False)


async def test_an_answer_that_cannot_be_sent_keeps_no_other_back() -> None:
    told: list[str] = []
    outbox = Outbox(asyncio.get_running_loop(), range(8))
    outbox.before(lambda: None)
    outbox.after(lambda: told.remove("nobody"))
    outbox.after(lambda: told.append("other"))
    outbox.release()
    assert told == ["other"]


async def test_nothing_is_put_off_where_few_requests_are_at_work() -> None:
    assert not Outbox(asyncio.get_running_loop(), range(2)).is_busy
