"""The same `Idempotency-Key` never stands for two different requests of one client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.access.repeats import KEEP_SECONDS, MAX_KEYS, Repeats
from gateway.errors import InvalidRequest, StillAtWork

ALICE = {b"authorization": b"Bearer alice"}
BOB = {b"authorization": b"Bearer bob"}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def refusal(
    repeats: Repeats,
    *given: bytes,
    headers: dict[bytes, bytes] = ALICE,
    path: str = "chat",
    body: bytes = b"{}",
    task: Any = None,
) -> str | None:
    try:
        repeats.check(headers, given, path, body, task)
    except InvalidRequest as error:
        assert error.status == 400
        assert error.param == "idempotency-key"
        assert not error.should_retry
        return error.code
    return None


@pytest.mark.parametrize(
    "given",
    [
        (b"",),
        (b" ",),
        (b"x" * 256,),
        (b"a\rb",),
        (b"a\nb",),
        (b"a\0b",),
        (b"\xc3\xa9",),
        (b"a\x1bb",),
        (b"a", b"a"),
        (),
    ],
)
def test_what_is_no_key_is_refused(given: tuple[bytes, ...]) -> None:
    assert refusal(Repeats(clock=Clock()), *given) == "invalid_idempotency_key"


def test_the_same_request_passes_again_and_another_one_does_not() -> None:
    repeats = Repeats(clock=Clock())
    key = b"x" * 255
    assert [refusal(repeats, key) for _ in range(3)] == [None] * 3
    assert refusal(repeats, key, body=b"{ }") == "idempotency_mismatch"
    assert refusal(repeats, key, path="embeddings") == "idempotency_mismatch"
    assert refusal(repeats, key) is None
    assert refusal(repeats, b"other", body=b"{ }") is None


def test_keys_of_different_clients_never_meet() -> None:
    repeats = Repeats(clock=Clock())
    assert refusal(repeats, b"1") is None
    for headers in (BOB, {b"x-api-key": b"Bearer alice"}, {**ALICE, b"x-api-key": b"y"}, {}):
        assert refusal(repeats, b"1", headers=headers, body=b"[]") is None


def test_keys_that_share_a_border_with_the_client_never_meet() -> None:
    repeats = Repeats(clock=Clock())
    assert refusal(repeats, b"bc", headers={b"x-api-key": b"a"}) is None
    assert refusal(repeats, b"c", headers={b"x-api-key": b"ab"}, body=b"[]") is None


def test_it_forgets_after_a_while_however_often_a_key_came() -> None:
    clock = Clock()
    repeats = Repeats(clock=clock)
    for _ in range(4):
        assert refusal(repeats, b"1") is None
        clock.now += KEEP_SECONDS / 4 - 1
    assert refusal(repeats, b"1", body=b"[]") == "idempotency_mismatch"
    clock.now += 4
    assert refusal(repeats, b"1", body=b"[]") is None


def test_of_very_many_keys_the_oldest_are_forgotten() -> None:
    repeats = Repeats(clock=Clock())
    for number in range(MAX_KEYS + 100):
        assert refusal(repeats, b"%d" % number) is None
    assert len(repeats) == MAX_KEYS
    assert refusal(repeats, b"100", body=b"[]") == "idempotency_mismatch"
    assert refusal(repeats, b"99", body=b"[]") is None


def test_no_key_and_no_body_is_kept() -> None:
    repeats = Repeats(clock=Clock())
    refusal(repeats, b"canary-key", body=b"canary-body")
    kept = repr(vars(repeats))
    assert "canary" not in kept
    assert "alice" not in kept


async def test_of_the_same_request_one_is_at_work_at_a_time() -> None:
    repeats = Repeats(clock=Clock())
    may_end = asyncio.Event()

    async def request(key: bytes = b"1", body: bytes = b"{}") -> str | None:
        found = refusal(repeats, key, body=body, task=asyncio.current_task())
        if found is None:
            await may_end.wait()
        return found

    first = asyncio.create_task(request())
    await asyncio.sleep(0)
    for _ in range(3):
        with pytest.raises(StillAtWork) as refused:
            await asyncio.create_task(request())
        assert (refused.value.status, refused.value.should_retry) == (409, True)
        assert ("retry-after", "1") in refused.value.headers()
    assert await asyncio.create_task(request(body=b"[]")) == "idempotency_mismatch"
    other = asyncio.create_task(request(b"2"))
    may_end.set()
    assert await first is None
    assert await other is None
    assert await asyncio.create_task(request()) is None


async def test_a_request_that_was_cut_off_is_not_at_work_any_more() -> None:
    repeats = Repeats(clock=Clock())

    async def request() -> None:
        assert refusal(repeats, b"1", task=asyncio.current_task()) is None
        await asyncio.sleep(60)

    for _ in range(3):
        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
