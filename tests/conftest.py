"""Options of the whole suite, and the profiles of the property tests; `make fuzz` takes the long one."""

from __future__ import annotations

import gc

import pytest
from hypothesis import HealthCheck, settings

# No deadline for one example: a busy machine is not a failure. The same examples each time: what is found by chance is
# for `make fuzz` to find, not for a change that has nothing to do with it.
settings.register_profile("short", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("short")
settings.register_profile("long", max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what the adapters give now into tests/adapters/golden"
    )


def pytest_collection() -> None:
    gc.disable()  # thousands of tests are made here, and none of them is garbage


def pytest_collection_finish() -> None:
    gc.freeze()  # nor will any be, however often their processes look
    gc.enable()
