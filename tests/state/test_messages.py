"""Whatever others write into the server: only what a replica could have said is believed, and nothing does harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.failures import FailureKind
from gateway.state.base import MAX_ID_CHARS, MAX_SECONDS, is_believable
from gateway.state.message import MAX_BYTES, key_of, read, read_kept, written
from tests.state.replica import eventually, replica, rest
from tests.state.server import RedisServer

GOOD: dict[str, Any] = {"replica": "other", "scope": "key", "id": "bad", "seconds": 5, "reason": "rate_limit"}


def said(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


GARBAGE = [
    b"",
    b"\x00\xff",
    b"null",
    b"[]",
    b"{}",
    b'{"replica":',
    b"[" * 4000,
    said()[:-1],
    said(seconds=float("nan")),
    said(seconds=float("inf")),
    said(seconds=-5),
    said(seconds=0),
    said(seconds=86_401),
    said(seconds="5"),
    said(seconds=None),
    said(seconds=True),
    said().replace(b"5", b"1e999"),
    said().replace(b"5", b"9" * 400),
    said(scope="everything"),
    said(scope=7),
    said(id=""),
    said(id=7),
    said(id="a\r\nb"),
    said(id="a" * (MAX_ID_CHARS + 1)),
    said(id="\ud800"),
    said(reason=5),
    said(more="x" * MAX_BYTES),
]


@pytest.mark.parametrize("message", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_ignored(message: bytes) -> None:
    assert read(message, "own") is None
    assert read_kept(b"anyport:cool:key:bad", message, 1000, "own") is None


@given(st.binary() | st.from_regex(rb'\{"replica":"other","scope":"key","id":".*","seconds":.*,"reason":".*"\}'))
def test_whatever_is_read_is_believable(message: bytes) -> None:
    cool_down = read(message, "own")
    assert cool_down is None or is_believable(cool_down)


@given(
    st.sampled_from(["key", "deployment"]),
    st.text(min_size=1, max_size=MAX_ID_CHARS),
    st.floats(0, MAX_SECONDS, exclude_min=True),
    st.sampled_from(FailureKind),
)
def test_what_was_written_is_read_as_it_was(scope: Any, id: str, seconds: float, reason: FailureKind) -> None:
    cool_down = rest(id, seconds, scope, reason)
    message = written(cool_down, "other")
    assert read(message, "other") is None
    assert read(message, "own") == (cool_down if is_believable(cool_down) else None)
    assert len(message) <= MAX_BYTES or not is_believable(cool_down)


def test_a_reason_of_a_newer_version_is_unknown_and_counts() -> None:
    cool_down = read(said(reason="of tomorrow"), "own")
    assert cool_down == rest("bad", 5, reason=FailureKind.UNKNOWN)


@pytest.mark.parametrize("left_ms", [-2, -1, 0, 86_400_001, 10**18])
def test_what_is_kept_for_no_time_or_for_ever_is_ignored(left_ms: int) -> None:
    assert read_kept(b"anyport:cool:key:bad", said(), left_ms, "own") is None


def test_what_is_kept_under_another_name_is_ignored() -> None:
    assert read_kept(b"anyport:cool:key:bad", said(), 1500, "own") == rest("bad", 1.5)
    assert read_kept(b"anyport:cool:deployment:bad", said(), 1500, "own") is None


def test_a_key_begins_with_the_name_of_the_gateway() -> None:
    assert key_of(rest("k", scope="deployment")) == "anyport:cool:deployment:k"


async def test_garbage_on_the_channel_harms_nobody(server: RedisServer) -> None:
    async with replica(server.url) as one, replica(server.url) as other:
        with server.admin() as admin:
            for message in [*GARBAGE, b"x" * 1_000_000]:
                assert admin.publish("anyport:cool:0", message) == 2
        one.state.publish(rest("good"))
        await eventually(lambda: other.heard)
        assert other.ids == {"good"}
        assert one.heard == []
        assert one.state.status == other.state.status == server.place


async def test_garbage_under_keys_harms_nobody_and_does_not_stay(server: RedisServer) -> None:
    with server.admin() as admin:
        for number, message in enumerate(GARBAGE):
            admin.set(f"anyport:cool:key:{number}", message, ex=100)
        admin.set("anyport:cool:key:big", b"x" * 1_000_000, ex=100)
        admin.set("anyport:cool:key:bad", said())  # for ever
        admin.set("anyport:cool:deployment:bad", said(scope="deployment"), ex=1_000_000)
        admin.set(b"anyport:cool:key:\xff", said(), ex=100)
        admin.rpush("anyport:cool:key:list", "a")
        admin.expire("anyport:cool:key:list", 1)
        admin.set("anyport:cool:key:good", said(id="good"), ex=100)
    async with replica(server.url) as one, replica(server.url) as other:
        assert one.ids == {"good"}
        for scope in ("key", "deployment"):
            one.state.publish(rest("bad", scope=scope))
        one.state.publish(rest("list"))
        await eventually(lambda: other.ids == {"good", "bad", "list"})
        with server.admin() as admin:
            assert 0 < admin.ttl("anyport:cool:key:bad") <= 60
            assert 0 < admin.ttl("anyport:cool:deployment:bad") <= 60
