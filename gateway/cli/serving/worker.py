"""One of several processes that serve as one: it is started by a parent, and ends with it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from msgspec import json, msgpack

from gateway.cli.serving.premises import watch_limits
from gateway.cli.serving.process import Beside, Surroundings, say_start, serve_runtime
from gateway.cli.serving.source import Source
from gateway.reload.reloader import Reloaded, Reloader
from gateway.telemetry.figures import decode_figures, encode_figures, expose_figures
from gateway.telemetry.metrics import Metrics
from gateway.workers.channel import Channel, ChannelClosed, Inheritance, ReloadOrder, read_order
from gateway.workers.relay import Relay

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.app import App
    from gateway.runtime import Runtime

FIGURES_SECONDS: Final = 5.0
RELOAD_SECONDS: Final = 120.0


def serve_as_worker(source: Source, inherited: str, console: Console) -> int:
    """Serves on what the parent has opened, until a signal or the parent's end; raises ConfigError."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent tells all workers to reload
    given = json.decode(inherited, type=Inheritance)
    one = socket.socket(fileno=given.channel)
    order = read_order(one)
    runtime = source.examined(order.data)
    worker = _Worker(given.number, one, runtime.metrics)
    announcing: set[asyncio.Task[None]] = set()

    def announce(runtime: Runtime, url: str) -> None:
        announcing.add(asyncio.ensure_future(worker.ready()))
        if given.announces:
            announcing.add(asyncio.ensure_future(say_start(runtime, console, url)))

    return serve_runtime(
        runtime,
        source,
        Surroundings(
            sockets=[socket.socket(fileno=number) for number in given.sockets],
            admin=[socket.socket(fileno=number) for number in given.admin],
            exposition=worker.exposition,
            beside=worker.beside,
            reload=lambda reloader: worker.reload_all,
            announce=announce,
        ),
    )


class _Worker:
    """What this process tells its parent, and what the parent wants of it."""

    def __init__(self, number: int, one: socket.socket, metrics: Metrics) -> None:
        self._number = number
        self._socket = one
        self._metrics = metrics
        answers = {
            "figures": self._figures,
            "reload": self._reload,
            "listen": self._listen_to,
            "events": self._events,
            "pardon": self._pardon,
        }
        self._channel = Channel(answers)
        self._reloader: Reloader | None = None
        self._relay: Relay | None = None

    async def ready(self) -> None:
        """Tells the parent that requests are served."""
        await self._channel.ask("ready", b"%d" % self._number, seconds=FIGURES_SECONDS)

    async def exposition(self, accept: str) -> bytes:
        """Returns the metrics of all workers; those of this one alone if the parent does not answer."""
        try:
            data = await self._channel.ask("figures", seconds=FIGURES_SECONDS)
        except (ChannelClosed, TimeoutError):
            data = b""
        figures = decode_figures(data) if data else []
        if not figures:
            return await self._metrics.render_off_loop(accept)
        return await asyncio.to_thread(expose_figures, figures, accept)

    async def reload_all(self, why: str) -> Reloaded:
        """Has all workers reload, through the parent."""
        data = await self._channel.ask("reload", why.encode(), seconds=RELOAD_SECONDS)
        return msgpack.decode(data, type=Reloaded)

    def beside(self, app: App, reloader: Reloader) -> list[Beside]:
        """Returns what runs as long as the process serves."""
        self._reloader = reloader
        self._relay = Relay(app.feed, self._channel, self._number, app.pardons.here)
        app.pardons.elsewhere = self._relay.pardon
        work = [self._listen()]
        if self._number == 1:
            work.append(watch_limits(lambda: app.holder.current))
        return [_running(each) for each in work]

    async def _listen(self) -> None:
        await self._channel.run(self._socket)
        os.kill(os.getpid(), signal.SIGTERM)  # without a parent nobody would end this process

    async def _listen_to(self, body: bytes) -> bytes:
        return await self._relay.listen(body) if self._relay else b""

    async def _events(self, body: bytes) -> bytes:
        return await self._relay.events(body) if self._relay else b""

    async def _pardon(self, body: bytes) -> bytes:
        return await self._relay.pardoned(body) if self._relay else b""

    async def _figures(self, body: bytes) -> bytes:
        return encode_figures(await self._metrics.gather_off_loop())

    async def _reload(self, body: bytes) -> bytes:
        assert self._reloader is not None  # noqa: S101 - it is there before the channel runs
        order = msgpack.decode(body, type=ReloadOrder)
        return msgpack.encode(await self._reloader.reload(order.why, order.data, is_quiet=order.is_quiet))


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
