"""Options of the whole suite, and the profiles of the property tests; `make fuzz` takes the long one."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# No deadline for one example: a busy machine is not a failure.
settings.register_profile("short", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("short")
settings.register_profile("long", max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what the adapters give now into tests/adapters/golden"
    )
