"""The end of the process: what is answered, what is told to end, and the exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.http.drain import DrainSignal
from gateway.http.server import BindError, bind, default_allowed_hosts, url_of
from tests.http.guarded_server import SLACK_SECONDS, raw_socket, read_all

SCRIPT = Path(__file__).with_name("drained_server.py")
ROOT = Path(__file__).parents[2]
HOST = b"Host: localhost\r\n"


class Process:
    """A server process and its port."""

    def __init__(self, grace: float, delay: float, loop: str) -> None:
        command = [sys.executable, str(SCRIPT), "0", str(grace), str(delay), loop]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rpartition(":")[2])
        self.sockets: list[socket.socket] = []

    def connect(self) -> socket.socket:
        one = raw_socket(self.port)
        one.settimeout(20)
        self.sockets.append(one)
        return one

    def ask(self, path: bytes) -> socket.socket:
        one = self.connect()
        one.sendall(b"GET %b HTTP/1.1\r\n%b\r\n" % (path, HOST))
        return one

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@contextmanager
def process(grace: float = 5, delay: float = 0, loop: str = "uvloop") -> Iterator[Process]:
    one = Process(grace, delay, loop)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()
        for opened in one.sockets:
            opened.close()


def first_bytes(one: socket.socket, until: bytes) -> bytes:
    received = b""
    while until not in received:
        data = one.recv(65536)
        assert data, received
        received += data
    return received


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once_with_exit_code_0(number: int, loop: str) -> None:
    with process(grace=30, loop=loop) as server:
        idle = server.ask(b"/ready")
        first_bytes(idle, b"{}")
        started = time.monotonic()
        server.signal(number)
        assert server.end() == (0, "ended\n", "")
        assert time.monotonic() - started < SLACK_SECONDS
        assert read_all(idle).raw == b""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_running_requests_are_answered_and_streams_complete(loop: str) -> None:
    with process(loop=loop) as server:
        slow = server.ask(b"/slow?0.5")
        streams = [server.ask(b"/stream?25") for _ in range(50)]
        received = [first_bytes(one, b"data: 0\n\n") for one in streams]
        server.signal()
        for one, start in zip(streams, received, strict=True):
            said = read_all(one, start)
            expected = b"".join(b"data: %d\n\n" % number for number in range(25)) + b"data: [DONE]\n\n"
            assert said.answers[0].body == expected
            assert said.raw.endswith(b"0\r\n\r\n")
        answer = read_all(slow).answers[0]
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert server.end() == (0, "ended\n", "")


def test_a_stream_that_outlives_the_grace_gets_its_error_event() -> None:
    with process(grace=0.3) as server:
        one = server.ask(b"/stream?1000")
        start = first_bytes(one, b"data: 0\n\n")
        started = time.monotonic()
        server.signal()
        said = read_all(one, start)
        assert said.answers[0].body.endswith(b'data: {"error":{"code":"server_shutting_down"}}\n\n')
        assert said.raw.endswith(b"0\r\n\r\n")
        assert 0.2 < time.monotonic() - started < 0.3 + SLACK_SECONDS
        assert server.end()[0] == 0


def test_a_request_that_ignores_the_deadline_is_cut() -> None:
    with process(grace=0.1) as server:
        one = server.ask(b"/slow?60")
        ready = server.ask(b"/ready")
        first_bytes(ready, b"{}")
        started = time.monotonic()
        server.signal()
        assert read_all(one).answers == []
        assert server.end() == (0, "ended\n", "")
        assert time.monotonic() - started < 2 + SLACK_SECONDS


def test_during_the_delay_readiness_is_off_and_requests_are_served() -> None:
    with process(delay=2.0) as server:
        assert first_bytes(server.ask(b"/ready"), b"{}").startswith(b"HTTP/1.1 200")
        server.signal()
        time.sleep(0.1)
        assert first_bytes(server.ask(b"/ready"), b"{}").startswith(b"HTTP/1.1 503")
        assert first_bytes(server.ask(b"/x"), b"{}").startswith(b"HTTP/1.1 200")
        assert server.end() == (0, "ended\n", "")


def test_after_the_delay_no_connection_is_accepted() -> None:
    with process() as server:
        slow = server.ask(b"/slow?0.6")
        ready = server.ask(b"/ready")
        first_bytes(ready, b"{}")
        server.signal()
        assert read_all(ready).is_closed
        with pytest.raises(ConnectionError):
            server.connect().sendall(b"x")
        assert read_all(slow).answers[0].status == 200


def test_a_half_received_request_is_still_answered() -> None:
    with process() as server:
        one = server.connect()
        one.sendall(b"GET /x HTTP/1.1\r\n")
        first_bytes(server.ask(b"/ready"), b"{}")
        server.signal()
        time.sleep(0.1)
        one.sendall(HOST + b"\r\n")
        assert read_all(one).answers[0].headers["connection"] == "close"
        assert server.end()[0] == 0


def test_a_second_signal_ends_at_once_but_streams_get_their_error_event() -> None:
    with process(grace=60) as server:
        one = server.ask(b"/stream?1000")
        start = first_bytes(one, b"data: 0\n\n")
        started = time.monotonic()
        server.signal()
        time.sleep(0.1)
        server.signal()
        said = read_all(one, start)
        assert b"server_shutting_down" in said.answers[0].body
        assert server.end()[:2] == (130, "ended\n")
        assert time.monotonic() - started < SLACK_SECONDS


def test_a_third_signal_does_not_wait_for_anything() -> None:
    with process(grace=60) as server:
        server.ask(b"/slow?60")
        first_bytes(server.ask(b"/ready"), b"{}")
        for _ in range(3):
            server.signal()
            time.sleep(0.1)
        assert server.end()[0] == 130


def test_a_taken_port_is_one_clear_line_and_exit_code_1() -> None:
    with process() as server:
        command = [sys.executable, str(SCRIPT), str(server.port), "1", "0", "uvloop"]
        second = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60
        )
        assert second.returncode == 1
        assert second.stderr == f"cannot listen on 127.0.0.1:{server.port}: address already in use\n"


def test_an_application_that_does_not_start_is_exit_code_1() -> None:
    command = [sys.executable, str(SCRIPT), "0", "1", "0", "uvloop", "broken"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, "")


def test_a_loopback_server_refuses_foreign_hosts() -> None:
    with process() as server:
        one = server.connect()
        one.sendall(b"GET /ready HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert read_all(one).answers[0].code == "invalid_host"


@pytest.mark.parametrize(
    ("host", "extra"), [("127.0.0.1", None), ("127.0.0.9", "127.0.0.9"), ("::1", None), ("localhost", None)]
)
def test_a_loopback_bind_answers_to_its_own_names(host: str, extra: str | None) -> None:
    expected = {"localhost", "127.0.0.1", "[::1]"} | ({extra} if extra else set())
    assert default_allowed_hosts(host) == expected


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gateway.example"])
def test_another_bind_answers_to_any_name(host: str) -> None:
    assert default_allowed_hosts(host) is None


def test_an_unknown_name_cannot_be_bound() -> None:
    with pytest.raises(BindError, match=r"^cannot listen on 192\.0\.2\.1:0: [^\n]+$"):
        bind("192.0.2.1", 0)


def test_localhost_is_bound_on_one_port() -> None:
    sockets = bind("localhost", 0)
    assert len({one.getsockname()[1] for one in sockets}) == 1
    assert url_of(sockets[0]).startswith("http://")
    for one in sockets:
        one.close()


def test_the_drain_signal_tells_everyone_once() -> None:
    now = [100.0]
    drain = DrainSignal(lambda: now[0])
    heard: list[str] = []
    assert (drain.is_draining, drain.deadline) == (False, None)
    drain.on_deadline(lambda: heard.append("a"))

    def forgotten() -> None:
        heard.append("never")

    drain.on_deadline(forgotten)
    drain.forget(forgotten)
    drain.start(5)
    now[0] = 103.0
    drain.start(5)
    assert (drain.is_draining, drain.is_expired, drain.deadline) == (True, False, 105.0)
    drain.expire()
    drain.expire()
    drain.on_deadline(lambda: heard.append("late"))
    assert heard == ["a", "late"]
