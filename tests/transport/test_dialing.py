"""How the built-in transport finds a host: names, addresses one after the other, one deadline over it all."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
import trustme

from adapters.types import HttpRequest
from gateway.transport.base import Fault
from gateway.transport.builtin import BuiltinTransport
from gateway.transport.dialing import STAGGER_SECONDS
from gateway.transport.names import FAILURE_SECONDS, FailingNames, SystemNames
from tests.transport.contract import (
    OK,
    SLACK_SECONDS,
    TIMEOUTS,
    client_context,
    fault_of,
    fetch,
    server_context,
    silent_address,
    took,
)
from tests.upstreams.scripted import STALL, ScriptedUpstream, raw


def named(upstream: ScriptedUpstream) -> HttpRequest:
    return HttpRequest("GET", f"http://upstream.test:{upstream.port}/", ())


async def test_a_silent_address_is_overtaken_by_the_next() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ("127.0.0.2", "127.0.0.1")

    transport = BuiltinTransport(resolve=resolve)
    async with ScriptedUpstream([OK]) as upstream:
        with silent_address("127.0.0.2", upstream.port):
            started = time.monotonic()
            assert await fetch(transport, named(upstream)) == (200, b'{"ok": true}')
            assert STAGGER_SECONDS <= took(started) < STAGGER_SECONDS + SLACK_SECONDS
        assert transport.stats() == {f"http://upstream.test:{upstream.port}": (1, 1, 0)}
        await transport.aclose()
    assert upstream.requests[0].headers["host"] == f"upstream.test:{upstream.port}"


async def test_an_address_that_stalls_in_its_tls_handshake_is_overtaken_and_closed(authority: trustme.CA) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ("127.0.0.2", "127.0.0.1")

    transport = BuiltinTransport(resolve=resolve, ssl_context=client_context(authority))
    async with ScriptedUpstream([OK], ssl_context=server_context(authority, "upstream.test")) as upstream:
        stalling: list[bytes] = []
        closed = asyncio.Event()

        async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            stalling.append(await reader.read())
            closed.set()
            writer.close()

        async with await asyncio.start_server(stall, "127.0.0.2", upstream.port):
            request = HttpRequest("GET", f"https://upstream.test:{upstream.port}/", ())
            assert await fetch(transport, request) == (200, b'{"ok": true}')
            await asyncio.wait_for(closed.wait(), SLACK_SECONDS)
        assert stalling[0].startswith(b"\x16\x03")
        assert transport.stats() == {f"https://upstream.test:{upstream.port}": (1, 1, 0)}
        await transport.aclose()


async def test_cancelling_a_race_between_addresses_frees_the_slot_and_closes_all() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ("127.0.0.2", "127.0.0.1")

    transport = BuiltinTransport(resolve=resolve)
    async with ScriptedUpstream(on_connect=raw(STALL)) as upstream:
        with silent_address("127.0.0.2", upstream.port):
            origin = f"https://upstream.test:{upstream.port}"
            task = asyncio.create_task(transport.send(HttpRequest("GET", origin, ()), TIMEOUTS))
            await upstream.wait_for_connections(1)
            assert transport.stats() == {origin: (1, 0, 0)}
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert transport.stats() == {origin: (0, 0, 0)}
            await upstream.wait_closed(0)
        await transport.aclose()


async def test_a_refusing_address_is_followed_by_the_next_at_once() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ("127.0.0.2", "127.0.0.1")

    transport = BuiltinTransport(resolve=resolve)
    async with ScriptedUpstream([OK]) as upstream:
        seconds: list[float] = []
        for _ in range(5):
            started = time.monotonic()
            got = await transport.send(named(upstream), TIMEOUTS, fresh=True)
            got.release()
            seconds.append(took(started))
        assert min(seconds) < STAGGER_SECONDS, "each waited for its turn"
        await transport.aclose()


async def test_all_addresses_refusing_is_one_error() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ("127.0.0.2", "127.0.0.3")

    transport = BuiltinTransport(resolve=resolve)
    error = await fault_of(transport, HttpRequest("GET", "http://upstream.test:9/", ()))
    await transport.aclose()
    assert error.fault is Fault.CONNECT


@pytest.mark.parametrize("failure", [socket.gaierror(-2, "unknown"), None])
async def test_a_name_without_addresses_is_a_name_error(failure: Exception | None) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        if failure is not None:
            raise failure
        return ()

    transport = BuiltinTransport(resolve=resolve)
    error = await fault_of(transport, HttpRequest("GET", "http://upstream.test/", ()))
    await transport.aclose()
    assert error.fault is Fault.DNS


async def test_a_slow_name_is_bounded_by_the_connect_deadline_and_holds_up_nobody_else() -> None:
    async def resolve(host: str, _port: int) -> Sequence[str]:
        if host == "slow.test":
            await asyncio.sleep(60)
        return ("127.0.0.1",)

    transport = BuiltinTransport(resolve=resolve)
    async with ScriptedUpstream([OK]) as upstream:
        started = time.monotonic()
        slow = asyncio.create_task(
            fault_of(transport, HttpRequest("GET", "http://slow.test/", ()), replace(TIMEOUTS, connect=1.0))
        )
        assert (await fetch(transport, named(upstream)))[0] == 200
        assert not slow.done()
        error = await slow
        assert 1.0 <= took(started) < 1.0 + SLACK_SECONDS
        await transport.aclose()
    assert (error.fault, error.setting) == (Fault.TIMEOUT, "upstream.connect_seconds")


class Names:
    """Answers look-ups from a list, and counts them."""

    def __init__(self, *answers: Sequence[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, _host: str, _port: int) -> Sequence[str]:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("failure", [socket.gaierror(-2, "unknown"), TimeoutError(), UnicodeError(), ()])
async def test_a_name_that_failed_is_not_looked_up_again_for_a_moment(failure: Sequence[str] | Exception) -> None:
    now = 1000.0
    names = Names(failure, ("127.0.0.1",), ("127.0.0.2",))
    failing = FailingNames(names.resolve, lambda: now)
    with suppress(OSError, UnicodeError):
        await failing.resolve("upstream.test", 80)
    now += FAILURE_SECONDS - 0.01
    assert await failing.resolve("upstream.test", 80) == ()
    assert await failing.resolve("else.test", 80) == ("127.0.0.1",)
    now += 0.02
    assert await failing.resolve("upstream.test", 443) == ("127.0.0.2",)
    assert FAILURE_SECONDS <= 5.0


async def test_failing_names_without_end_are_forgotten() -> None:
    count = 3000
    names = Names(*[socket.gaierror(-2, "unknown")] * count)
    failing = FailingNames(names.resolve, lambda: 1000.0)
    for number in range(count):
        with pytest.raises(OSError, match="unknown"):
            await failing.resolve(f"host-{number}.test", 80)
    assert len(failing._until) <= 1024


async def test_requests_for_a_name_that_failed_fail_alike_without_a_look_up() -> None:
    names = Names(socket.gaierror(-2, "unknown"))
    transport = BuiltinTransport(resolve=names.resolve)
    errors = [await fault_of(transport, HttpRequest("GET", "http://upstream.test/", ())) for _ in range(3)]
    await transport.aclose()
    assert {(error.fault, error.message, error.is_unsent) for error in errors} == {
        (Fault.DNS, "the host name cannot be resolved", True)
    }
    assert names.asked == 1


async def test_look_ups_that_hang_hold_up_no_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()

    def look_up(host: str, _port: int) -> Sequence[str]:
        if host.startswith("hangs"):
            may_end.wait(60)
        return ("127.0.0.1",)

    monkeypatch.setattr("gateway.transport.names._look_up", look_up)
    names = SystemNames()
    hanging = [asyncio.create_task(names.resolve(f"hangs-{number}.test", 80)) for number in range(200)]
    await asyncio.sleep(0)
    assert await names.resolve("upstream.test", 80) == ("127.0.0.1",)
    assert not any(task.done() for task in hanging)
    may_end.set()
    await asyncio.gather(*hanging)


HANGS_AT_THE_END = """
import asyncio, time
from gateway.transport import names

