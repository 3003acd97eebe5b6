"""The parent of several workers: opens the port, starts them, replaces those that die, ends when they have ended.

Theory. Every worker has a listening socket of its own on the one port (SO_REUSEPORT), and the kernel spreads new
connections evenly over them. With one socket for all, whoever is idle takes whole bursts: 61 of 64, measured. The
parent holds the sockets open, too, so that connections to a worker that has just died wait for the next one.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from msgspec import json, msgpack

from gateway.errors import ConfigError, Fault
from gateway.reload.reloader import Reloaded, refused
from gateway.telemetry.families import WORKER_RESTARTS
from gateway.telemetry.figures import Figures, added, decode_figures, encode_figures, lasting
from gateway.workers.channel import Channel, ChannelClosed, Inheritance, Message, ReloadOrder, framed
from gateway.workers.relay import Exchange

FIGURES_EVERY_SECONDS: Final = 2.0
"""What a killed worker has counted since is lost, unless somebody has seen it."""
FIGURES_SECONDS: Final = 2.0
RELOAD_SECONDS: Final = 60.0
END_SECONDS: Final = 20.0
"""Beside the grace, how long workers have to end before they are killed."""
STABLE_SECONDS: Final = 10.0
"""A worker that has lived so long is replaced at once, and its predecessors are forgotten."""
MAX_PAUSE_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 1.0
"""Until the next try where the system has refused a process or a socket."""
MOST_FAILED_STARTS: Final = 5
EXIT_FAILURE: Final = 1
EXIT_FORCED: Final = 130
_log = logging.getLogger("anyport")
OpenSockets = Callable[[], list[socket.socket]]


class Worker:
    """One process, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel, order: ReloadOrder) -> None:
        self.process = process
        self.channel = channel
        self.order = order
        """What its configuration is from."""
        self.started = time.monotonic()
        self.is_ready = asyncio.Event()
        self.figures: list[Figures] = []

    def signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.process.returncode is None:
            self.process.send_signal(number)


class Slot:
    """The place of one worker: its number and its sockets."""

    def __init__(self, number: int, admin: list[socket.socket]) -> None:
        self.number = number
        self.admin = admin
        self.sockets: list[socket.socket] = []
        self.worker: Worker | None = None
        self.strikes = 0
        """Workers in a row that died soon."""

    def close(self) -> None:
        """Closes its sockets: the kernel gives new connections to the others."""
        for one in self.sockets:
            one.close()
        self.sockets = []


