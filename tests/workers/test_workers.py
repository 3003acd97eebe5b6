"""Several processes on one port: they share the work, one that dies is replaced, and all of them are one gateway."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.answers import text_chunks
from tests.e2e.process import clean_environ, run_gateway
from tests.e2e.stage import Stage
from tests.reload.gateway import HELLO, Running, Start, settings, until
from tests.upstreams.scripted import Answer, sse_response
from tests.workers.conftest import WORKERS

BODY: Any = {"model": "main", "messages": HELLO}
RESTART_SECONDS = 2.0


class Load:
    """Requests one after the other, each on a connection of its own."""

    def __init__(self) -> None:
        self.answered: list[int] = []
        self.broken = 0

    def ask(self, gateway: Running) -> None:
        try:
            with httpx2.Client(base_url=gateway.url, timeout=30) as client:
                self.answered.append(client.post("/v1/chat/completions", json=BODY).status_code)
        except httpx2.TransportError:
            self.broken += 1


@contextmanager
def load_on(gateway: Running, threads: int = 4) -> Iterator[Load]:
    load, over = Load(), threading.Event()

    def run() -> None:
        while not over.is_set():
            load.ask(gateway)

    running = [threading.Thread(target=run) for _ in range(threads)]
    for each in running:
        each.start()
    try:
        yield load
    finally:
        over.set()
        for each in running:
            each.join()


def stream_of(*pieces: str) -> Answer:
    return sse_response(text_chunks(*pieces), gap_seconds=0.2)


def test_connections_are_spread_over_all_workers(start: Start, scripted: Stage) -> None:
    gateway = start("--no-watch")
    assert f"{WORKERS} workers share the port" in gateway.gateway.errors
    load = Load()
    for _ in range(64):
        load.ask(gateway)
    assert load.answered == [200] * 64
    # Each worker has its own connections to the provider.
    assert len({request.connection for request in scripted.requests}) >= WORKERS


def test_metrics_of_any_worker_are_those_of_all(start: Start) -> None:
    gateway = start("--no-watch")
    load = Load()
    for _ in range(32):
        load.ask(gateway)
    for _ in range(8):
        with httpx2.Client(base_url=gateway.url, timeout=30) as client:
            text = client.get("/metrics").text
        assert 'anyport_requests_total{code="",operation="chat",provider="first"' in text
        assert gateway.metric("anyport_requests_total", operation="chat") == 32
        assert gateway.metric("anyport_overhead_seconds_count", operation="chat") == 32
        assert gateway.metric("anyport_workers") == WORKERS
    assert (
        "\n# EOF"
        in httpx2.get(f"{gateway.url}/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}).text
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_under_load_is_replaced_while_others_serve(start: Start, number: int) -> None:
    gateway = start("--no-watch")
    with load_on(gateway) as load:
        until(lambda: len(load.answered) > 40)
        counted = gateway.metric("anyport_requests_total", operation="chat")
        victim = gateway.workers()[0]
        killed = time.monotonic()
        os.kill(victim, number)
        until(lambda: victim not in gateway.workers() and len(gateway.workers()) == WORKERS)
        assert time.monotonic() - killed < RESTART_SECONDS + 10  # the machine of tests is a busy one
        before = len(load.answered)
        until(lambda: len(load.answered) > before + 40)
    assert set(load.answered) == {200}
    assert load.broken <= 4  # at most what was at work in the one that died
    assert gateway.metric("anyport_requests_total", operation="chat") >= counted
    assert gateway.metric("anyport_worker_restarts_total") == 1
    gateway.wait_for_workers(WORKERS)
    gateway.gateway.wait_for(f"(process {victim}) was ended by {signal.Signals(number).name}; starts again at once")


def test_streams_of_other_workers_do_not_notice_that_one_dies(start: Start, scripted: Stage) -> None:
    scripted.play(stream_of(*"abcdefghijklmnop"))
    gateway = start("--no-watch")
    whole: list[str] = []
    broken: list[str] = []

    def stream() -> None:
        url, body = f"{gateway.url}/v1/chat/completions", {**BODY, "stream": True}
        said = ""
        try:
            with httpx2.stream("POST", url, json=body, timeout=30) as answer:
                for piece in answer.iter_text():
                    said += piece
            whole.append(said)
        except httpx2.TransportError:
            broken.append(said)

    running = [threading.Thread(target=stream) for _ in range(24)]
    for each in running:
        each.start()
    until(lambda: len(scripted.requests) == len(running))
    victim = gateway.workers()[1]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in gateway.workers() and len(gateway.workers()) == WORKERS)
    for each in running:
        each.join()
    assert len(whole) + len(broken) == len(running)
    assert 0 < len(broken) < len(running)  # those of the one that died, and no others
    assert all(text.endswith("data: [DONE]\n\n") for text in whole)
    assert all(f'"{piece}"' in text for piece in "abcdefghijklmnop" for text in whole)
    assert not any("[DONE]" in text for text in broken)
    assert len({request.connection for request in scripted.requests}) == len(running)
    gateway.wait_for_workers(WORKERS)


def test_a_reload_reaches_all_workers_and_their_successors(start: Start, scripted: Stage) -> None:
    gateway = start("--no-watch")
    gateway.write(settings(scripted.url, routes={"main": {"deployments": [{"model": "second/m"}]}}))
    reloaded = gateway.reload()
    assert (reloaded.status_code, reloaded.json()["workers"]) == (200, WORKERS)
    gateway.write("routes: [broken]")
    assert gateway.reload().status_code == 422
    gateway.hang_up()
    until(lambda: gateway.metric("anyport_config_reloads_total", result="failed") == 2)
    os.kill(gateway.workers()[1], signal.SIGKILL)  # its successor must not stumble over the broken file
    until(lambda: gateway.metric("anyport_worker_restarts_total") == 1)
    gateway.wait_for_workers(WORKERS)
    for _ in range(16):
        with httpx2.Client(base_url=gateway.url, timeout=30) as client:
            answer = client.post("/v1/chat/completions", json=BODY)
            assert answer.headers["x-anyport-deployment"] == "second/m"
    assert gateway.metric("anyport_config_reloads_total", result="ok") == 1
    assert gateway.gateway.errors.count("the configuration was reloaded") == 1


def test_a_changed_file_reaches_all_workers_under_load(start: Start, scripted: Stage) -> None:
    gateway = start()
    with load_on(gateway) as load:
        gateway.write(settings(scripted.url, routes={"main": {"deployments": [{"model": "second/m"}]}}))
        gateway.gateway.wait_for("the configuration was reloaded (the file has changed)")
        until(lambda: gateway.metric("anyport_deployment_attempts_total", deployment="second/m") > 40)
    assert set(load.answered) == {200}
    assert load.broken == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_streams_may_finish_when_the_parent_is_told_to_end(start: Start, scripted: Stage, number: int) -> None:
    scripted.play(stream_of(*"abcdefgh"))
    gateway = start("--no-watch")
    texts: list[str] = []

    def stream() -> None:
        texts.append(httpx2.post(f"{gateway.url}/v1/chat/completions", json={**BODY, "stream": True}, timeout=30).text)

    running = [threading.Thread(target=stream) for _ in range(12)]
    for each in running:
        each.start()
    until(lambda: len(scripted.requests) == len(running))
    os.kill(gateway.pid, number)
    for each in running:
        each.join()
    assert gateway.gateway.wait() == 0, gateway.gateway.errors
    assert len(texts) == 12
    assert all(text.endswith("data: [DONE]\n\n") for text in texts)
    records = gateway.records()
    assert (
        sorted((record["status"], record["error"]) for record in records if record["model"] == "main")
        == [(200, None)] * 12
    )
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), 1)


def test_a_second_signal_does_not_wait_for_the_grace(start: Start, scripted: Stage) -> None:
    scripted.play(stream_of(*"abcdefgh" * 20))
    gateway = start("--no-watch", server={"grace_seconds": 60})
    texts: list[str] = []

    def stream() -> None:
        texts.append(httpx2.post(f"{gateway.url}/v1/chat/completions", json={**BODY, "stream": True}, timeout=60).text)

    running = threading.Thread(target=stream)
    running.start()
    until(lambda: scripted.requests)
    time.sleep(0.5)
    os.kill(gateway.pid, signal.SIGTERM)
    time.sleep(0.5)
    os.kill(gateway.pid, signal.SIGTERM)
    running.join()
    assert "server_shutting_down" in texts[0]
    assert gateway.gateway.wait() == 130


def test_the_records_of_all_workers_are_whole_lines() -> None:
    command = [sys.executable, "-c", _MANY_RECORDS]
    # Through one pipe, as a container's output goes: it takes long writes in pieces.
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as pipe:
        assert pipe.stdin is not None
        assert pipe.stdout is not None
        lines: list[bytes] = []
        reader = threading.Thread(target=lambda: lines.extend(pipe.stdout or ()))
        reader.start()
        writers = [subprocess.Popen(command, stdout=pipe.stdin, env=clean_environ({})) for _ in range(3)]
        assert [writer.wait(60) for writer in writers] == [0, 0, 0]
        pipe.stdin.close()
        reader.join()
    assert len(lines) == 3 * 2000
    assert all(len(json.loads(line)["text"]) == 900 for line in lines)


_MANY_RECORDS = """
import json
from gateway.telemetry.writer import LineWriter, open_sink
writer = LineWriter(open_sink("stdout"))
for number in range(2000):
    writer.put(json.dumps({"text": "x" * 900}).encode() + b"\\n")
