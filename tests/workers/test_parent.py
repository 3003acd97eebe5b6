"""The parent with workers that are small programs: when it goes on, when it waits, and when it gives up."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence

import pytest

from gateway.telemetry.figures import Figures
from gateway.workers.parent import Parent, Worker
from tests.reload.gateway import SLACK_SECONDS

pytestmark = pytest.mark.asyncio
READY = """
import asyncio, json, os, socket, sys
from gateway.workers.channel import Channel, read_order
given = json.loads(sys.argv[1])
one = socket.socket(fileno=given["channel"])
order = read_order(one)
async def main():
    async def none(body): return b"\\x90"
    channel = Channel({"figures": none})
    running = asyncio.ensure_future(channel.run(one))
    await channel.ask("ready", b"%d" % given["number"], seconds=20)
    await THEN
asyncio.run(main())
"""
STAYS = READY.replace("THEN", "asyncio.sleep(1000)")
LEAVES = READY.replace("THEN", "asyncio.sleep(0.3)")
_REFUSING = """
from msgspec import msgpack
from gateway.reload.reloader import Reloaded
async def reload(body): return msgpack.encode(Reloaded(given["number"] == 1, 0.0))
async def main():
"""
REFUSES_AS_SECOND = STAYS.replace("async def main():\n", _REFUSING.lstrip()).replace("none}", 'none, "reload": reload}')
"""The second worker takes nothing that it is told to reload."""
FAILS = "import sys; sys.exit(3)"


class Play:
    """A parent whose workers run these programs one after the other, the last one again and again."""

    def __init__(self, *programs: str, count: int = 1) -> None:
        self.started: list[float] = []
        self.opened = 0
        self.said = b"{}"
        self._programs = programs
        self.parent = Parent(
            count,
            command=self._command,
            open_sockets=self._open,
            admin=[],
            read=lambda: self.said,
            patience_seconds=1,
        )

    def _command(self, inherited: str) -> Sequence[str]:
        program = self._programs[min(len(self.started), len(self._programs) - 1)]
        self.started.append(asyncio.get_running_loop().time())
        return [sys.executable, "-c", program, inherited]

    def _open(self) -> list[socket.socket]:
        self.opened += 1
        one = socket.socket()
        one.bind(("127.0.0.1", 0))
        return [one]

    async def until_started(self, count: int) -> None:
        async with asyncio.timeout(3 * SLACK_SECONDS):
            while len(self.started) < count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)

    async def until_ready(self, count: int) -> None:
        async with asyncio.timeout(3 * SLACK_SECONDS):
            while len(self.parent._serving()) < count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)


async def test_a_first_worker_that_cannot_start_is_the_end_with_its_code() -> None:
    play = Play(FAILS, count=3)
    assert await play.parent.run() == 3
    assert len(play.started) == 1


async def test_it_gives_up_when_every_start_fails(caplog: pytest.LogCaptureFixture) -> None:
    play = Play(LEAVES, FAILS)
    async with asyncio.timeout(3 * SLACK_SECONDS):
        assert await play.parent.run() == 3
    assert len(play.started) >= 5
    assert "no worker can be started; the last one ended with code 3" in caplog.text
    assert play.opened > 1  # while it waits, its sockets are closed: the others get the connections


async def test_pauses_between_workers_that_die_soon_grow() -> None:
    play = Play(LEAVES)
    running = asyncio.create_task(play.parent.run())
    await play.until_started(5)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
    gaps = [after - before for before, after in zip(play.started, play.started[1:], strict=False)]
    assert gaps[3] > gaps[1]
    assert gaps[3] > 1


async def test_a_worker_that_does_not_take_what_others_took_is_replaced_by_one_that_begins_with_it() -> None:
    play = Play(REFUSES_AS_SECOND, count=2)
    running = asyncio.create_task(play.parent.run())
    await play.until_ready(2)
    play.said = b"new"
    reloaded = await play.parent.reload("a test")
    assert (reloaded.ok, reloaded.workers) == (True, 1)
    await play.until_started(3)
    await play.until_ready(2)
    assert [slot.worker.order.data for slot in play.parent._slots if slot.worker] == [b"{}", b"new"]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0


async def test_a_worker_that_dies_while_figures_are_asked_for_counts_once() -> None:
    play = Play(STAYS, count=2)
    parent = play.parent
    running = asyncio.create_task(parent.run())
    await play.until_ready(2)
    first, second = parent._serving()

    async def told(worker: Worker) -> None:
        worker.figures = [_served(5)]
        if worker is second:  # it takes its time, and the other one dies meanwhile
            first.signal(signal.SIGKILL)
            await play.until_started(3)

    parent._ask_figures = told
    (total,) = await parent.figures()
    assert list(total.series.values()) == [10]
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0


def _served(count: int) -> Figures:
    return Figures("anyport_requests", "", "counter", {("anyport_requests_total", ()): count})


async def test_it_ends_while_a_worker_waits_for_its_turn(caplog: pytest.LogCaptureFixture) -> None:
    play = Play(STAYS, FAILS, count=2)
    running = asyncio.create_task(play.parent.run())
    async with asyncio.timeout(3 * SLACK_SECONDS):
        while "starts again in 1 s" not in caplog.text:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(SLACK_SECONDS):
        assert await running == 0
