"""Every network test runs on asyncio's own event loop and on uvloop, which differ in how connections end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import trustme
import uvloop

from gateway.transport.base import Transport
from tests.transport.contract import KNOWN_FAILURES, make


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["builtin", "stock"])
def kind(request: pytest.FixtureRequest) -> str:
    name = re.sub(r"\[(asyncio|uvloop)-stock\]", "", request.node.name)
    name = re.sub(r"\[(asyncio|uvloop)-stock-", "[", name)
    if request.param == "stock" and name in KNOWN_FAILURES:
        request.applymarker(pytest.mark.xfail(reason=KNOWN_FAILURES[name], strict=True))
    return request.param


@pytest.fixture
async def transport(kind: str) -> AsyncIterator[Transport]:
    made = make(kind)
    yield made
    await made.aclose()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()
