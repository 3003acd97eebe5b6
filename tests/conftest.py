"""Options of the whole suite, and the profile for long runs of the property tests (`make fuzz`)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("long", max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what the adapters give now into tests/adapters/golden"
    )
