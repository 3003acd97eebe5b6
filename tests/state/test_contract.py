"""What holds wherever the state is, and what two replicas at one server hear of each other."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.failures import FailureKind
from gateway.errors import ConfigError
from gateway.state import factory
from gateway.state.base import MAX_SECONDS, CoolDown
from gateway.state.factory import open_state
from gateway.state.redis import MAX_OWN
from tests.state.replica import Replica, eventually, replica, rest
from tests.state.server import RedisServer


@pytest.fixture(params=["memory", "redis", "redis that is not there"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://"
        return
    server: RedisServer = request.getfixturevalue("server" if request.param == "redis" else "absent")
    yield server.url


UNBELIEVABLE = [
    rest("a", math.nan),
    rest("a", -1),
    rest("a", 0),
    rest("a", -math.inf),
    rest(""),
    rest("a\nb"),
    rest("\udc80"),
    rest("a" * 513),
]


async def test_a_life_without_others_is_quiet(url: str) -> None:
    alone = Replica(open_state(url))
    alone.state.publish(rest("before the start"))
    await alone.state.start()
    alone.state.publish(rest("while it runs"))
    for nonsense in UNBELIEVABLE:
        alone.state.publish(nonsense)
    await alone.state.aclose()
    alone.state.publish(rest("after the end"))
    assert alone.heard == []
    assert alone.state.status


async def test_it_can_be_closed_unstarted_and_twice(url: str) -> None:
    state = open_state(url)
    await state.aclose()
    await state.aclose()


async def test_memory_says_so() -> None:
    assert open_state("memory://").status == "memory"


async def test_the_other_replica_hears_it_and_oneself_does_not(server: RedisServer) -> None:
    async with replica(server.url) as one, replica(server.url) as other:
        one.state.publish(rest("k1", 60, "key", FailureKind.QUOTA))
        one.state.publish(rest("d1", 5, "deployment", FailureKind.OVERLOADED))
        other.state.publish(rest("k2"))
        await eventually(lambda: other.ids == {"k1", "d1"} and one.ids == {"k2"})
    assert (other.last("k1").scope, other.last("k1").reason) == ("key", FailureKind.QUOTA)
    assert (other.last("d1").scope, other.last("d1").reason) == ("deployment", FailureKind.OVERLOADED)
    assert 0 < other.last("d1").seconds <= 5 < other.last("k1").seconds <= 60


async def test_all_who_subscribed_are_told(server: RedisServer) -> None:
    async with replica(server.url) as one, replica(server.url) as other:
        second: list[CoolDown] = []
        other.state.subscribe(second.append)
        one.state.publish(rest("k"))
        await eventually(lambda: second)
        assert second == other.heard


async def test_who_comes_later_hears_what_is_resting_and_how_long_still(server: RedisServer) -> None:
    async with replica(server.url) as one:
        one.state.publish(rest("k", 60))
        one.state.publish(rest("short", 0.05))
        with server.admin() as admin:
            await eventually(lambda: admin.keys("anyport:*") == [b"anyport:cool:key:k"])
            admin.pexpire("anyport:cool:key:k", 20_000)
        async with replica(server.url) as later:
            assert later.ids == {"k"}
            assert 0 < later.last("k").seconds <= 20


async def test_who_comes_later_hears_even_what_a_replica_left_that_is_gone(server: RedisServer) -> None:
    async with replica(server.url) as one:
        one.state.publish(rest("k"))
        with server.admin() as admin:
            await eventually(lambda: admin.keys("anyport:*"))
    async with replica(server.url) as later:
        assert later.ids == {"k"}


async def test_the_longest_wait_wins(server: RedisServer) -> None:
    async with replica(server.url) as one, replica(server.url) as other, replica(server.url) as third:
        one.state.publish(rest("k", 50))
        await eventually(lambda: other.heard and third.heard)
        other.state.publish(rest("k", 10))  # is not worth telling
        other.state.publish(rest("k", 500))
        await eventually(lambda: one.heard)
        one.state.publish(rest("k", 60))
        one.state.publish(rest("last"))
        await eventually(lambda: third.ids == {"k", "last"})
        assert [round(each.seconds, -1) for each in third.heard] == [50, 500, 60]
        with server.admin() as admin:
            assert admin.pttl("anyport:cool:key:k") > 400_000


async def test_a_wait_of_more_than_a_day_is_told_as_a_day(server: RedisServer) -> None:
    async with replica(server.url) as one, replica(server.url) as other:
        one.state.publish(rest("k", math.inf))
        one.state.publish(rest("l", MAX_SECONDS))
        await eventually(lambda: other.ids == {"k", "l"})
        assert all(MAX_SECONDS - 60 < each.seconds <= MAX_SECONDS for each in other.heard)


async def test_names_in_any_script_arrive_as_they_are(server: RedisServer) -> None:
    ids = {"openai/gpt 4", "a:b:c", "*", "модель", "x" * 512, '"\\'}
    async with replica(server.url) as one, replica(server.url) as other:
        for id in ids:
            one.state.publish(rest(id))
        await eventually(lambda: other.ids == ids)
        async with replica(server.url) as later:
            assert later.ids == ids


async def test_databases_of_one_server_hear_nothing_of_each_other(server: RedisServer) -> None:
    elsewhere = server.url.removesuffix("0") + "1"
    async with replica(server.url) as one, replica(server.url) as other, replica(elsewhere) as stranger:
        one.state.publish(rest("k"))
        await eventually(lambda: other.heard)
        stranger.state.publish(rest("s"))
        with server.admin(1) as admin:
            await eventually(lambda: admin.keys("anyport:*"))
        one.state.publish(rest("l"))
        await eventually(lambda: other.ids == {"k", "l"})
        assert stranger.heard == []


async def test_of_very_many_the_oldest_are_forgotten(absent: RedisServer) -> None:
    async with replica(absent.url, is_there=False) as one:
        for number in range(MAX_OWN + 10):
            one.state.publish(rest(f"k{number}"))
        one.state.publish(rest("k10", 600))  # is news, and young again
        one.state.publish(rest("new"))
        absent.start()
        with absent.admin() as admin:
            await eventually(lambda: admin.dbsize() == MAX_OWN)
            await eventually(lambda: one.state.status == absent.place)
            kept = set(admin.keys("anyport:*"))
        assert {b"anyport:cool:key:new", b"anyport:cool:key:k10", b"anyport:cool:key:k12"} <= kept
        assert not {b"anyport:cool:key:k9", b"anyport:cool:key:k11"} & kept


async def test_of_very_many_that_are_kept_all_are_read(server: RedisServer) -> None:
    async with replica(server.url) as one:
        for number in range(2500):
            one.state.publish(rest(f"k{number}"))
        with server.admin() as admin:
            await eventually(lambda: admin.dbsize() == 2500)
        async with replica(server.url) as later:
            assert len(later.ids) == 2500


@pytest.mark.parametrize("password", ["hunter2secret", "p@ss:w/rd?#&%41 é"])
async def test_a_password_works_and_is_shown_nowhere(
    tmp_path: Path, absent: RedisServer, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    from urllib.parse import quote

    caplog.set_level("DEBUG")
    absent.password = password
    absent.start()
    url = f"redis://:{quote(password, safe='')}@127.0.0.1:{absent.port}/0"
    async with replica(url) as one, replica(url.replace(":", ":x", 2).replace(":x//", "://"), is_there=False) as wrong:
        await eventually(lambda: "password" in wrong.state.status)
        absent.kill()
        await eventually(lambda: "refused" in one.state.status)
        shown = [*caplog.messages, one.state.status, wrong.state.status, repr(one.state), repr(vars(one.state))]
    assert wrong.state.status
    forms = {password, quote(password), quote(password, safe="")}
    assert [text for text in shown if any(form in text for form in forms)] == []
    assert any("it wants another user or password" in text for text in shown)


async def test_the_extra_is_named_if_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"state\.url  needs the package redis: run `pip install -e '\.\[redis\]'`"):
        open_state("redis://127.0.0.1:6379/0")


async def test_a_start_does_not_wait_for_the_server(absent: RedisServer) -> None:
    absent.start()
    absent.suspend()
    try:
        state = open_state(absent.url)  # with all the patience of real life
        began = time.monotonic()
        await state.start()
        state.publish(rest("k"))
        assert time.monotonic() - began < 4.0  # less than the server is waited for
        assert state.status == f"{absent.place}: connecting"
        await state.aclose()
    finally:
        absent.resume()
