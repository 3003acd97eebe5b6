"""Asks the providers of ejected deployments for their lists of models, which is free: an answer ends the wait early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from adapters.types import HttpRequest, Operation
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.resolve import operation_url
from gateway.credentials.sign import signed
from gateway.registry.adapters import paths_of
from gateway.routing.deployment import Deployment
from gateway.transport.base import TransportError
from gateway.transport.control import ControlClient

ANSWER_SECONDS: Final = 5.0
MOST: Final = 100
"""Deployments that are asked; more come back by themselves."""


class Prober:
    """Asks while something is ejected, and sleeps otherwise."""

    def __init__(self, client: ControlClient, *, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._ejected: dict[tuple[str, str], Deployment] = {}
        self._wake = asyncio.Event()

    def ejected(self, deployment: Deployment) -> None:
        """Notes that a deployment was ejected."""
        if len(self._ejected) < MOST:
            self._ejected[deployment.id, deployment.target.base_url] = deployment
            self._wake.set()

    async def run(self, every_seconds: float) -> None:
        """Asks every so many seconds, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(every_seconds)
            self._ejected = {name: each for name, each in self._ejected.items() if self._is_out(each)}
            places: dict[str, list[Deployment]] = {}
            for (_, base_url), deployment in self._ejected.items():
                places.setdefault(base_url, []).append(deployment)
            await asyncio.gather(*map(self._probe, places.values()))
            if not self._ejected:
                self._wake.clear()

    def _is_out(self, deployment: Deployment) -> bool:
        """True while it gets no requests; after that the next request sees for itself."""
        until = deployment.vitals.ejected_until
        return until is not None and self._clock() < until

    async def _probe(self, deployments: Sequence[Deployment]) -> None:
        """Asks one place, for all deployments there."""
        if await self._answers(deployments[0]):
            for deployment in deployments:
                deployment.vitals.probed()

    async def _answers(self, deployment: Deployment) -> bool:
        """Returns whether a server is there that does not fail; what it makes of the key is not asked here."""
        spec, base_url = deployment.key_ring.spec, deployment.target.base_url
        paths = paths_of(spec)
        try:
            if Operation.MODELS in paths:
                request = HttpRequest("GET", operation_url(paths, base_url, Operation.MODELS), spec.headers)
                request = signed(request, await deployment.key_ring.sign(request))
            else:
                parts = urlsplit(base_url)
                request = HttpRequest("GET", f"{parts.scheme}://{parts.netloc}/", ())
            reply = await self._client.get(request.url, headers=request.headers, timeout_seconds=ANSWER_SECONDS)
        except (TransportError, CredentialUnavailable):
            return False
        return reply.status < 500
