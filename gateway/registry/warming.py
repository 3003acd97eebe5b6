"""Connections that are open before the first request wants one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from adapters.types import HttpRequest, Operation
from gateway.credentials.resolve import operation_url
from gateway.domain import ProviderSpec
from gateway.registry.adapters import paths_of
from gateway.transport.base import Timeouts, Transport, TransportError

MOST: Final = 100
"""Places that are knocked at; connections to more are opened when they are needed."""


async def warm(transport: Transport, places: Iterable[tuple[ProviderSpec, str]], seconds: float) -> None:
    """Leaves an idle connection to each place (a base URL) in the pool; where that fails, the first request will tell.

    It asks for the list of models without a key, which costs nothing: many servers close a connection on which nothing
    is said, and the answer to a HEAD ends the connection.
    """
    urls: dict[str, str] = {}
    for spec, base_url in places:
        parts, paths = urlsplit(base_url), paths_of(spec)
        origin = f"{parts.scheme}://{parts.netloc}/"
        urls.setdefault(
            origin, operation_url(paths, base_url, Operation.MODELS) if Operation.MODELS in paths else origin
        )
    timeouts = Timeouts(connect=seconds, pool=seconds, head=seconds, idle=seconds)
    await asyncio.gather(*(_knock(transport, url, timeouts) for url in list(urls.values())[:MOST]))


async def _knock(transport: Transport, url: str, timeouts: Timeouts) -> None:
    try:
        response = await transport.send(HttpRequest("GET", url, ()), timeouts)
        try:
            await response.read()
        finally:
            response.release()
    except TransportError:
        return
