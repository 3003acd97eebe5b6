"""What an account is asked before its first request: by the first one that needs it, once, and remembered."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from adapters.errors import Malformed
from adapters.failures import Failure, FailureKind, describe_bytes
from adapters.types import Headers, HttpRequest, Prelude
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.renewed import CALL_SECONDS, Clock, Lease, Renewed
from gateway.credentials.scrub import Scrubber
from gateway.credentials.sign import Signer, signed
from gateway.transport.base import TransportError
from gateway.transport.control import ControlClient, ControlReply


@dataclass(slots=True)
class Asked:
    """Completes requests by what their account says."""

    provider: str
    prelude: Prelude
    question: HttpRequest
    signer: Signer
    client: Callable[[], ControlClient]
    clock: Clock
    _answer: Renewed[str] = field(init=False)

    def __post_init__(self) -> None:
        self._answer = Renewed(self._ask, self.clock)

    async def completed(self, request: HttpRequest) -> HttpRequest:
        """Returns a request as its account wants it; waits only until that is known; raises `CredentialUnavailable`."""
        return self.prelude.completed(request, await self._answer.get())

    async def _ask(self, _refused: str | None) -> Lease[str]:
        host = urlsplit(self.question.url).netloc
        try:
            reply = await self._reply()
            if reply.status != 200:
                said = describe_bytes(reply.body).message or "no reason is given"
                raise Malformed(f"it answered HTTP {reply.status}: {said}")
            return Lease(self.prelude.answer(reply.body), (), math.inf, math.inf)
        except (TransportError, Malformed) as error:
            said = Scrubber(self.signer.secrets).text(error.message)
            option = self.prelude.option
            remedy = f"set providers.{self.provider}.options.{option}, or {self.prelude.remedy}"
            raise CredentialUnavailable(f"{self.provider}: {host} names no {option}: {said}; {remedy}") from None

    async def _reply(self) -> ControlReply:
        """Returns the answer, the one to another token where the first one is refused."""
        headers, reply = await self._sent()
        if self.signer.refused(headers, Failure(FailureKind.AUTH, "", status=reply.status)):
            _, reply = await self._sent()
        return reply

    async def _sent(self) -> tuple[Headers, ControlReply]:
        headers = await self.signer.sign(self.question)
        return headers, await self.client().send(signed(self.question, headers), timeout_seconds=CALL_SECONDS)
