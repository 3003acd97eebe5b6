"""What reloads leave behind: nothing that grows with their number."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.app import App, create_app
from gateway.cli.serving.source import Source
from gateway.http.drain import DrainSignal
from gateway.reload.reloader import Reloader
from tests.e2e.answers import completion
from tests.reload.gateway import HELLO
from tests.upstreams.scripted import ScriptedUpstream, json_response

FIRST = 12
"""Reloads until everything that is made once is there."""
RELOADS = 40


class Left(NamedTuple):
    """How much there is of what a reload could leave."""

    objects: Counter[str]
    """Of our own types, by type."""
    tasks: int
    threads: int
    files: int


def left() -> Left:
    gc.unfreeze()  # what was there when storage was opened is not among the objects otherwise
    gc.collect()
    types = (type(each) for each in gc.get_objects())
    return Left(
        Counter(each.__qualname__ for each in types if str(each.__module__).startswith(("gateway.", "adapters."))),
        len(asyncio.all_tasks()),
        threading.active_count(),
        len(os.listdir("/proc/self/fd")),
    )


def variant(url: str, number: int) -> dict[str, Any]:
    """Returns configurations that differ in all that a reload can change."""
    return {
        "server": {"access_log": "off", "api_keys": [f"client-key-{number}"]},
        "discovery": {"enabled": number % 2 == 0},
        "health": {"probe_seconds": 5, "consecutive_failures": 3 + number % 5},
        "upstream": {"max_connections": 50 + number % 3},
        "providers": {"first": {"base_url": f"{url}/v1", "credentials": [f"upstream-key-{number % 4}"]}},
        "routes": {name: {"deployments": [{"model": "first/m"}]} for name in ("main", f"route-{number}")},
    }


async def ask(app: App, key: str) -> int:
    """Sends one request for `main` straight to the application and returns the status."""
    body = json.dumps({"model": "main", "messages": HELLO}).encode()
    headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {key}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers, "query_string": b""}
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    statuses: list[int] = []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    return statuses[0]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="files are counted as Linux shows them")
async def test_reloads_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYPORT_DATA_DIR", str(tmp_path / "data"))
    file = tmp_path / "anyport.yaml"
    async with ScriptedUpstream(lambda request: json_response(completion("Hi"))) as upstream:
        file.write_text(json.dumps(variant(upstream.url, 0)))
        source = Source(file)
        runtime = await asyncio.to_thread(source.first)
        app = create_app(runtime, drain=DrainSignal())
        reloader = Reloader(app.holder, source.build)
        await runtime.start()
        before = left()
        for number in range(1, FIRST + RELOADS + 1):
            file.write_text(json.dumps(variant(upstream.url, number)))
            reloaded = await reloader.reload("a test")
            assert reloaded.ok, reloaded.faults
            assert await ask(app, f"client-key-{number}") == 200
            if number == FIRST:
                await drained(app)
                before = left()
        await drained(app)
        after = left()
        await app.holder.aclose()
    assert after.tasks <= before.tasks + 2
    assert after.threads <= before.threads + 8  # workers of the pool for files, which has a bound
    assert after.files <= before.files + 8
    grown = after.objects - before.objects
    # One runtime more may still be about to go; what every reload leaves behind is as many as there were.
    kept = {name: more for name, more in grown.items() if more >= RELOADS // 2 and more > before.objects[name]}
    assert kept == {}


async def drained(app: App) -> None:
    async with asyncio.timeout(20):
        while app.holder.draining:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
