"""A server that goes away, stops, comes back empty or takes no writes: everything goes on, and is made up for."""

from __future__ import annotations

import asyncio

import pytest

from tests.state.replica import eventually, replica, rest
from tests.state.server import RedisServer


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "anyport.state"]


def is_resting(server: RedisServer, id: str) -> bool:
    with server.admin() as admin:
        return bool(admin.exists(f"anyport:cool:key:{id}"))


async def test_a_server_that_was_killed_and_comes_back_empty_is_told_again(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with replica(server.url) as one:
        one.state.publish(rest("before"))
        await eventually(lambda: is_resting(server, "before"))
        server.kill()
        await eventually(lambda: one.state.status == f"{server.place}: connection refused, trying again")
        one.state.publish(rest("meanwhile"))
        one.state.publish(rest("over by then", 0.2))
        await asyncio.sleep(0.5)  # several attempts in vain, which are not worth a line each
        server.start()
        async with replica(server.url) as later:
            await eventually(lambda: later.ids == {"before", "meanwhile"})
            await eventually(lambda: one.state.status == server.place)
            later.state.publish(rest("after"))
            await eventually(lambda: one.ids == {"after"})
            assert not is_resting(server, "over by then")
    away, back = lines(caplog)
    assert away.startswith(f"{server.place}: connection ")
    assert back.startswith(f"{server.place} is there again")


async def test_a_server_that_is_absent_at_the_start_is_found_later(
    absent: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with replica(absent.url, is_there=False) as one, replica(absent.url, is_there=False) as other:
        one.state.publish(rest("k"))
        await eventually(lambda: "trying again" in one.state.status and "trying again" in other.state.status)
        absent.start()
        await eventually(lambda: other.ids == {"k"} and one.state.status == absent.place)
        assert one.heard == []
    assert [record.levelname for record in caplog.records if record.name == "anyport.state"].count("WARNING") == 2


async def test_a_server_that_stops_answering_is_noticed_and_holds_nothing_up(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with replica(server.url) as silent, replica(server.url) as busy:
        server.suspend()
        try:
            busy.state.publish(rest("meanwhile"))
            await eventually(lambda: "no answer in time" in silent.state.status)
            await eventually(lambda: "no answer in time" in busy.state.status)
            for number in range(1000):
                busy.state.publish(rest(f"k{number}"))
        finally:
            server.resume()
        await eventually(lambda: len(silent.ids) == 1001)
        await eventually(lambda: busy.state.status == silent.state.status == server.place)
        silent.state.publish(rest("after"))
        await eventually(lambda: busy.ids == {"after"})
    assert len([line for line in lines(caplog) if "no answer in time" in line]) >= 2


async def test_what_a_stopped_server_was_sent_does_not_count_when_it_goes_on(server: RedisServer) -> None:
    async with replica(server.url) as listener:
        async with replica(server.url) as one:
            server.suspend()
            one.state.publish(rest("stale"))
            await eventually(lambda: "no answer in time" in one.state.status)
        server.resume()
        await eventually(lambda: listener.state.status == server.place)
        async with replica(server.url) as other:
            other.state.publish(rest("fresh"))
            await eventually(lambda: listener.heard)
        assert listener.ids == {"fresh"}
        assert not is_resting(server, "stale")


async def test_closing_does_not_wait_for_a_server_that_stopped(server: RedisServer) -> None:
    async with replica(server.url) as one:
        server.suspend()
        one.state.publish(rest("k"))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            await one.state.aclose()
    server.resume()


async def test_connections_that_are_cut_are_made_again(server: RedisServer) -> None:
    async with replica(server.url) as one, replica(server.url) as other:
        for number in range(5):
            with server.admin() as admin:
                admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub" if number % 2 else "normal")
                admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            one.state.publish(rest(f"k{number}"))
            await eventually(lambda seen=number: f"k{seen}" in other.ids)
        assert one.heard == []


async def test_a_server_that_takes_no_writes_is_told_when_it_does(server: RedisServer) -> None:
    async with replica(server.url) as one, replica(server.url) as other:
        with server.admin() as admin:
            admin.config_set("maxmemory", "1")
            one.state.publish(rest("k"))
            await eventually(lambda: one.state.status == f"{server.place}: it is out of memory, trying again")
            assert other.state.status == server.place
            admin.config_set("maxmemory", "0")
        await eventually(lambda: other.ids == {"k"})
        await eventually(lambda: one.state.status == server.place)


async def test_a_server_that_only_copies_another_says_so(server: RedisServer) -> None:
    async with replica(server.url) as one:
        with server.admin() as admin:
            admin.execute_command("REPLICAOF", "127.0.0.1", "1")
            one.state.publish(rest("k"))
            await eventually(lambda: "trying again" in one.state.status)
            await eventually(lambda: one.state.status == f"{server.place}: it takes no writes, trying again")
            admin.execute_command("REPLICAOF", "NO", "ONE")
        await eventually(lambda: one.state.status == server.place)
        assert is_resting(server, "k")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers is no Redis"),
        (b"", "connection lost"),
        (b"-ERR hunter2 <script>\r\n", "it refuses a command"),
        (b"*1000000000\r\n", "connection lost"),
        (b"$x\r\n", "unexpected ValueError"),
    ],
)
async def test_what_is_no_redis_server_is_asked_again_and_again(answer: bytes, said: str) -> None:
    connections = 0

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        commands = await reader.read(1000)
        writer.write(answer * commands.count(b"*"))
        while answer.startswith(b"-") and (commands := await reader.read(1000)):
            writer.write(answer * commands.count(b"*"))
        writer.close()

    async with await asyncio.start_server(play, "127.0.0.1", 0) as stranger:
        place = f"127.0.0.1:{stranger.sockets[0].getsockname()[1]}"
        async with replica(f"redis://{place}/0", is_there=False) as one:
            await eventually(lambda: connections > 3)
            assert one.state.status == f"redis at {place}: {said}, trying again"
