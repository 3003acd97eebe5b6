"""A process that may open no more files: those whom it knows are served, nothing spins, and it recovers by itself."""

from __future__ import annotations

import os
import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.e2e.stage import Stage
from tests.reload.gateway import HELLO, Running, settings, until

SPARE = 6
"""Files that it may open beside those that it has."""
WATCHED_SECONDS = 2.0


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask_anew(gateway: Running, seconds: float) -> int:
    """Asks on a connection of its own; 0 if there was no answer."""
    body = {"model": "main", "messages": HELLO}
    try:
        return httpx2.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=seconds).status_code
    except httpx2.TransportError:
        return 0


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process are Linux's")
def test_without_files_the_known_are_served_nothing_spins_and_it_recovers(tmp_path: Path, scripted: Stage) -> None:
    gateway = Running(tmp_path, settings(scripted.url), ("--no-watch",))
    try:
        run_out_of_files(gateway)
    finally:
        gateway.client.close()
        assert gateway.gateway.stop() == 0, gateway.gateway.errors


def run_out_of_files(gateway: Running) -> None:
    assert gateway.ask().status_code == 200
    _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (open_files(gateway.pid) + SPARE, hard))
    port = int(gateway.url.rpartition(":")[2])
    with ExitStack() as clients:
        for _ in range(10 * SPARE):
            clients.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        until(lambda: open_files(gateway.pid) >= resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)[0] - 1)
        assert gateway.ask().status_code == 200  # on connections that are there
        before = cpu_seconds(gateway.pid)
        time.sleep(WATCHED_SECONDS)
        assert cpu_seconds(gateway.pid) - before < WATCHED_SECONDS / 2
        assert gateway.is_running
    until(lambda: ask_anew(gateway, 5) == 200)
    assert gateway.metric("anyport_requests_in_flight") == 0
