from __future__ import annotations

import socket
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


def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot serve metrics on {HOST}:{port} \(server\.metrics_port\): address"):
            serve_metrics(Metrics(), port)
