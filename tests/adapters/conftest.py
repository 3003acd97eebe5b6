"""Whether the recorded expectations are to be written anew."""

from __future__ import annotations

import pytest


@pytest.fixture
def is_updating(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
