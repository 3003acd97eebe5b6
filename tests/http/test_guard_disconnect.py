"""The client goes away, half-closes, or reads slowly: who notices, and how soon."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from itertools import count

import pytest

from gateway.http.guard.limits import GuardLimits
from gateway.http.guard.sweeper import StallWatch
from tests.http.guarded_server import Running, raw_socket, read_all, serving, until

HOST = b"Host: localhost\r\n"
LONG_SECONDS = 30
"""Longer than `until` waits: what ends before is not the answer."""
keys = count()


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    with serving(loop=request.param) as server:
        yield server


def ask(running: Running, path: bytes, seconds: float) -> tuple[socket.socket, str]:
    """Sends a request whose query is unique, and returns the socket and the query."""
    query = f"{seconds}&{next(keys)}"
    one = raw_socket(running.port)
    one.sendall(b"GET %b?%b HTTP/1.1\r\n%b\r\n" % (path, query.encode(), HOST))
    return one, query


def wait_for_dispatch(running: Running, number: int) -> None:
    assert until(lambda: len(running.app.dispatched) >= number)
    time.sleep(0.02)  # the application registers its watcher


@pytest.mark.parametrize("path", [b"/slow", b"/stream"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_goes_away_is_noticed_at_once(path: bytes, how: str, running: Running) -> None:
    expected = len(running.app.dispatched) + 1
    one, query = ask(running, path, LONG_SECONDS)
    wait_for_dispatch(running, expected)
    if path == b"/stream":
        while b"data: one\n\n" not in one.recv(65536):
            pass
    if how == "reset":
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
    assert until(lambda: query in running.app.gone)


@pytest.mark.parametrize("path", [b"/slow", b"/stream"])
def test_a_half_closed_client_gets_its_answer(path: bytes, running: Running) -> None:
    one, query = ask(running, path, 0.3)
    one.shutdown(socket.SHUT_WR)
    said = read_all(one)
    assert said.is_closed
    assert [answer.status for answer in said.answers] == [200]
    assert query not in running.app.gone
    if path == b"/stream":
        assert said.answers[0].body.startswith(b"data: one\n\n")
        assert said.answers[0].body.endswith(b"data: [DONE]\n\n")
    else:
        assert said.answers[0].body == b'{"slow":true}'


def test_a_half_closed_stream_is_probed_with_a_comment_between_events(running: Running) -> None:
    one, _ = ask(running, b"/stream", 0.3)
    received = b""
    while b"data: one\n\n" not in received:
        received += one.recv(65536)
    one.shutdown(socket.SHUT_WR)
    body = read_all(one, received).raw
    assert b"8\r\n: ping\n\n\r\n" in body
    assert body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert b"100 Continue" not in body


def test_a_half_closed_http_1_0_client_gets_no_interim_response(running: Running) -> None:
    one = raw_socket(running.port)
    one.sendall(b"GET /slow?0.2&old HTTP/1.0\r\n\r\n")
    one.shutdown(socket.SHUT_WR)
    said = read_all(one)
    assert said.raw.startswith(b"HTTP/1.1 200")


def test_an_end_of_file_before_the_request_is_whole_closes(running: Running) -> None:
    before = len(running.app.dispatched)
    for message in (b"", b"GET /x HT", b"GET /x HTTP/1.1\r\nHost: a\r\n"):
        one = raw_socket(running.port)
        one.sendall(message)
        one.shutdown(socket.SHUT_WR)
        said = read_all(one)
        assert (said.raw, said.is_closed) == (b"", True)
    assert len(running.app.dispatched) == before


def test_a_client_that_leaves_behind_a_big_unread_body_is_noticed(running: Running) -> None:
    """Reading pauses while the application has not taken the body; it must go on once the body is whole."""
    one = raw_socket(running.port)
    body = b"x" * 3_000_000
    query = f"{LONG_SECONDS}&{next(keys)}"
    head = b"POST /slow?%b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (query.encode(), HOST, len(body))
    expected = len(running.app.dispatched) + 1
    one.sendall(head + body)
    wait_for_dispatch(running, expected)
    time.sleep(0.05)
    one.close()
    assert until(lambda: query in running.app.gone)


def test_an_upload_that_is_broken_off_ends_the_request(running: Running) -> None:
    before = len(running.app.disconnects)
    one = raw_socket(running.port)
    one.sendall(b"POST /broken-off HTTP/1.1\r\n%bContent-Length: 100\r\n\r\nhello" % HOST)
    assert until(lambda: "/broken-off" in running.app.dispatched)
    one.close()
    assert until(lambda: len(running.app.disconnects) > before)


def test_the_watcher_of_an_answered_request_is_not_called(running: Running) -> None:
    one, query = ask(running, b"/slow", 0.01)
    assert one.recv(65536).startswith(b"HTTP/1.1 200")
    one.close()
    assert until(lambda: not running.connections())
    assert query not in running.app.gone


def test_a_client_that_stops_reading_slows_the_application_down(running: Running) -> None:
    one = raw_socket(running.port, receive_buffer=4096)
    running.app.sent_bytes = 0
    one.sendall(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
    assert until(lambda: running.app.sent_bytes > 0)
    assert until(lambda: any(c.is_write_paused for c in running.connections()))
    time.sleep(0.1)
    sent = running.app.sent_bytes
    time.sleep(0.1)
    assert running.app.sent_bytes == sent
    buffered = [c._transport.get_write_buffer_size() for c in running.connections()]
    assert max(buffered) <= 1024 * 1024
    one.close()
    assert until(lambda: not running.connections())


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_client_that_takes_nothing_for_too_long_is_cut_off(loop: str) -> None:
    with serving(GuardLimits(write_stall_seconds=0.3), loop) as server:
        one = raw_socket(server.port, receive_buffer=4096)
        one.sendall(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
        started = time.monotonic()
        assert until(lambda: "big" in server.app.gone)
        assert server.app.gone["big"] - started >= 0.3
        one.close()


def test_a_slow_reader_is_not_cut_off() -> None:
    with serving(GuardLimits(write_stall_seconds=1.0)) as server, raw_socket(server.port, receive_buffer=65536) as one:
        one.sendall(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
        end = time.monotonic() + 1.6
        while time.monotonic() < end:
            assert one.recv(262144)
            time.sleep(0.02)
        assert "big" not in server.app.gone


@pytest.mark.parametrize(
    ("written", "buffered", "expected"),
    [(100, 50, 3.0), (150, 100, 3.0), (150, 50, 0.0), (100, 0, 0.0), (100, 20, 0.0)],
)
def test_a_stall_is_time_without_a_byte_taken(written: int, buffered: int, expected: float) -> None:
    watch = StallWatch()
    assert watch.seconds(10.0, 100, 50) == 0.0
    assert watch.seconds(13.0, written, buffered) == expected
