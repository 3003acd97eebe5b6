"""The batch API of one provider as we call it: what is certain to have happened, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf
from typing import Final

from adapters.batches import Answered, Item, Standing
from adapters.errors import Malformed
from adapters.types import HttpRequest, Operation
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.keyring import Key
from gateway.credentials.sign import signed
from gateway.registry.adapters import BATCHES
from gateway.routing.deployment import Deployment
from gateway.runtime import Runtime
from gateway.transport.base import MAX_RESPONSE_BYTES, Timeouts, TransportError

CALL_SECONDS: Final = 60.0
"""One call, from beginning to end."""
_TIMES: Final = Timeouts(connect=10, pool=10, head=inf, idle=inf)
_EARLY_SECONDS: Final = 300.0
"""How much the provider's clock may be behind ours."""
_MOST_SAID: Final = 300
_MISSING: Final = 404


class ProviderRefused(Exception):
    """The provider did not do it, and will not without being asked again."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ProviderUnclear(Exception):
    """Nobody knows whether the provider did it."""


class ProviderBatches:
    """The batches of one credential of a deployment."""

    def __init__(self, runtime: Runtime, deployment: Deployment, key: Key) -> None:
        self._runtime = runtime
        self._deployment = deployment
        self._key = key
        self._protocol = BATCHES[deployment.adapter.protocol]

    async def upload(self, operation: Operation, items: Sequence[Item], name: str) -> bytes:
        """Sends what comes before a batch; nothing is begun by that. Raises ProviderRefused."""
        target = self._deployment.target
        request = await asyncio.to_thread(self._protocol.upload, target, operation, items, name)
        if request is None:
            return b""
        try:
            return await self._asked(request)
        except ProviderUnclear as unclear:
            raise ProviderRefused(str(unclear)) from None

    async def submit(self, operation: Operation, items: Sequence[Item], name: str, uploaded: bytes) -> Standing:
        """Begins a batch; raises ProviderRefused if it is certain that none has begun, else ProviderUnclear."""
        try:
            target = self._deployment.target
            request = await asyncio.to_thread(self._protocol.submit, target, operation, items, name, uploaded)
        except Malformed as error:
            raise ProviderRefused(error.message) from None
        return self._standing(await self._asked(request))

    async def look(self, id: str) -> Standing | None:
        """Returns how it stands, None if the provider knows of no such batch."""
        try:
            return self._standing(await self._asked(self._protocol.look(self._deployment.target, id)))
        except ProviderRefused as refused:
            if refused.status == _MISSING:
                return None
            raise

    async def cancel(self, id: str) -> None:
        """Asks for its end."""
        await self._asked(self._protocol.cancel(self._deployment.target, id))

    async def find(self, name: str, count: int, since: float) -> Standing | None:
        """Returns a batch that was begun since, and whose beginning was not answered; None if there is none.

        Raises ProviderUnclear while it cannot be told.
        """
        body = await self._asked(self._protocol.find(self._deployment.target))
        try:
            found = [each for each in self._protocol.found(body) if each.created >= since - _EARLY_SECONDS]
        except Malformed as error:
            raise ProviderUnclear(error.message) from None
        if self._protocol.has_names:
            return next((each for each in found if each.name == name), None)
        alike = [each for each in found if each.count == count]
        for each in alike:
            if each.is_over and any(answer.id.startswith(name) for answer in await self.answers(each)):
                return each
        if not all(each.is_over for each in alike):
            raise ProviderUnclear("a batch as long as ours is at work there; its answers will say whether it is ours")
        return None

    async def answers(self, standing: Standing, ids: Sequence[str] = ()) -> list[Answered]:
        """Returns what became of its requests; `ids` are those of all of them in their order, if that is known."""
        found: list[Answered] = []
        for request in self._protocol.results(self._deployment.target, standing):
            body = await self._asked(request)
            try:
                found += await asyncio.to_thread(self._read, body, ids)
            except Malformed as error:
                raise ProviderUnclear(error.message) from None
        return found

    def _read(self, body: bytes, ids: Sequence[str]) -> list[Answered]:
        return list(self._protocol.answers(body, ids))

    def _standing(self, body: bytes) -> Standing:
        try:
            return self._protocol.standing(body)
        except Malformed as error:
            raise ProviderUnclear(error.message) from None

    async def _asked(self, request: HttpRequest) -> bytes:
        """Returns the body of an answer that is one."""
        ring = self._deployment.key_ring
        try:
            async with asyncio.timeout(CALL_SECONDS):
                headers = ring.headers(self._key) if ring.is_static else await ring.sign(request, self._key)
                # Never a connection that was used before: one that dies says nothing of what has arrived.
                response = await self._runtime.transport.send(signed(request, headers), _TIMES, fresh=True)
                try:
                    body = await response.read(MAX_RESPONSE_BYTES)
                finally:
                    response.release()
        except CredentialUnavailable as error:
            raise ProviderRefused(error.message) from None
        except TransportError as error:
            kind = ProviderRefused if error.is_unsent else ProviderUnclear
            raise kind(f"{error.fault}: {error.message}") from None
        except TimeoutError:
            raise ProviderUnclear(f"no whole answer within {CALL_SECONDS:g} s") from None
        status = response.head.status
        if 200 <= status < 300:
            return body
        failure = self._deployment.adapter.failure(self._deployment.target, response.head, body)
        said = self._runtime.scrubber.text(f"{status}: {failure.message}")[:_MOST_SAID]
        if 400 <= status < 500:
            raise ProviderRefused(said, status)
        raise ProviderUnclear(said)
