"""A gateway as its users run it: a process of its own, started from the command line, ended by SIGTERM."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

START_SECONDS = 90.0
STOP_SECONDS = 15.0
_LISTENS = re.compile(r"listens on (http://\S+)/v1")


class GatewayProcess:
    """One running `gateway serve`; `url` is its root without a trailing slash."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.url = ""
        self._popen = popen
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def errors(self) -> str:
        """What it has written to stderr so far."""
        with self._news:
            return "".join(self._lines)

    def kill(self) -> None:
        """Ends it at once, by SIGKILL."""
        self._popen.kill()
        self.wait()

    def wait_for(self, text: str, seconds: float = START_SECONDS) -> str:
        """Returns stderr once it contains `text`; fails if the process ends before or time is up."""
        deadline = time.monotonic() + seconds
        with self._news:
            while text not in "".join(self._lines):
                left = deadline - time.monotonic()
                said = "".join(self._lines)
                assert left > 0, f"{text!r} did not come within {seconds:g} s, but: {said}"
                assert self._reader.is_alive() or text in said, f"the gateway ended: {said}"
                self._news.wait(min(left, 0.2))
            return "".join(self._lines)

    def wait_until_ready(self) -> str:
        """Waits for the start table's first line and returns the URL in it."""
        found = _LISTENS.search(self.wait_for("/v1"))
        assert found is not None, self.errors
        self.url = found[1]
        return self.url

    def stop(self) -> int:
        """Asks it to end and returns the exit code; kills it if it does not."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        return self.wait(STOP_SECONDS)

    def wait(self, seconds: float = START_SECONDS) -> int:
        """Returns the exit code of a process that is about to end; kills it if it does not."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            return self._popen.wait()
        finally:
            self._reader.join(STOP_SECONDS)
            if self._popen.stderr is not None:
                self._popen.stderr.close()

    def _read(self) -> None:
        assert self._popen.stderr is not None
        for line in self._popen.stderr:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()


def clean_environ(more: Mapping[str, str]) -> dict[str, str]:
    """Returns the least environment that a process needs, without anybody's keys, and `more`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    return {**kept, "COLUMNS": "200", **more}


def start_gateway(
    directory: Path,
    *,
    config: Mapping[str, Any] | str | None = None,
    arguments: Sequence[str] = ("--port", "0"),
    environ: Mapping[str, str] | None = None,
) -> GatewayProcess:
    """Starts `gateway serve` in `directory`, where `config` becomes anyport.yaml (JSON is YAML)."""
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config, indent=1)
        (directory / "anyport.yaml").write_text(text)
    with (directory / "stdout.log").open("wb") as stdout:
        popen = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", *arguments],
            cwd=directory,
            env=clean_environ(environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
    return GatewayProcess(popen)


def run_gateway(
    directory: Path,
    *arguments: str,
    config: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Runs `gateway serve` that is expected to end by itself; returns exit code and stderr."""
    gateway = start_gateway(directory, config=config, arguments=arguments, environ=environ)
    code = gateway.wait()
    return code, gateway.errors
