"""Whoever listens to one of several workers hears all of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import httpx2

from tests.e2e.answers import completion
from tests.e2e.stage import Stage
from tests.http.events import SLACK_SECONDS, Listener
from tests.reload.gateway import ADMIN_KEY, HELLO, Running, Start, until
from tests.upstreams.scripted import json_response
from tests.workers.conftest import WORKERS


def listener_of(gateway: Running, query: str = "") -> Listener:
    return Listener(int(gateway.admin_url.rpartition(":")[2]), ADMIN_KEY, query)


def ask_until(gateway: Running, is_enough: Callable[[], bool]) -> int:
    """Asks on new connections, which the kernel spreads over the workers; returns how often."""
    deadline, count = time.monotonic() + SLACK_SECONDS, 0
    while not is_enough():
        assert time.monotonic() < deadline
        with httpx2.Client(base_url=gateway.url, timeout=30) as client:
            assert client.post("/v1/chat/completions", json={"model": "main", "messages": HELLO}).status_code == 200
        count += 1
    return count


def workers_of(listener: Listener) -> set[str]:
    return {event.data["worker"] for event in list(listener.events) if event.kind == "request"}


def test_requests_of_all_workers_are_told_once_each(start: Start) -> None:
    gateway = start()
    listener = listener_of(gateway, "?types=request")
    count = ask_until(gateway, lambda: len(workers_of(listener)) == WORKERS)
    until(lambda: len(listener.events) >= count)
    ids = [event.data["id"] for event in listener.events]
    assert len(ids) == len(set(ids)) == count
    numbers = [event.number for event in listener.events]
    assert numbers == sorted(set(numbers))
    listener.close()
    second = listener_of(gateway)
    ask_until(gateway, lambda: len(workers_of(second)) == WORKERS)
    second.close()


def test_a_reload_is_told_once(start: Start, scripted: object) -> None:
    gateway = start()
    listener = listener_of(gateway, "?types=reload")
    assert gateway.reload().status_code == 200
    listener.wait_for("reload")
    time.sleep(0.5)
    assert [event.kind for event in listener.events] == ["reload"]
    listener.close()


def test_a_worker_that_takes_the_place_of_a_dead_one_is_heard_as_well(start: Start) -> None:
    gateway = start()
    listener = listener_of(gateway, "?types=request")
    ask_until(gateway, lambda: len(workers_of(listener)) == WORKERS)
    listener.close()
    for pid in gateway.workers():
        # Whichever of them has the admin API: both are replaced, one after the other.
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in gateway.workers() and gateway.metric("anyport_workers") == WORKERS)  # type: ignore[misc]
        until(lambda: gateway.listening() >= WORKERS)
    again = listener_of(gateway, "?types=request")
    ask_until(gateway, lambda: len(workers_of(again)) == WORKERS)
    again.close()


def test_it_ends_well_with_the_gateway(start: Start) -> None:
    gateway = start()
    listener = listener_of(gateway)
    ask_until(gateway, lambda: bool(listener.events))
    gateway.stop()
    listener.wait_for_end()
    assert listener.has_ended_well
    listener.close()


def test_an_operator_ends_a_rest_in_all_workers(start: Start, scripted: Stage) -> None:
    gateway = start()
    listener = listener_of(gateway, "?types=request,cool_down")
    scripted.play(json_response({}, 503, [("retry-after", "600")]))

    def rests_in() -> set[str]:
        return {event.data["worker"] for event in list(listener.events) if event.kind == "cool_down"}

    def ask() -> int:
        with httpx2.Client(base_url=gateway.url, timeout=30) as client:
            return client.post("/v1/chat/completions", json={"model": "main", "messages": HELLO}).status_code

    deadline = time.monotonic() + SLACK_SECONDS
    while len(rests_in()) < WORKERS and time.monotonic() < deadline:
        assert ask() == 503
    assert len(rests_in()) == WORKERS
    scripted.play(json_response(completion("Hi")))
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    reply = httpx2.post(f"{gateway.admin_url}/admin/deployments/first/m/reset", headers=headers, timeout=30)
    assert reply.status_code == 200
    listener.close()
    listener = listener_of(gateway, "?types=request")
    ask_until(gateway, lambda: len(workers_of(listener)) == WORKERS)
    listener.close()
