"""A request played by the real attempt loop against upstreams that only a script speaks for, in no time at all.

Theory. An explanation that had a loop of its own would one day disagree with the real one. So the executor itself runs,
with its surroundings replaced: the transport does what the script says; adapters write requests, but take an empty
success for an answer; and time is that of an event loop which, when nothing is left to do now, goes on to its next
timer instead of waiting. Pauses, deadlines and hedges come as they would, and no connection is ever made.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from msgspec import Struct

from adapters.chunks import completion, message, text_completion
from adapters.codec import decode, encode
from adapters.errors import UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.types import Adapter, Call, Head, HttpRequest, Operation, Reply, StreamDecoder, Target, Usage
from gateway.engine.attempt import Attempter
from gateway.engine.script import REFUSED, RESET, Mishap, Script
from gateway.routing.deployment import Deployment
from gateway.transport.base import Fault, Taker, Timeouts, TransportError, poured

MAX_BYTES: Final = 1024 * 1024
_OK: Final = Head(200)
_NONSENSE: Final = b"<html></html>"


class RehearsalLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only by its timers, all at once."""

    def __init__(self, now: float) -> None:
        """`now` is where its time begins, in monotonic seconds."""
        self._now = now
        super().__init__(_Leap(self._pass))

    def time(self) -> float:
        """Returns the time that it has come to."""
        return self._now

    def _pass(self, seconds: float) -> None:
        self._now += seconds


class _Leap(selectors.SelectSelector):
    """Instead of waiting for something to happen, says how long that would have been."""

    def __init__(self, passed: Callable[[float], None]) -> None:
        super().__init__()
        self._passed = passed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            if timeout is None:
                raise RuntimeError("the rehearsal waits for what will never come")
            self._passed(max(0.0, timeout))
        return found


class Sent(Struct, frozen=True):
    """One request as it would have gone out, authenticated with a placeholder."""

    deployment: Deployment
    request: HttpRequest


class Upstreams:
    """Every upstream of a rehearsal."""

    def __init__(self, script: Script) -> None:
        self.sent: list[Sent] = []
        self._script = script

    def attempter(self, clock: Callable[[], float]) -> Attempter:
        """Returns what makes the attempts."""
        return Attempter(transport_for=self._transport_for, max_response_bytes=MAX_BYTES, clock=clock)

    def _transport_for(self, deployment: Deployment) -> _Transport:
        return _Transport(self, deployment)

    async def send(self, deployment: Deployment, request: HttpRequest, timeouts: Timeouts) -> _Response:
        """Notes the request, and answers or fails as the script says."""
        mishap = self._script.get(len(self.sent))
        self.sent.append(Sent(deployment, request))
        if mishap is None:
            return _Response(_OK)
        return await _failed(mishap, timeouts)


class _Transport:
    """One upstream (transport.base.Transport)."""

    def __init__(self, upstreams: Upstreams, deployment: Deployment) -> None:
        self._upstreams = upstreams
        self._deployment = deployment

    async def send(self, request: HttpRequest, timeouts: Timeouts, *, fresh: bool = False) -> _Response:
        return await self._upstreams.send(self._deployment, request, timeouts)

    async def aclose(self) -> None:
        return


async def _failed(mishap: Mishap, timeouts: Timeouts) -> _Response:
    """Returns the response that means the mishap, or raises the network's trouble that it is."""
    if mishap.status is not None:
        wait = {} if mishap.retry_after is None else {"retry-after": f"{mishap.retry_after:g}"}
        return _Response(Head(mishap.status, wait))
    match mishap.word:
        case FailureKind.TIMEOUT:
            await asyncio.sleep(timeouts.head)
            text = f"no response head within {timeouts.head:g} s"
            raise TransportError(Fault.TIMEOUT, text, setting=timeouts.head_setting)
        case _ if mishap.word in (REFUSED, FailureKind.CONNECT):
            raise TransportError(Fault.CONNECT, "the connection was refused, as told", is_unsent=True)
        case _ if mishap.word == RESET:
            raise TransportError(Fault.DISCONNECTED, "the connection was reset, as told")
        case FailureKind.MALFORMED:
            return _Response(_OK, body=_NONSENSE)
        case _:
            return _Response(_OK, failure=mishap.failure())


class _Response:
    """A head, and a body that is short, or turns out to be a failure (transport.base.UpstreamResponse)."""

    def __init__(self, head: Head, *, body: bytes = b"", failure: Failure | None = None) -> None:
        self.head = head
        self.is_complete = True
        self._body = body
        self._failure = failure

    async def next(self) -> bytes:
        if self._failure is not None:
            raise UpstreamSaid(self._failure)
        body, self._body = self._body, b""
        return body

    async def pour(self, take: Taker) -> bool:
        return await poured(self.next, take)

    async def read(self, limit: int = MAX_BYTES) -> bytes:
        return await self.next()

    def expect_within(self, seconds: float, setting: str) -> None:
        return

    def release(self) -> None:
        return


class _Decoder:
    """Takes a stream without a body for a good one; any other is the real decoder's to judge (StreamDecoder)."""

    usage: Usage | None = None
    model: str | None = None
    finish: str | None = None

    def __init__(self, real: StreamDecoder) -> None:
        self.has_content = self.is_done = False
        self.failure: Failure | None = None
        self._real = real
        self._has_body = False

    def feed(self, data: bytes) -> bytes:
        self._has_body = True
        return self._judged(self._real.feed(data))

    def close(self) -> bytes:
        if self._has_body:
            return self._judged(self._real.close())
        self.has_content = self.is_done = True
        return b""

    def _judged(self, out: bytes) -> bytes:
        real = self._real
        self.has_content, self.is_done, self.failure = real.has_content, real.is_done, real.failure
        return out


class Understudy:
    """An adapter that writes and judges as the real one does, but takes an empty success for an answer."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def reply(self, call: Call, target: Target, head: Head, body: bytes) -> Reply:
        """Returns an answer that says nothing; raises what the real one says of a body that is none."""
        if body:
            return self._adapter.reply(call, target, head, body)
        match call.operation:
            case Operation.CHAT:
                return completion(call, model=target.model, choices=[(message(""), "stop")], usage=None)
            case Operation.COMPLETIONS:
                return text_completion(call, model=target.model, choices=[("", "stop", None)], usage=None)
            case Operation.EMBEDDINGS:
                return Reply(encode({"data": [{"index": place} for place in range(_inputs(call))]}))
            case _:
                return Reply(b"{}")

    def stream(self, call: Call, target: Target, head: Head) -> _Decoder:
        """Returns a decoder that wants to hear nothing."""
        return _Decoder(self._adapter.stream(call, target, head))


def rehearsing(deployment: Deployment) -> Deployment:
    """Returns a deployment that a rehearsal can call."""
    return replace(deployment, adapter=cast(Adapter, Understudy(deployment.adapter)))


def _inputs(call: Call) -> int:
    found: Any = decode(call.fields["input"])
    many = cast("Sequence[object]", found) if isinstance(found, list) else ()
    return 1 if not many or isinstance(many[0], int | float) else len(many)
