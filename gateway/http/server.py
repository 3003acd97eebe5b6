"""Runs the application under uvicorn, from the first bind to an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from typing import Any, cast

import uvicorn

from gateway.http.drain import DrainSignal
from gateway.http.guard.protocol import GuardLimits, GuardProtocol, guarded

BACKLOG = 2048
LAST_WORDS_SECONDS = 1.0
"""After the deadline, how long a stream has to send its error event."""
SHUTDOWN_SECONDS = 10.0
"""Cap of the application's own shutdown."""
EXIT_FORCED = 130
EXIT_START_FAILED = 1
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_log = logging.getLogger("anyport")


class BindError(Exception):
    """The address cannot be listened on; the message is one line naming host and port. Exit code 1."""


def default_allowed_hosts(host: str) -> frozenset[str] | None:
    """Returns the Host names that a loopback bind answers to, or None (any) for every other bind.

    Without this a web page whose name is re-pointed at 127.0.0.1 could talk to the gateway from a browser.
    """
    if not is_loopback(host):
        return None
    bound = f"[{host}]" if ":" in host else host
    return frozenset({"localhost", "127.0.0.1", "[::1]", bound.lower()})


def is_loopback(host: str) -> bool:
    """Returns whether `host` is an address or name that other machines cannot reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def bind(host: str, port: int, *, is_shared: bool = False) -> list[socket.socket]:
    """Returns listening-ready sockets for every address of `host`, all on one port; raises BindError.

    If it is shared, more of them can be opened on the same port, each with connections of its own.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise BindError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            chosen = sockets[0].getsockname()[1] if sockets else port
            one = _bind_one(family, kind, protocol, (address[0], chosen, *address[2:]), bool(sockets), is_shared)
            sockets += one
    except OSError as error:
        for one in sockets:
            one.close()
        raise BindError(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0).lower()}") from None
    return sockets


def _bind_one(
    family: int, kind: int, protocol: int, address: tuple[Any, ...], is_optional: bool, is_shared: bool
) -> list[socket.socket]:
    try:
        one = socket.socket(family, kind, protocol)
    except OSError:
        if is_optional:
            return []
        raise
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        # At once: a second socket may be bound to the same address, but not listen there, and must hear of it now.
        one.listen(BACKLOG)
    except OSError as error:
        one.close()
        if is_optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return []
        raise
    return [one]


def url_of(one: socket.socket) -> str:
    """Returns `http://host:port` of a bound socket."""
    host, port = one.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn's server with our signals and our end."""

    def __init__(
        self,
        config: uvicorn.Config,
        drain: DrainSignal,
        *,
        grace_seconds: float,
        drain_delay_seconds: float,
        on_ready: Callable[[], None] | None,
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._grace = grace_seconds
        self._delay = drain_delay_seconds
        self._on_ready = on_ready
        self._first = asyncio.Event()
        self._second = asyncio.Event()

    @property
    def is_forced(self) -> bool:
        """True if a second signal cut the drain short."""
        return self._second.is_set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Replaces uvicorn's handlers: they would end the process by the signal after the drain."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for one in _SIGNALS:
            loop.add_signal_handler(one, self._on_signal, one)
        try:
            yield
        finally:
            for one in _SIGNALS:
                loop.remove_signal_handler(one)

    def _on_signal(self, number: signal.Signals) -> None:
        if not self._first.is_set():
            _log.info("ending after %s; requests under way: %d", number.name, len(self.server_state.tasks))
            self._drain.start(self._delay + self._grace)
            self._first.set()
        elif not self._second.is_set():
            self._second.set()
        else:
            os._exit(EXIT_FORCED)

    async def main_loop(self) -> None:
        """Keeps the date header fresh until the first signal."""
        await self.on_tick(0)
        if self._on_ready is not None:
            self._on_ready()
        while not self._first.is_set():
            await self._sleep(1.0, self._first)
            await self.on_tick(0)

    async def _sleep(self, seconds: float, until: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until.wait(), seconds)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts for the delay, waits for running requests, tells the rest to end, closes everything."""
        self._drain.start(self._delay + self._grace)
        if self._delay:
            await self._sleep(self._delay, self._second)
        for server in self.servers:
            server.close()
        for one in sockets or ():
            one.close()
        await self._wait_for_requests(self._grace)
        self._drain.expire()
        await self._wait_for_requests(LAST_WORDS_SECONDS, is_final=True)
        await self._close_all()
        await self._end_lifespan()

    def _connections(self) -> list[GuardProtocol]:
        return list(cast("set[GuardProtocol]", self.server_state.connections))

    async def _wait_for_requests(self, seconds: float, *, is_final: bool = False) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        state = self.server_state
        while (state.tasks or state.connections or self._drain.is_held) and loop.time() < end:
            for connection in self._connections():
                if not connection.is_draining:  # one may still come out of the backlog
                    connection.shutdown()
            if self._second.is_set() and not is_final:
                return
            await asyncio.sleep(0.02)

    async def _close_all(self) -> None:
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS_SECONDS)
        for connection in self._connections():
            connection.abort()

    async def _end_lifespan(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.lifespan.shutdown(), SHUTDOWN_SECONDS)


def run(
    app: Any,
    *,
    host: str,
    port: int = 0,
    sockets: list[socket.socket] | None = None,
    limits: GuardLimits,
    grace_seconds: float,
    drain: DrainSignal,
    drain_delay_seconds: float = 0.0,
    loop: str = "uvloop",
    on_ready: Callable[[str], None] | None = None,
) -> int:
    """Serves `app` until SIGTERM or SIGINT and returns the exit code; raises BindError.

    `sockets` are bound already, for `host`; without them they are made for `host` and `port`.

    0 after an orderly drain, 130 if a second signal cut it short (running streams still get their error event),
    1 if the application did not start. A third signal ends the process at once.
    """
    allowed = default_allowed_hosts(host) if limits.allowed_hosts is None else limits.allowed_hosts
    if allowed is not None and "*" in allowed:
        allowed = None
    sockets = sockets or bind(host, port)
    config = _configured(app, dataclasses.replace(limits, allowed_hosts=allowed), loop)
    url = url_of(sockets[0])
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        return runner.run(_serve(config, drain, sockets, grace_seconds, drain_delay_seconds, on_ready, url))


def _configured(app: Any, limits: GuardLimits, loop: str) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=cast(Any, guarded(limits)),
        ws="none",
        loop=cast(Any, loop),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=int(limits.keep_alive_seconds),
        backlog=BACKLOG,
    )


async def _serve(
    config: uvicorn.Config,
    drain: DrainSignal,
    sockets: list[socket.socket],
    grace_seconds: float,
    drain_delay_seconds: float,
    on_ready: Callable[[str], None] | None,
    url: str,
) -> int:
    server = _Server(
        config,
        drain,
        grace_seconds=grace_seconds,
        drain_delay_seconds=drain_delay_seconds,
        on_ready=None if on_ready is None else lambda: on_ready(url),
    )
    try:
        await server.serve(sockets=sockets)
    except SystemExit:
        return EXIT_START_FAILED
    _log.info("ended before all requests were done, as a second signal wanted" if server.is_forced else "ended")
    return EXIT_FORCED if server.is_forced else 0
