"""Gateways whose files change, and the upstream that they share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.answers import completion
from tests.e2e.stage import Stage
from tests.reload.gateway import Start, starting
from tests.upstreams.scripted import json_response


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with Stage() as upstream:
        yield upstream


@pytest.fixture
def scripted(stage: Stage) -> Stage:
    return stage.play(json_response(completion("Hi")))


@pytest.fixture
def start(tmp_path: Path, scripted: Stage) -> Iterator[Start]:
    with starting(tmp_path, scripted.url) as begin:
        yield begin
