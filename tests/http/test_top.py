"""`anyport top` on a pseudo terminal, beside a real gateway."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.e2e.process import clean_environ, start_gateway
from tests.e2e.stage import Stage
from tests.http.test_admin import ADMIN_KEY, ANSWER, CLIENT_KEY, Running, config
from tests.upstreams.scripted import json_response

SLACK_SECONDS = 20.0
OPENED, CLOSED = "\x1b[?1049h", "\x1b[?25h\x1b[?1049l"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Stage() as stage:
        running = Running(tmp_path_factory.mktemp("top"), stage)
        yield running
        assert running.process.stop() == 0


class Screen:
    """The command on a terminal of its own."""

    def __init__(self, directory: Path, file: str = "known.yaml", columns: int = 100, lines: int = 30) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self._slave)
        environ = {**clean_environ({}), "TERM": "xterm"}
        environ.pop("COLUMNS")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "top", "--config", file],
            cwd=directory,
            env=environ,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # whoever types Ctrl-C there means it
        )
        self.said = ""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, pattern: str, seconds: float = SLACK_SECONDS) -> str:
        """Reads until the pattern is in what came since the last time."""
        deadline = time.monotonic() + seconds
        since = len(self.said)
        while not re.search(pattern, self.said[since:]):
            assert time.monotonic() < deadline, f"{pattern!r} did not come, but {self.said[since:]!r}"
            self._read(0.1)
        return self.said[since:]

    def wait(self) -> int:
        deadline = time.monotonic() + SLACK_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.1)
        self._read(0.1)
        return self.process.wait(1)

    @property
    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._slave) == self.before

    def _read(self, seconds: float) -> None:
        if select.select([self._master], [], [], seconds)[0]:
            self.said += os.read(self._master, 1 << 16).decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)


def test_it_shows_requests_as_they_end_and_leaves_the_terminal_as_it_was(running: Running) -> None:
    with Screen(running.directory) as screen:
        screen.wait_for(r"anyport top  q ends it")
        assert OPENED in screen.said
        assert not screen.is_as_before
        running.stage.play(json_response(ANSWER))
        for _ in range(3):
            assert running.chat("own").status == 200
        running.ask("POST", "/v1/chat/completions", {"model": "r"}, key="wrong", main=True)
        shown = screen.wait_for(r"401  invalid_api_key")
        assert re.search(r"own +\d\.\d +3 +0 ", shown)
        assert "mine" in shown
        screen.type("q")
        assert screen.wait() == 0
        assert screen.said.rstrip().endswith(CLOSED)
        assert screen.is_as_before


@pytest.mark.parametrize("how", ["ctrl-c", "SIGTERM"])
def test_it_leaves_the_terminal_clean_however_it_ends(running: Running, how: str) -> None:
    with Screen(running.directory) as screen:
        screen.wait_for(r"q ends it")
        if how == "ctrl-c":
            screen.type("\x03")
        else:
            screen.process.terminate()
        assert screen.wait() == 130
        assert screen.said.rstrip().endswith(CLOSED)
        assert "Traceback" not in screen.said
        assert screen.is_as_before


def test_it_takes_the_size_that_the_terminal_has_now(running: Running) -> None:
    with Screen(running.directory, columns=100, lines=30) as screen:
        screen.wait_for(r"P99 MS")
        screen.resize(40, 10)
        screen.wait_for(r"q ends it")
        screen.wait_for(r"q ends it")
        shown = screen.wait_for(r"\x1b\[J")
        drawn = shown.rpartition("\x1b[H")[2]
        lines = [re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", line) for line in drawn.replace("\r", "").split("\n")]
        assert len(lines) <= 10
        assert max(map(len, lines)) <= 40
        screen.type("q")
        assert screen.wait() == 0


def test_once_prints_one_picture_and_ends(running: Running) -> None:
    running.stage.play(json_response({}, 503, [("retry-after", "600")]))
    running.chat("a/paused")
    code, text, errors = running.command("top", "--once")
    assert (code, errors) == (0, "")
    assert text.startswith("anyport top\n")
    assert "\x1b" not in text
    assert re.search(r"\na/paused .* cooling down for \d+ s \(overloaded\)\n", text)


def test_without_a_terminal_it_says_what_to_do(running: Running) -> None:
    code, text, errors = running.command("top")
    assert (code, text) == (2, "")
    assert "`anyport top --once` prints one picture" in errors


def test_without_a_gateway_it_says_so(running: Running) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        said = config(running.stage.url, closed.getsockname()[1])
        (running.directory / "wrong.yaml").write_text(json.dumps(said))
        code, _, errors = running.command("top", "--once", file="wrong.yaml")
    assert (code, "no gateway answers at 127.0.0.1:" in errors) == (1, True)


def test_it_comes_back_when_the_gateway_does(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said: dict[str, Any] = config("http://127.0.0.1:1", port)
    said["routes"]["echo"] = {"deployments": [{"model": "demo/echo"}]}
    gateway = start_gateway(tmp_path, config=said)
    gateway.wait_until_ready()
    with Screen(tmp_path, "anyport.yaml") as screen:
        screen.wait_for("q ends it")
        assert gateway.stop() == 0
        screen.wait_for("waiting for it|trying again")
        again = start_gateway(tmp_path, config=said)
        url = again.wait_until_ready()
        screen.wait_for("q ends it")
        subprocess.run([sys.executable, "-c", _CHAT, url, CLIENT_KEY], check=True, timeout=30, env=clean_environ({}))
        assert ADMIN_KEY not in screen.wait_for(r"echo +0\.\d +1 ")
        screen.type("q")
        assert screen.wait() == 0
    assert again.stop() == 0


_CHAT = """
import sys, urllib.request
body = b'{"model": "echo", "messages": [{"role": "user", "content": "x"}]}'
headers = {"authorization": "Bearer " + sys.argv[2], "content-type": "application/json"}
urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/v1/chat/completions", body, headers)).read()
"""
