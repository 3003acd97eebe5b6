"""The batch API of one provider as we call it: what is certain to have happened, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from adapters.batches import Answered, Item, Standing
from adapters.errors import Malformed
from adapters.types import Head, HttpRequest, Operation
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.keyring import Key
from gateway.credentials.sign import signed
from gateway.registry.adapters import BATCHES
from gateway.routing.deployment import Deployment
from gateway.runtime import Runtime
from gateway.transport.base import MAX_RESPONSE_BYTES, Timeouts, TransportError, UpstreamResponse

CALL_SECONDS: Final = 60.0
"""One call, from beginning to end."""
_TIMES: Final = Timeouts(connect=10, pool=10, head=CALL_SECONDS, idle=CALL_SECONDS)
_PART_BYTES: Final = 4 * 1024 * 1024
"""Of answers that stand in lines, at once."""
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
            if each.is_over and await self._is_of(each, name):
                return each
        if not all(each.is_over for each in alike):
            raise ProviderUnclear("a batch as long as ours is at work there; its answers will say whether it is ours")
        return None

    async def answers(self, standing: Standing, ids: Sequence[str] = ()) -> AsyncGenerator[list[Answered]]:
        """Gives what became of its requests, some at a time: all of them may be more than fits in memory.

        `ids` are those of all of them in their order, if that is known.
        """
        for request in self._protocol.results(self._deployment.target, standing):
            async with aclosing(self._parts(request)) as parts:
                async for part in parts:
                    try:
                        found = await asyncio.to_thread(self._read, part, ids)
                    except Malformed as error:
                        raise ProviderUnclear(error.message) from None
                    yield found

    async def _is_of(self, standing: Standing, name: str) -> bool:
        """Says whether the answers are to requests of a consignment."""
        async with aclosing(self.answers(standing)) as parts:
            async for answers in parts:
                if answers:
                    return any(answer.id.startswith(name) for answer in answers)
        return False

    def _read(self, body: bytes, ids: Sequence[str]) -> list[Answered]:
        return list(self._protocol.answers(body, ids))

    async def _parts(self, request: HttpRequest) -> AsyncGenerator[bytes]:
        """Gives answers that stand in lines as they come, whole lines at a time; all others in one."""
        if not self._protocol.has_lines:
            yield await self._asked(request)
            return
        async with self._answer(request) as response:
            pieces: list[bytes] = []
            length = 0
            while piece := await response.next():
                pieces.append(piece)
                length += len(piece)
                if length < _PART_BYTES or b"\n" not in piece:
                    if length > MAX_RESPONSE_BYTES:
                        raise ProviderUnclear(f"a line of its answers has more than {MAX_RESPONSE_BYTES} bytes")
                    continue
                whole, _, rest = b"".join(pieces).rpartition(b"\n")
                pieces, length = [rest], len(rest)
                yield whole
            yield b"".join(pieces)

    def _standing(self, body: bytes) -> Standing:
        try:
            return self._protocol.standing(body)
        except Malformed as error:
            raise ProviderUnclear(error.message) from None

    async def _asked(self, request: HttpRequest) -> bytes:
        """Returns the body of an answer that is one."""
        try:
            async with asyncio.timeout(CALL_SECONDS), self._answer(request) as response:
                return await response.read(MAX_RESPONSE_BYTES)
        except TimeoutError:
            raise ProviderUnclear(f"no whole answer within {CALL_SECONDS:g} s") from None

    @asynccontextmanager
    async def _answer(self, request: HttpRequest) -> AsyncGenerator[UpstreamResponse]:
        """Gives an answer that is one, while it is entered."""
        ring = self._deployment.key_ring
        try:
            headers = ring.headers(self._key) if ring.is_static else await ring.sign(request, self._key)
            # Never a connection that was used before: one that dies says nothing of what has arrived.
            response = await self._runtime.transport.send(signed(request, headers), _TIMES, fresh=True)
            try:
                if not 200 <= response.head.status < 300:
                    raise self._refusal(response.head, await response.read(MAX_RESPONSE_BYTES))
                yield response
            finally:
                response.release()
        except CredentialUnavailable as error:
            raise ProviderRefused(error.message) from None
        except TransportError as error:
            kind = ProviderRefused if error.is_unsent else ProviderUnclear
            raise kind(f"{error.fault}: {error.message}") from None

    def _refusal(self, head: Head, body: bytes) -> ProviderRefused | ProviderUnclear:
        failure = self._deployment.adapter.failure(self._deployment.target, head, body)
        said = self._runtime.scrubber.text(f"{head.status}: {failure.message}")[:_MOST_SAID]
        return ProviderRefused(said, head.status) if 400 <= head.status < 500 else ProviderUnclear(said)
