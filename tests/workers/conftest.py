"""Gateways of several processes, and the upstream that they share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stage import Stage
from tests.reload import conftest as reload
from tests.reload.gateway import Running, Start, starting

WORKERS = 2

stage = reload.stage
scripted = reload.scripted


@pytest.fixture
def start(tmp_path: Path, scripted: Stage) -> Iterator[Start]:
    """Starts gateways of two workers and waits until both serve."""
    with starting(tmp_path, scripted.url) as begin:

        def begin_all(*arguments: str, **more: Any) -> Running:
            made = begin("--workers", str(WORKERS), *arguments, **more)
            made.wait_for_workers(WORKERS)
            return made

        yield begin_all
