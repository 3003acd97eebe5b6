"""One gateway and one upstream per module; a module may have `SETTINGS`, `ENVIRON`, `HEADERS` and a `PROGRAM`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.stage import Stage, staged


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    settings = getattr(request.module, "SETTINGS", {})
    environ = getattr(request.module, "ENVIRON", {})
    program = getattr(request.module, "PROGRAM", ("-m", "gateway"))
    async with staged(folder, settings, environ, program) as made:
        made.headers = getattr(request.module, "HEADERS", {})
        yield made
