from __future__ import annotations

import socket
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from gateway.http.metrics_port import HOST, serve_metrics
from gateway.telemetry.metrics import Metrics


def test_metrics_are_served_on_the_port_that_the_system_chose() -> None:
    server = serve_metrics(Metrics(), 0)
    try:
        with urlopen(f"http://{HOST}:{server.server_port}/metrics", timeout=5) as answer:
            assert b"anyport_build_info" in answer.read()
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:9", "", "localhost.evil.example"])
def test_a_web_page_cannot_read_them_by_another_name(host: str) -> None:
    server = serve_metrics(Metrics(), 0)
    try:
        with socket.create_connection((HOST, server.server_port), timeout=20) as one:
            one.sendall(f"GET /metrics HTTP/1.0\r\nhost: {host}\r\n\r\n".encode())
            said = one.makefile("rb").read()
    finally:
        server.shutdown()
        server.server_close()
    assert said.split(b"\r\n")[0].startswith(b"HTTP/1.0 400 ")
    assert b"anyport_build_info" not in said
    assert b"Python" not in said


@pytest.mark.parametrize(
    "host", ["localhost:9", "LOCALHOST:9", "[::1]:9", "127.0.0.1:80", "localhost", "127.0.0.1", "[::1]"]
)
def test_scrapers_may_call_this_machine_by_any_of_its_own_names(host: str) -> None:
    server = serve_metrics(Metrics(), 0)
    try:
        with socket.create_connection((HOST, server.server_port), timeout=20) as one:
            one.sendall(f"GET /metrics HTTP/1.0\r\nhost: {host}\r\n\r\n".encode())
            assert b"anyport_build_info" in one.makefile("rb").read()
    finally:
        server.shutdown()
        server.server_close()


def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot serve metrics on {HOST}:{port} \(server\.metrics_port\): address"):
            serve_metrics(Metrics(), port)


class _Silent:
    def render(self, accept: str = "") -> bytes:
        raise TimeoutError

    def content_type(self, accept: str = "") -> str:
        raise AssertionError("there is nothing that could have a type")


def test_figures_that_nobody_has_told_are_no_empty_exposition() -> None:
    server = serve_metrics(_Silent(), 0)
    try:
        with pytest.raises(HTTPError, match="503: no worker has said yet what it has counted; ask again"):
            urlopen(f"http://{HOST}:{server.server_port}/metrics", timeout=5)
    finally:
        server.shutdown()
        server.server_close()