class Parent:
    """Runs until a signal, or until no worker can be started."""

    def __init__(
        self,
        count: int,
        *,
        command: Callable[[str], Sequence[str]],
        open_sockets: OpenSockets,
        admin: list[socket.socket],
        read: Callable[[], bytes | None],
        patience_seconds: float,
    ) -> None:
        """`command` gives a worker's command line for what it inherits, `read` what the configuration file says.

        `open_sockets` opens the port once more; `patience_seconds` is how long a drain may take.
        """
        self._command = command
        self._open_sockets = open_sockets
        self._read = read
        self._patience = patience_seconds
        self._slots = [Slot(number, admin if number == 1 else []) for number in range(1, count + 1)]
        self._order = ReloadOrder("start", None)
        self._gone: list[Figures] = []
        self._restarts = 0
        self._signals = 0
        self._ending = asyncio.Event()
        self._failure: int | None = None
        self._reloading = asyncio.Lock()
        self._exchange = Exchange(self._channels)

    async def run(self) -> int:
        """Serves by workers and returns the exit code; raises ConfigError and what `open_sockets` does."""
        self._order.data = self._read()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        counting = loop.create_task(self._count())
        keeping: list[asyncio.Task[None]] = []
        try:
            first = loop.create_task(self._keep(self._slots[0]))
            keeping.append(first)
            await self._first_ready(first)
            if not self._ending.is_set():
                keeping += [loop.create_task(self._keep(slot)) for slot in self._slots[1:]]
            await self._ending.wait()
            await self._end(keeping)
        finally:
            counting.cancel()
            for slot in self._slots:
                slot.close()
        if self._failure is not None:
            return self._failure
        return EXIT_FORCED if self._signals > 1 else 0

    async def reload(self, why: str) -> Reloaded:
        """Has all workers read the configuration again: one first, and the others if it could."""
        async with self._reloading:
            try:
                data = await asyncio.to_thread(self._read)
            except ConfigError as error:
                _log.error("the configuration was not reloaded (%s); the one before goes on: %s", why, error)
                return refused(error, 0.0)
            order = ReloadOrder(why, data)
            done: list[Reloaded] = []
            for worker in self._serving():
                reloaded = await self._reload_one(worker, order)
                if reloaded is None:
                    continue  # it has died, and its successor gets the newest text
                if not reloaded.ok and done:
                    self._replace(worker)
                    continue
                if not reloaded.ok:
                    return reloaded
                self._order = order
                done.append(reloaded)
                order = ReloadOrder(why, data, is_quiet=True)
            if not done:
                _log.error("the configuration was not reloaded (%s): no worker serves", why)
                return refused(ConfigError([Fault("anyport", 0, 0, "", "no worker serves; try again")]), 0.0)
            seconds = sum(each.seconds for each in done)
            return Reloaded(True, seconds, done[0].changes, warnings=done[0].warnings, workers=len(done))

    async def figures(self) -> list[Figures]:
        """Returns what all workers have counted, those that are gone included; nothing while none that runs has told.

        What the gone have counted, alone, would be read as figures that fell.
        """
        workers = [slot.worker for slot in self._slots if slot.worker]
        await asyncio.gather(*map(self._ask_figures, workers))
        # One that has gone meanwhile is among those that are gone.
        workers = [slot.worker for slot in self._slots if slot.worker]
        if not any(worker.figures for worker in workers):
            return []
        total = added([self._gone, *(worker.figures for worker in workers)])
        for each in total:
            if f"{each.name}_total" == WORKER_RESTARTS.name:
                each.series = {(WORKER_RESTARTS.name, ()): self._restarts}
        return total

    def _channels(self) -> dict[int, Channel]:
        workers = ((slot.number, slot.worker) for slot in self._slots)
        return {number: worker.channel for number, worker in workers if worker and worker.is_ready.is_set()}

    def _replace(self, worker: Worker) -> None:
        """Ends a worker that did not take what others serve by already: its successor starts with that."""
        _log.error("process %d did not take the configuration that others took; it is replaced", worker.process.pid)
        worker.signal(signal.SIGTERM)

    def _serving(self) -> list[Worker]:
        return [slot.worker for slot in self._slots if slot.worker and slot.worker.is_ready.is_set()]

    def _on_signal(self) -> None:
        self._signals += 1
        self._ending.set()
        for slot in self._slots:
            if slot.worker:
                slot.worker.signal(signal.SIGKILL if self._signals > 2 else signal.SIGTERM)

    async def _first_ready(self, keeping: asyncio.Task[None]) -> None:
        """Waits until the first worker serves; that it cannot start is the end."""
        ending = asyncio.ensure_future(self._ending.wait())
        while not self._ending.is_set() and not self._serving():
            await asyncio.wait([ending, keeping], timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()  # what it has raised
                return
        ending.cancel()

    async def _keep(self, slot: Slot) -> None:
        """Has a worker in its place until the end."""
        while not self._ending.is_set():
            try:
                slot.sockets = slot.sockets or self._open_sockets()
                worker = slot.worker = await self._start(slot)
            except OSError as error:
                if slot.number == 1 and not self._restarts and not self._serving():
                    raise  # at the start
                _log.error("worker %d cannot be started: %s", slot.number, error)
                await self._rest(RETRY_SECONDS)
                continue
            if self._ending.is_set():
                worker.signal(signal.SIGTERM)
            code = await worker.process.wait()
            self._gone = added([self._gone, lasting(worker.figures)])
            slot.worker = None
            if not self._ending.is_set():
                await self._died(slot, worker, code)
            elif code not in (0, -signal.SIGTERM, EXIT_FORCED):
                _log.error("worker %d (process %d) %s", slot.number, worker.process.pid, _how(code))
                self._failure = self._failure or (EXIT_FORCED if self._signals > 1 else EXIT_FAILURE)

    async def _died(self, slot: Slot, worker: Worker, code: int) -> None:
        has_served = worker.is_ready.is_set()
        is_stable = has_served and time.monotonic() - worker.started >= STABLE_SECONDS
        slot.strikes = 0 if is_stable else slot.strikes + 1
        is_first = not self._restarts and not has_served and not self._serving() and slot.number == 1
        if is_first or (not has_served and slot.strikes >= MOST_FAILED_STARTS and not self._serving()):
            if not is_first:
                _log.error("no worker can be started; the last one %s", _how(code))
            self._failure = code if code > 0 else EXIT_FAILURE
            self._ending.set()
            return
        pause = 0.0 if slot.strikes < 2 else min(MAX_PAUSE_SECONDS, 0.25 * 2 ** (slot.strikes - 1))
        then = f"in {pause:g} s" if pause else "at once"
        _log.error("worker %d (process %d) %s; starts again %s", slot.number, worker.process.pid, _how(code), then)
        self._restarts += 1
        if pause:
            slot.close()
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        """Waits so long, or until the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    async def _start(self, slot: Slot) -> Worker:
        mine, its = socket.socketpair()
        sockets, admin = ([one.fileno() for one in group] for group in (slot.sockets, slot.admin))
        inherited = Inheritance(slot.number, its.fileno(), sockets, admin, announces=slot.number == 1)
        inherited.announces = inherited.announces and not self._restarts
        with its:
            process = await asyncio.create_subprocess_exec(
                *self._command(json.encode(inherited).decode()),
                pass_fds=(its.fileno(), *sockets, *admin),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the parent, which tells the workers
            )
        order = self._order
        channel = Channel(
            {
                "ready": self._on_ready,
                "figures": self._on_figures,
                "reload": self._on_reload,
                "listen": self._exchange.listen,
                "events": self._exchange.events,
                "pardon": self._exchange.pardon,
            }
        )
        worker = Worker(process, channel, order)
        mine.setblocking(False)
        asyncio.get_running_loop().create_task(self._talk(worker, mine))
        return worker

    async def _talk(self, worker: Worker, one: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(one, framed(Message(0, "order", msgpack.encode(worker.order))))
        except OSError:
            one.close()
            return
        await worker.channel.run(one)

    async def _on_ready(self, body: bytes) -> bytes:
        number = int(body)
        worker = self._slots[number - 1].worker
        if worker is not None:
            worker.is_ready.set()
            if worker.order is not self._order:  # there was a reload while it was starting
                await self._reload_one(worker, ReloadOrder(self._order.why, self._order.data, is_quiet=True))
            await self._exchange.joined(number)
        return b""

    async def _on_figures(self, body: bytes) -> bytes:
        return encode_figures(await self.figures())

    async def _on_reload(self, body: bytes) -> bytes:
        return msgpack.encode(await self.reload(body.decode()))

    async def _reload_one(self, worker: Worker, order: ReloadOrder) -> Reloaded | None:
        try:
            answer = await worker.channel.ask("reload", msgpack.encode(order), seconds=RELOAD_SECONDS)
        except (ChannelClosed, TimeoutError):
            return None
        return msgpack.decode(answer, type=Reloaded)

    async def _ask_figures(self, worker: Worker) -> None:
        try:
            worker.figures = decode_figures(await worker.channel.ask("figures", seconds=FIGURES_SECONDS))
        except (ChannelClosed, TimeoutError):
            return  # what it said last

    async def _count(self) -> None:
        while True:
            began = time.monotonic()
            await self.figures()
            # Many figures take their time, which should stay a small share of it.
            await asyncio.sleep(max(FIGURES_EVERY_SECONDS, 50 * (time.monotonic() - began)))

    async def _end(self, keeping: Sequence[asyncio.Task[None]]) -> None:
        """Waits for the drain of all, and kills whoever takes too long."""
        for slot in self._slots:
            if slot.worker and not self._signals:
                slot.worker.signal(signal.SIGTERM)
        _, late = await asyncio.wait(keeping, timeout=self._patience + END_SECONDS)
        for slot in self._slots:
            if slot.worker and late:
                _log.error("worker %d does not end and is killed", slot.number)
                slot.worker.signal(signal.SIGKILL)
        if late:
            await asyncio.wait(late)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
