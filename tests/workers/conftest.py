"""Gateways of several processes, and the upstream that they share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.answers import completion
from tests.e2e.stage import Stage
from tests.reload.conftest import Start
from tests.reload.gateway import Running, settings
from tests.upstreams.scripted import json_response

WORKERS = 2


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with Stage() as upstream:
        yield upstream


@pytest.fixture
def scripted(stage: Stage) -> Stage:
    return stage.play(json_response(completion("Hi")))


@pytest.fixture
def start(tmp_path: Path, scripted: Stage) -> Iterator[Start]:
    """Starts gateways of two workers and waits until both serve."""
    running: list[Running] = []

    def begin(*arguments: str, **more: Any) -> Running:
        directory = tmp_path / f"gateway-{len(running)}"
        directory.mkdir()
        arguments = ("--workers", str(WORKERS), *arguments)
        made = Running(directory, settings(scripted.url, **more), arguments)
        running.append(made)
        made.wait_for_workers(WORKERS)
        return made

    yield begin
    for each in running:
        each.client.close()
        if each.is_running:
            each.stop()
