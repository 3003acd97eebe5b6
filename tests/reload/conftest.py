"""Gateways whose files change, and the upstream that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.answers import completion
from tests.e2e.stage import Stage
from tests.reload.gateway import Running, settings
from tests.upstreams.scripted import json_response

Start = Callable[..., Running]


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with Stage() as upstream:
        yield upstream


@pytest.fixture
def scripted(stage: Stage) -> Stage:
    return stage.play(json_response(completion("Hi")))


@pytest.fixture
def start(tmp_path: Path, scripted: Stage) -> Iterator[Start]:
    running: list[Running] = []

    def begin(*arguments: str, **more: Any) -> Running:
        directory = tmp_path / f"gateway-{len(running)}"
        directory.mkdir()
        running.append(Running(directory, settings(scripted.url, **more), arguments))
        return running[-1]

    yield begin
    for each in running:
        each.stop()
