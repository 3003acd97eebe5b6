"""The batch API of one provider as we call it: what is certain to have happened, and what is not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

from msgspec.structs import replace

from adapters.batches import Answered, Item, Standing
from adapters.errors import Malformed
from adapters.framing import FramingError, Splitter
from adapters.framing.elements import ElementSplitter
from adapters.framing.ndjson import LineSplitter
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
"""Of answers, at once."""
_EARLY_SECONDS: Final = 300.0
"""How much the provider's clock may be behind ours."""
_MOST_PAGES: Final = 50
"""Of a list of batches; a page has a hundred."""
_MOST_SAID: Final = 300
_MISSING: Final = 404
_CLEARING_SECONDS: Final = 15.0
"""For all that is left at the provider: the batch waits for it."""
_CLEARING_PAUSES: Final = (1.0, 3.0, 0.0)
"""After each try."""
_log = logging.getLogger("anyport.batches")


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

    @property
    def name(self) -> str:
        """The deployment's."""
        return self._deployment.id

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
            return self._standing(await self._outline(self._protocol.look(self._deployment.target, id)))
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
        found = await self._begun_since(since - _EARLY_SECONDS)
        if self._protocol.has_names:
            return next((each for each in found if each.name == name), None)
        alike = [each for each in found if each.count == count]
        for each in alike:
            if each.is_over and await self._is_of(each, name):
                return each
        if not all(each.is_over for each in alike):
            raise ProviderUnclear("a batch as long as ours is at work there; its answers will say whether it is ours")
        return None

    async def _begun_since(self, since: float) -> Sequence[Standing]:
        """Returns all batches that were begun since, page by page: an account may have had many others meanwhile."""
        found: list[Standing] = []
        page = ""
        for _ in range(_MOST_PAGES):
            body = await self._outline(self._protocol.find(self._deployment.target, page))
            try:
                listed, page = self._protocol.found(body), self._protocol.next_page(body)
            except Malformed as error:
                raise ProviderUnclear(error.message) from None
            found += [each for each in listed if each.created >= since]
            if not page or (listed and all(each.created < since for each in listed)):  # the newest come first
                return found
        raise ProviderUnclear(f"there are more than {len(found)} batches there that are newer than ours may be")

    async def answers(self, standing: Standing, ids: Sequence[str] = ()) -> AsyncGenerator[list[Answered]]:
        """Gives what became of its requests, some at a time: all of them may be more than fits in memory.

        `ids` are those of all of them in their order, if that is known; answers that do not say whose they are come
        last then, if there is one for each.
        """
        count = held_bytes = 0
        nameless: list[tuple[int, Answered]] = []
        for request in self._protocol.results(self._deployment.target, standing):
            splitter: Splitter[bytes] = LineSplitter(MAX_RESPONSE_BYTES)
            if self._protocol.answers_in:
                splitter = ElementSplitter(self._protocol.answers_in, MAX_RESPONSE_BYTES)
            async with aclosing(self._cut(request, splitter)) as parts:
                async for texts in parts:
                    found = await self._read(texts)
                    for number, each in enumerate(found, count):
                        if not each.id and number < len(ids):  # of more there is no order that could be known
                            nameless.append((number, each))
                            held_bytes += len(each.body)
                    if held_bytes > MAX_RESPONSE_BYTES:
                        raise ProviderUnclear(
                            "its answers do not say whose they are, and are too long to be put in order"
                        )
                    count += len(found)
                    yield [each for each in found if each.id]
        if nameless and count == len(ids):
            yield [replace(each, id=ids[number]) for number, each in nameless]

    async def withdraw(self, uploaded: bytes) -> None:
        """Takes an upload away of which no batch was begun."""
        if not uploaded:
            return
        try:
            requests = self._protocol.withdrawal(self._deployment.target, uploaded)
        except Malformed:  # it was never said what it is called
            return
        await self._clear(requests)

    async def clear(self, standing: Standing) -> None:
        """Takes away what a batch that is over leaves there."""
        await self._clear(self._protocol.clearing(self._deployment.target, standing))

    async def _clear(self, requests: Sequence[HttpRequest]) -> None:
        """Sends what takes something away, some times if need be; it is not worth more than a word in the log."""
        try:
            async with asyncio.timeout(_CLEARING_SECONDS):
                await asyncio.gather(*(self._send_until_done(request) for request in requests))
        except TimeoutError:
            _log.debug("%s still has files of a batch: no answer in time", self._deployment.id)

    async def _send_until_done(self, request: HttpRequest) -> None:
        said = ""
        for pause in _CLEARING_PAUSES:
            try:
                await self._asked(request)
                return
            except (ProviderRefused, ProviderUnclear) as error:
                if isinstance(error, ProviderRefused) and error.status == _MISSING:
                    return
                said = str(error)
            await asyncio.sleep(pause)
        _log.debug("%s still has a file of a batch: %s", self._deployment.id, said)

    async def _is_of(self, standing: Standing, name: str) -> bool:
        """Says whether the answers are to requests of a consignment."""
        async with aclosing(self.answers(standing)) as parts:
            async for answers in parts:
                if answers:
                    return any(answer.id.startswith(name) for answer in answers)
        return False

    async def _read(self, texts: Sequence[bytes]) -> list[Answered]:
        def run() -> list[Answered]:
            return [self._protocol.answered(text) for text in texts]

        try:
            return await asyncio.to_thread(run)
        except Malformed as error:
            raise ProviderUnclear(error.message) from None

    async def _outline(self, request: HttpRequest) -> bytes:
        """Returns the body of an answer without the answers of batches that are in it."""
        if not self._protocol.answers_in:
            return await self._asked(request)
        splitter = ElementSplitter(self._protocol.answers_in, MAX_RESPONSE_BYTES)
        async with aclosing(self._cut(request, splitter)) as parts:
            async for _ in parts:
                pass
        return splitter.rest

    async def _cut(self, request: HttpRequest, splitter: Splitter[bytes]) -> AsyncGenerator[Sequence[bytes]]:
        """Gives the pieces of an answer's body as they come."""
        try:
            async with self._answer(request) as response:
                pieces: list[bytes] = []
                length = 0
                while piece := await response.next():
                    pieces.append(piece)
                    length += len(piece)
                    if length >= _PART_BYTES:
                        yield await asyncio.to_thread(splitter.feed, b"".join(pieces))
                        pieces, length = [], 0
                yield await asyncio.to_thread(splitter.feed, b"".join(pieces))
                yield splitter.close()
        except FramingError as error:
            raise ProviderUnclear(error.message) from None

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
