"""One deployment before the loop."""

from __future__ import annotations

import pytest

from tests.engine.doubles import Stage


@pytest.fixture
def stage() -> Stage:
    """The loop with one deployment, whose answers are scripted."""
    return Stage()
