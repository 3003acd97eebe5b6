"""A gateway of a process of its own, whose file the tests change."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.process import GatewayProcess, clean_environ, start_gateway

SLACK_SECONDS = 20.0
ADMIN_KEY = "admin-canary-0123456789"
UPSTREAM_KEYS = ("upstream-canary-1-0123456789", "upstream-canary-2-0123456789")
HELLO: Any = [{"role": "user", "content": "hello"}]
_ADMIN = re.compile(r"admin API is at (http://\S+)/admin")


def until(condition: Callable[[], object], seconds: float = SLACK_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def settings(upstream: str, **more: Any) -> dict[str, Any]:
    """Returns a configuration with the providers `first` and `second`, and the route `main` at the first."""
    return {
        "server": {"grace_seconds": 5},
        "discovery": {"enabled": False},
        "admin": {"port": 0, "key": ADMIN_KEY},
        "providers": {
            "first": {"base_url": f"{upstream}/first/v1", "credentials": list(UPSTREAM_KEYS)},
            "second": {"base_url": f"{upstream}/second/v1", "requires_credential": False},
        },
        "routes": {"main": {"deployments": [{"model": "first/m"}]}},
        **more,
    }


class Running:
    """A gateway and its file."""

    def __init__(self, directory: Path, config: Mapping[str, Any], arguments: Sequence[str] = ()) -> None:
        self.directory = directory
        self.file = directory / "anyport.yaml"
        self.arguments = arguments
        self.gateway: GatewayProcess = start_gateway(
            directory, config=config, arguments=("--port", "0", *arguments), environ={"A_KEY": "from-environment-0123"}
        )
        self.url = self.gateway.wait_until_ready()
        found = _ADMIN.search(self.gateway.errors)
        self.admin_url = found[1] if found else ""
        self.client = httpx2.Client(base_url=self.url, timeout=30)

    @property
    def pid(self) -> int:
        return self.gateway._popen.pid  # the helper has no use for it itself

    @property
    def is_running(self) -> bool:
        return self.gateway._popen.poll() is None

    def workers(self) -> list[int]:
        """Returns the processes that the gateway has started, oldest first."""
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sorted(map(int, found))

    def wait_for_workers(self, count: int) -> None:
        """Waits until so many serve: each tells its figures then."""
        until(lambda: len(self.workers()) == count and self.metric("anyport_workers") == count)
        until(lambda: self.listening() >= count)

    def listening(self) -> int:
        """Returns how many sockets listen on the port."""
        port = f":{int(self.url.rpartition(':')[2]):04X}"
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        return sum(fields[1].endswith(port) and fields[3] == "0A" for fields in map(str.split, lines))

    def write(self, config: Mapping[str, Any] | str) -> None:
        """Replaces the file in one step, as editors do."""
        new = self.file.with_suffix(".new")
        new.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
        os.replace(new, self.file)

    def reload(self) -> httpx2.Response:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        return httpx2.post(f"{self.admin_url}/admin/reload", headers=headers, timeout=30)

    def hang_up(self) -> None:
        os.kill(self.pid, signal.SIGHUP)

    def ask(self, model: str = "main", **more: Any) -> httpx2.Response:
        return self.client.post("/v1/chat/completions", json={"model": model, "messages": HELLO, **more})

    def metric(self, name: str, **labels: str) -> float:
        """Returns the sum of a metric over the label sets that have these labels."""
        # On a connection of its own: the worker behind a kept one may have died.
        said = httpx2.get(f"{self.url}/metrics", timeout=30).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(said)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / "stdout.log").read_text().splitlines()]

    def stop(self) -> None:
        self.client.close()
        assert self.gateway.stop() == 0, self.gateway.errors
        said = self.gateway.errors + (self.directory / "stdout.log").read_text()
        assert not any(secret in said for secret in (*UPSTREAM_KEYS, ADMIN_KEY, "Traceback")), said


Start = Callable[..., Running]


@contextmanager
def starting(directory: Path, upstream: str) -> Iterator[Start]:
    """Gives what starts gateways, each in a folder of its own; stops those that still run."""
    running: list[Running] = []

    def begin(*arguments: str, prepare: Callable[[Path], None] = lambda own: None, **more: Any) -> Running:
        own = directory / f"gateway-{len(running)}"
        own.mkdir()
        prepare(own)
        running.append(Running(own, settings(upstream, **more), arguments))
        return running[-1]

    yield begin
    for each in running:
        each.client.close()
        if each.is_running:
            each.stop()


def rss_bytes(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def environ() -> dict[str, str]:
    return clean_environ({"A_KEY": "from-environment-0123"})