async def main():
    names._look_up = lambda host, port: time.sleep(3600)
    try:
        await asyncio.wait_for(names.SystemNames().resolve("upstream.test", 80), 0.1)
    except TimeoutError:
        print("ended")

asyncio.run(main())
"""


def test_a_look_up_that_hangs_does_not_delay_the_end_of_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS_AT_THE_END], capture_output=True, timeout=60, check=True)
    assert (ended.stdout.strip(), ended.stderr) == (b"ended", b"")


async def test_a_name_that_no_host_can_have_is_an_error() -> None:
    with pytest.raises(OSError, match="cannot be a host name"):
        await SystemNames().resolve("a" * 300 + ".test", 80)


async def test_many_requests_for_one_name_make_one_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def look_up(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        time.sleep(0.05)
        return ("127.0.0.1",)

    monkeypatch.setattr("gateway.transport.names._look_up", look_up)
    names = SystemNames()
    first = asyncio.create_task(names.resolve("upstream.test", 80))
    others = [asyncio.create_task(names.resolve("upstream.test", 80)) for _ in range(9)]
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [("127.0.0.1",)] * 9
    assert asked == ["upstream.test"]


async def test_the_systems_names_know_localhost() -> None:
    names = SystemNames()
    assert "127.0.0.1" in await names.resolve("localhost", 80)
    with pytest.raises(OSError, match=r".+"):
        await names.resolve("no-such-host.invalid", 80)
