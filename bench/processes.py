"""Processes under measurement: start, CPU time, memory, and an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def free_port() -> int:
    """Returns a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: Process, *, seconds: float = 30.0) -> None:
    """Waits until something accepts on `port`; raises RuntimeError if the process ends before or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not process.is_alive:
            raise RuntimeError(f"{process.name} ended at start: {process.errors()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.002)
    raise RuntimeError(f"{process.name} did not listen on port {port} in {seconds:g} s: {process.errors()}")


class Process:
    """A process and its descendants; `pid` alone watches one that somebody else started."""

    def __init__(self, name: str, pid: int, popen: subprocess.Popen[bytes] | None, log: Path | None) -> None:
        self.name = name
        self.pid = pid
        self._popen = popen
        self._log = log

    @property
    def is_alive(self) -> bool:
        """False once it has ended."""
        return self._popen.poll() is None if self._popen else (_PROC / str(self.pid)).exists()

    def errors(self) -> str:
        """Returns the end of what it wrote."""
        return self._log.read_text(errors="replace")[-2000:].strip() if self._log else ""

    def cpu_seconds(self) -> float:
        """User and system time so far, of descendants that have ended too."""
        return sum(_ticks(pid) for pid in _tree(self.pid)) / _TICKS

    def rss_bytes(self) -> int:
        """Resident memory of all processes of the tree."""
        return sum(_rss(pid) for pid in _tree(self.pid))

    def stop(self) -> None:
        """Ends what was started here and its descendants, gently first."""
        popen = self._popen
        if popen is None:
            return
        if popen.poll() is None:
            popen.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(5)
        # The group is that of its own session: whatever it left behind, and nothing else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait(5)


@contextlib.contextmanager
def running(
    name: str, command: Sequence[str], folder: Path, *, environment: dict[str, str] | None = None
) -> Iterator[Process]:
    """Runs `command` in a session of its own and ends it in any case; its output goes to a file in `folder`."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    process = Process(name, popen.pid, popen, log)
    try:
        yield process
    finally:
        process.stop()


def _tree(root: int) -> list[int]:
    """Returns `root` and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    """Returns the fields of /proc/PID/stat from the third on; empty for a process that is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _ticks(pid: int) -> int:
    fields = _stat(pid)
    return sum(int(field) for field in fields[11:15]) if fields else 0


def _rss(pid: int) -> int:
    try:
        text = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
