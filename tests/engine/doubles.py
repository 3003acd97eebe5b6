"""A transport that plays a script from memory, a clock that stands still, and what an executor needs besides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from adapters.openai import OpenAIAdapter
from adapters.types import Call, Head, HttpRequest, Operation
from gateway.credentials.keyring import KeyRing
from gateway.credentials.scrub import Scrubber
from gateway.credentials.sign import Signer
from gateway.domain import Outcome, ProviderSpec
from gateway.engine.attempt import Attempter
from gateway.engine.executor import Executor
from gateway.errors import UpstreamError
from gateway.http.api.inbound import read_call
from gateway.routing.deployment import Deployment, Limit, Waits
from gateway.routing.route import Plan, RetryPolicy, Route
from gateway.routing.route import Stage as RouteStage
from gateway.secret import Secret
from gateway.transport.base import Fault, Taker, Timeouts, TransportError, poured
from tests.adapters.recorded import target_of

SECRET = "sk-upstream-0123456789"
SPEC = ProviderSpec(id="p", display_name="P", protocol="openai", base_url="http://127.0.0.1:9/v1")


@dataclass(frozen=True, slots=True)
class Silence:
    """So many seconds in which an upstream sends nothing; the timeout that holds just then may end them."""

    seconds: float


Piece = bytes | Exception | asyncio.Event | float | Silence
"""What a body brings next: bytes, a fault (`TransportError`) or a bug, a wait, seconds that pass, or silence."""


@dataclass(slots=True)
class Clock:
    """Monotonic seconds that pass only when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def keep_still(self, silence: Silence, most: float, setting: str) -> None:
        """Lets the time pass, up to a timeout."""
        self.now += min(silence.seconds, most)
        if silence.seconds > most:
            raise TransportError(Fault.TIMEOUT, f"nothing came within {most:g} s", setting=setting)


@dataclass(slots=True)
class Response:
    """One scripted answer (gateway.transport.base.UpstreamResponse)."""

    head: Head
    pieces: list[Piece]
    clock: Clock
    releases: int = 0
    is_complete: bool = False
    expected: list[tuple[float, str]] = field(default_factory=list)
    """The timeout of the body and each `expect_within`: seconds and setting."""

    async def next(self) -> bytes:
        assert not self.releases, "read after release"
        while self.pieces:
            piece = self.pieces.pop(0)
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            elif isinstance(piece, float):
                self.clock.now += piece
            elif isinstance(piece, Silence):
                self.clock.keep_still(piece, *self.expected[-1])
            else:
                return piece
        self.is_complete = True
        return b""

    async def pour(self, take: Taker) -> bool:
        return await poured(self.next, take)

    def expect_within(self, seconds: float, setting: str) -> None:
        self.expected.append((seconds, setting))

    async def read(self, limit: int = 0) -> bytes:
        raise AssertionError("the executor reads bodies piece by piece, to keep its deadline")

    def release(self) -> None:
        self.releases += 1


@dataclass(slots=True)
class Late:
    """An answer whose head comes after a while: seconds, or an event."""

    after: Silence | asyncio.Event
    answer: Response | TransportError


Sent = Response | TransportError | asyncio.Event | Late
"""What a request is answered with: a response, a fault, nothing ever, or one of the first two after a while."""


@dataclass(slots=True)
class Script:
    """Answers, one per send; plays `Transport`."""

    answers: Sequence[Sent]
    clock: Clock
    sent: list[tuple[HttpRequest, Timeouts, bool]] = field(default_factory=list)

    async def send(self, request: HttpRequest, timeouts: Timeouts, *, fresh: bool = False) -> Response:
        answer = self.answers[len(self.sent)]
        self.sent.append((request, timeouts, fresh))
        if isinstance(answer, Late):
            if isinstance(answer.after, Silence):
                self.clock.keep_still(answer.after, timeouts.head, timeouts.head_setting)
            else:
                await answer.after.wait()
            answer = answer.answer
        if isinstance(answer, TransportError):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            raise AssertionError("nothing follows a wait")
        answer.expected.append((timeouts.idle, timeouts.idle_setting))
        return answer

    async def aclose(self) -> None:
        return


class Stage:
    """An executor with a scripted upstream, and the outcome of the one request that a test runs."""

    def __init__(
        self,
        *,
        total: float = 600.0,
        rules: dict[str, Any] | None = None,
        limit: int = 10_000,
        adapter: OpenAIAdapter | None = None,
        signer: Signer | None = None,
        is_strict: bool = False,
        retry: RetryPolicy | None = None,
    ) -> None:
        """With one attempt, unless `retry` says otherwise: these tests are about what one attempt does."""
        self.clock = Clock()
        self.script = Script((), self.clock)
        self.outcome = Outcome("req-1")
        stream = Timeouts(connect=5, pool=1, head=60, idle=30)
        self.deployment = Deployment(
            id="p/m",
            provider="p",
            target=target_of(rules=rules),
            adapter=adapter or OpenAIAdapter(),
            key_ring=KeyRing(SPEC, () if signer else (Secret(SECRET),), signer=signer),
            waits=Waits(stream=stream, answer=stream),
        )
        policy = retry or RetryPolicy(attempts=1)
        route = Route("p/m", (self.deployment,), total=Limit(total, "upstream.total_seconds"), retry=policy)
        self.plan = Plan("p/m", (RouteStage(route),), is_strict)
        self.executor = Executor(
            attempter=Attempter(
                transport_for=lambda deployment: self.script, max_response_bytes=limit, clock=self.clock
            ),
            max_response_bytes=limit,
            clock=self.clock,
            random=lambda: 0.5,
            scrubber=Scrubber([Secret(SECRET)]),
        )

    def response(self, *pieces: Piece, status: int = 200, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(Head(status, named), list(pieces), self.clock)

    async def run(self, *answers: Sent, **fields: Any) -> Any:
        return await self.play(call_of(**fields), *answers)

    async def play(self, call: Call, *answers: Sent) -> Any:
        self.script = Script(answers, self.clock)
        return await self.executor.run(call, self.plan, self.outcome)


def call_of(**fields: Any) -> Call:
    body = {"model": "p/m", "messages": [{"role": "user", "content": "x"}], **fields}
    return read_call(Operation.CHAT, json.dumps(body).encode(), id="chatcmpl-1", created=1)


def dead(fault: Fault = Fault.DISCONNECTED, *, replayable: bool = False, setting: str | None = None) -> TransportError:
    return TransportError(fault, "the connection died", replayable=replayable, setting=setting)


async def failed(stage: Stage, *answers: Any, **fields: Any) -> UpstreamError:
    """Returns the error that a request ends with."""
    with pytest.raises(UpstreamError) as refused:
        await stage.run(*answers, **fields)
    return refused.value


REPLY = {
    "id": "chatcmpl-u",
    "object": "chat.completion",
    "model": "up",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
BODY = json.dumps(REPLY).encode()


def event(delta: dict[str, Any], finish: str | None = None, **extra: Any) -> bytes:
    """Returns an event of a stream of one choice."""
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **extra}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


ROLE = event({"role": "assistant", "content": ""})
TEXT = event({"role": "assistant", "content": "hi"})
MORE = event({"content": "hi"})
PING = b": ping\n\n"
END = event({}, "stop") + b"data: [DONE]\n\n"