writer.close(60)
raise SystemExit(writer.dropped)
"""


def test_workers_end_when_their_parent_is_killed(start: Start) -> None:
    gateway = start("--no-watch")
    workers = gateway.workers()
    os.kill(gateway.pid, signal.SIGKILL)
    gateway.gateway.wait()
    until(lambda: not any(is_alive(worker) for worker in workers))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_start_that_fails_ends_as_with_one_process(tmp_path: Path) -> None:
    code, said = run_gateway(
        tmp_path, "--workers", "2", "--port", "0", config="routes: {r: {deployments: [{model: nobody/m}]}}"
    )
    assert code == 2
    assert said.count("unknown provider 'nobody'") == 1
    wrong = "providers: {mine: {base_url: 'http://127.0.0.1:1/v1', protocol: anthropic, rules: {drop: [user]}}}"
    code, said = run_gateway(tmp_path, "--workers", "2", "--port", "0", config=wrong)
    assert code == 2, said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = run_gateway(tmp_path, "--workers", "2", "--port", port, config="{}")
    assert code == 1
    assert "address already in use" in said


def test_two_gateways_with_workers_do_not_share_a_port_by_mistake(start: Start, tmp_path: Path) -> None:
    port = start("--no-watch").url.rpartition(":")[2]
    code, said = run_gateway(tmp_path, "--workers", "2", "--port", port, config="discovery: {enabled: false}")
    assert (code, "address already in use" in said) == (1, True)


def test_metrics_on_a_port_of_their_own_outlive_a_worker(tmp_path: Path, scripted: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gateway = Running(tmp_path, settings(scripted.url, server={"metrics_port": port}), ("--workers", "2"))
    try:
        os.kill(gateway.workers()[0], signal.SIGKILL)
        answer = httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=30)
        assert (answer.status_code, "anyport_workers" in answer.text) in ((200, True), (503, False))
        until(lambda: "anyport_worker_restarts_total 1.0" in httpx2.get(f"http://127.0.0.1:{port}/metrics").text)
        # Over a connection of its own: one that was kept may end at the worker that is gone.
        assert httpx2.get(f"{str(gateway.client.base_url).rstrip('/')}/metrics", timeout=30).status_code == 404
    finally:
        gateway.stop()
