"""One process that serves: alone, or as one of several workers."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.app import App, create_app
from gateway.cli.serving.source import Source
from gateway.cli.serving.start import print_start
from gateway.http.admin.app import AdminListener, bind_admin
from gateway.http.drain import DrainSignal
from gateway.http.guard.limits import GuardLimits
from gateway.http.metrics_port import HOST, serve_metrics
from gateway.http.server import bind, default_allowed_hosts, run
from gateway.registry.facts import read_facts
from gateway.reload.reloader import Reload, Reloader
from gateway.reload.triggers import triggers
from gateway.telemetry.log import setup
from gateway.telemetry.stalls import StallWatch
from gateway.telemetry.writer import Sink

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.http.shell import Exposition
    from gateway.runtime import Runtime
    from gateway.settings.model import ServerSettings

_FIRST_LOOK_SECONDS = 3.0
"""How long the start table waits for the first look around; serving does not wait."""
Beside = AbstractAsyncContextManager[Any]


@dataclass(slots=True)
class Surroundings:
    """What a serving process has around it."""

    sockets: list[socket.socket]
    admin: list[socket.socket]
    log: Sink | None = None
    exposition: Exposition | None = None
    beside: Callable[[App, Reloader], Sequence[Beside]] = field(default=lambda app, reloader: ())
    reload: Callable[[Reloader], Reload] = field(default=lambda reloader: reloader.reload)
    """What the admin API means by a reload."""
    announce: Callable[[Runtime, str], None] | None = None
    """Called with the URL when it serves."""


def serve_alone(source: Source, console: Console, *, watch: bool) -> int:
    """Serves until a signal and returns the exit code; raises ConfigError and BindError."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is somebody to hear it
    runtime = source.first()
    settings = runtime.settings
    if settings.server.metrics_port is not None:
        metrics = serve_metrics(runtime.metrics, settings.server.metrics_port)
        console.print(f"Metrics are at http://{HOST}:{metrics.server_port}/metrics")
    announcing: set[asyncio.Task[None]] = set()

    def announce(runtime: Runtime, url: str) -> None:
        announcing.add(asyncio.get_running_loop().create_task(say_start(runtime, console, url)))

    admin = bind_admin(settings.admin)
    if admin:
        console.print(f"The admin API is at {admin_url(admin)}")
    return serve_runtime(
        runtime,
        source,
        Surroundings(
            sockets=bind(settings.server.host, settings.server.port),
            admin=admin,
            beside=lambda app, reloader: [
                triggers(reloader.reload, source.watched if watch else None, source.secret_files)
            ],
            announce=announce,
        ),
    )


def serve_runtime(runtime: Runtime, source: Source, around: Surroundings) -> int:
    """Serves a runtime, and those that replace it, until a signal; returns the exit code.

    Raises ConfigError if what requests use cannot be recorded where somebody wants it to be.
    """
    server = runtime.settings.server
    drain = DrainSignal()
    app = create_app(runtime, drain=drain, exposition=around.exposition)
    holder = app.holder
    reloader = Reloader(holder, source.build, app.happenings.reloaded)
    if around.admin:
        app.beside(AdminListener(lambda: holder.current, around.reload(reloader), around.admin, app.feed, app.pardons))
    app.beside(StallWatch(runtime.metrics.stalled))
    for manager in around.beside(app, reloader):
        app.beside(manager)

    def ready(url: str) -> None:
        # Not before: a start should not share its core. A daemon, since nobody who leaves should wait for it.
        threading.Thread(target=read_facts, name="model-facts", daemon=True).start()
        if around.announce is not None:
            around.announce(holder.current, url)

    detach = setup(scrub=holder.scrub, sink=around.log)
    try:
        runtime.books.open()
        return run(
            app,
            host=server.host,
            sockets=around.sockets,
            limits=limits_of(server),
            grace_seconds=server.grace_seconds,
            drain_delay_seconds=server.drain_delay_seconds,
            drain=drain,
            on_ready=ready,
        )
    finally:
        detach()


def admin_url(sockets: Sequence[socket.socket]) -> str:
    """Returns where the admin API is."""
    from gateway.http.server import url_of

    return f"{url_of(sockets[0])}/admin"


def limits_of(server: ServerSettings) -> GuardLimits:
    """Returns what one connection of a client may cost."""
    hosts = None  # the server's own default: any name, but on loopback only that of the machine
    if server.allowed_hosts:
        own = default_allowed_hosts(server.host) or default_allowed_hosts("127.0.0.1") or frozenset()
        hosts = own | {name.lower() for name in server.allowed_hosts}
    return GuardLimits(max_body_bytes=server.max_body_bytes, allowed_hosts=hosts)


async def say_start(runtime: Runtime, console: Console, url: str) -> None:
    """Prints what is served, once the first look around is over or takes too long."""
    if runtime.settings.discovery.enabled:
        try:
            async with asyncio.timeout(_FIRST_LOOK_SECONDS):
                await runtime.discovery.first_done.wait()
        except TimeoutError:
            console.print("Still looking for model servers on this machine.")
    print_start(console, runtime, url)
