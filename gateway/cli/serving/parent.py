"""`anyport serve --workers N`: the process that serves nothing itself."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.cli.serving.source import Source
from gateway.http.admin.app import bind_admin
from gateway.http.metrics_port import HOST, serve_metrics
from gateway.http.server import BindError, bind, url_of
from gateway.reload.triggers import triggers
from gateway.telemetry.exposition import content_type
from gateway.telemetry.figures import expose_figures
from gateway.telemetry.log import setup
from gateway.workers.parent import Parent

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.settings.model import ServerSettings

_FIGURES_SECONDS = 10.0


def serve_by_workers(source: Source, console: Console, *, watch: bool) -> int:
    """Serves until a signal and returns the exit code; raises ConfigError and BindError."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is somebody to hear it
    configuration = source.load()
    source.examine(configuration)
    settings = configuration.settings
    port = _free_port(settings.server)
    admin = bind_admin(settings.admin)
    if admin:
        console.print(f"The admin API is at {url_of(admin[0])}/admin")
    console.print(f"{source.workers} workers share the port")
    detach = setup()
    try:
        return asyncio.run(_run(source, console, settings.server, port, admin, watch=watch))
    finally:
        detach()


def _free_port(server: ServerSettings) -> int:
    """Returns the port, after a look whether somebody else has it: sharing would be granted without a word."""
    sockets = bind(server.host, server.port)
    port: int = sockets[0].getsockname()[1]
    for one in sockets:
        one.close()
    return port


def _open(host: str, port: int) -> list[socket.socket]:
    try:
        return bind(host, port, is_shared=True)
    except BindError as error:
        raise OSError(str(error)) from None


async def _run(
    source: Source,
    console: Console,
    server: ServerSettings,
    port: int,
    admin: list[socket.socket],
    *,
    watch: bool,
) -> int:
    parent = Parent(
        source.workers,
        command=lambda inherited: _command(source, port, inherited),
        open_sockets=lambda: _open(server.host, port),
        admin=admin,
        read=source.read,
        patience_seconds=server.drain_delay_seconds + server.grace_seconds,
    )
    if server.metrics_port is not None:
        metrics = serve_metrics(_AllMetrics(parent, asyncio.get_running_loop()), server.metrics_port)
        console.print(f"Metrics are at http://{HOST}:{metrics.server_port}/metrics")
    async with triggers(parent.reload, source.watched if watch else None, source.secret_files):
        return await parent.run()


def _command(source: Source, port: int, inherited: str) -> Sequence[str]:
    command = [sys.executable, "-m", "gateway", "serve", "--port", str(port), "--worker", inherited]
    command += ["--workers", str(source.workers)]
    if source.config is not None:
        command += ["--config", str(source.config)]
    if source.host is not None:
        command += ["--host", source.host]
    if source.allow_unauthenticated:
        command.append("--allow-unauthenticated")
    return command


class _AllMetrics:
    """Metrics of all workers, for a thread."""

    def __init__(self, parent: Parent, loop: asyncio.AbstractEventLoop) -> None:
        self._parent = parent
        self._loop = loop

    def render(self, accept: str = "") -> bytes:
        """Returns the exposition in the format that `accept` prefers; raises TimeoutError while no worker has told."""
        asked = asyncio.run_coroutine_threadsafe(self._parent.figures(), self._loop)
        figures = asked.result(_FIGURES_SECONDS)
        if not figures:
            raise TimeoutError("no worker has said yet what it has counted")
        return expose_figures(figures, accept)

    def content_type(self, accept: str = "") -> str:
        """Returns the Content-Type of `render(accept)`."""
        return content_type(accept)
