"""A process that stands still for seconds answers nobody, says so, and goes on as if nothing had been."""

from __future__ import annotations

import os
import signal
import threading

import httpx2
import pytest

from tests.e2e.answers import text_chunks
from tests.e2e.stage import Stage
from tests.reload.gateway import HELLO, Start, until
from tests.upstreams.scripted import sse_response

STILL_SECONDS = 3.0


def test_a_process_that_stood_still_recovers_and_has_counted_it(start: Start, scripted: Stage) -> None:
    gateway = start("--no-watch")
    gateway.ask()
    scripted.play(sse_response(text_chunks(*"abcdefgh"), gap_seconds=0.2))
    texts: list[str] = []

    def stream() -> None:
        body = {"model": "main", "messages": HELLO, "stream": True}
        texts.append(httpx2.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60).text)

    running = threading.Thread(target=stream)
    running.start()
    until(lambda: scripted.requests)
    os.kill(gateway.pid, signal.SIGSTOP)
    try:
        with pytest.raises(httpx2.TimeoutException):
            httpx2.get(f"{gateway.url}/health/ready", timeout=STILL_SECONDS)
    finally:
        os.kill(gateway.pid, signal.SIGCONT)
    until(lambda: gateway.metric("anyport_event_loop_stalls_total") == 1)
    assert gateway.metric("anyport_event_loop_stalled_seconds_total") >= STILL_SECONDS - 1
    assert httpx2.get(f"{gateway.url}/health/ready", timeout=30).status_code == 200
    running.join()
    assert texts[0].endswith("data: [DONE]\n\n")  # what came meanwhile was waiting
    gateway.gateway.wait_for("the event loop goes on after")
