"""Replicas as `deploy/compose.yaml` has them: the same configuration, with servers and directories of the test."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.deploy.files import CONFIGURATION, environ_for
from tests.e2e.process import GatewayProcess, clean_environ, start_gateway
from tests.e2e.stage import Stage
from tests.state.server import RedisServer
from tests.storage.server import PostgresServer

ROUTE = "fast"
_PLACES = (r'"redis://:\$\{REDIS_PASSWORD\}@redis:6379/0"', r'"postgresql://[^"]+@postgres:5432/anyport"')


@dataclass(slots=True)
class Replica:
    """One gateway process in a directory of its own, which its successors take over."""

    directory: Path
    process: GatewayProcess

    @property
    def port(self) -> int:
        port = urlsplit(self.process.url).port
        assert port is not None
        return port

    def records(self) -> list[dict[str, Any]]:
        """Returns the access records of all that ran in the directory."""
        logs = sorted(self.directory.glob("stdout*.log"))
        lines = (line for log in logs for line in log.read_text().splitlines(keepends=True))
        return [json.loads(line) for line in lines if line.endswith("\n")]  # not one that is just being written


class Replicas:
    """Starts replicas that share one configuration, one Redis and one database."""

    def __init__(
        self, directory: Path, stage: Stage, redis_server: RedisServer | None, postgres: PostgresServer | None
    ) -> None:
        self.stage = stage
        self._directory = directory
        url = asyncio.run(postgres.database()) if postgres else f"sqlite:///{directory}/anyport.db"
        redis_url = redis_server.url.replace("//", f"//:{redis_server.password}@") if redis_server else "memory://"
        self.configuration = _local(CONFIGURATION.read_text(), redis_url, url, stage.url)
        self.environ = environ_for(CONFIGURATION.read_text())
        self._running: list[Replica] = []

    def run(self, name: str, *command: str) -> str:
        """Returns what a command says that runs where replica `name` does; fails unless it exits with 0."""
        directory, environ = self._place(name)
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *command],
            cwd=directory,
            env=clean_environ(environ),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, name: str, port: int = 0) -> Replica:
        """Starts a replica and waits until it serves."""
        directory, environ = self._place(name)
        former = directory / "stdout.log"
        if former.exists():
            former.rename(directory / f"stdout-{len(list(directory.glob('stdout*.log')))}.log")
        process = start_gateway(directory, arguments=("--host", "127.0.0.1", "--port", str(port)), environ=environ)
        replica = Replica(directory, process)
        self._running.append(replica)
        process.wait_until_ready()
        return replica

    def end(self) -> None:
        """Ends all that still runs."""
        for replica in self._running:
            replica.process.stop()

    def _place(self, name: str) -> tuple[Path, Mapping[str, str]]:
        directory = self._directory / name
        directory.mkdir(exist_ok=True)
        (directory / "anyport.yaml").write_text(self.configuration)
        return directory, {**self.environ, "ANYPORT_DATA_DIR": str(directory / "data")}


def _local(text: str, redis_url: str, storage_url: str, upstream_url: str) -> str:
    """Returns the configuration that is deployed, for this machine and with a route to an upstream of the test."""
    replaced = (
        *((place, json.dumps(url)) for place, url in zip(_PLACES, (redis_url, storage_url), strict=True)),
        (r"(?m)^  port: 8485$", "  port: 0"),
        (r"(?m)^  drain_delay_seconds: \d+$", "  drain_delay_seconds: 1"),
    )
    for pattern, instead in replaced:
        text, found = re.subn(pattern, lambda _, instead=instead: instead, text)
        assert found == 1, f"deploy/anyport.yaml has no single {pattern}"
    more = {
        "discovery": {"enabled": False},
        "providers": {"stub": {"base_url": f"{upstream_url}/v1", "requires_credential": False}},
        "routes": {ROUTE: {"deployments": [{"model": "stub/quick"}]}},
    }
    return f"{text}\n" + "".join(f"{name}: {json.dumps(value)}\n" for name, value in more.items())
