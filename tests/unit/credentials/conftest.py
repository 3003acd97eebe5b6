"""The time of day and the token endpoint of tests of logins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .login_house import Clock
from .token_endpoint import TokenEndpoint, serving


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with serving(TokenEndpoint(extra={"status": "success", "refresh_token": "refresh-{}"})) as running:
        yield running
