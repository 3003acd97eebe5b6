"""The attempt loop: the only place that calls an upstream for a request.

The loop has no opinion. The planner says what to try, the adapter speaks the protocol, the transport does the I/O;
a failed attempt is a value that goes back to the planner. What comes out is an answer of which not one byte has been
sent to the client yet, so that everything before can still become an honest HTTP error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.types import MAX_EVENT_BYTES, Call, Head, Headers, HttpRequest, Reply, StreamDecoder
from gateway.credentials.scrub import Scrubber
from gateway.domain import Attempt, Outcome
from gateway.engine.verdict import client_error, passed_on
from gateway.errors import UnsupportedParameter, UpstreamError
from gateway.resilience.planner import AttemptPlanner, GiveUp, past_deadline
from gateway.routing.deployment import Deployment, Plan
from gateway.transport.base import Fault, Timeouts, Transport, TransportError, UpstreamResponse

_MAX_ERROR_BYTES = 1024 * 1024
_REFUSAL_SECONDS = 5.0
"""How long the body of a refusal is waited for: its status is known already."""
_MAX_CODE_CHARS = 100
_MAX_HELD_BYTES = MAX_EVENT_BYTES
"""What may come before the first content of a stream: role, comments, empty deltas."""
Clock = Callable[[], float]
"""Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much: of one attempt by kind, `total` seconds of all of them, bytes of one answer."""

    stream: Timeouts
    answer: Timeouts
    total: float
    max_response_bytes: int


@dataclass(slots=True)
class Answer:
    """A whole JSON answer."""

    deployment: Deployment
    head: Head
    reply: Reply


@dataclass(slots=True)
class Stream:
    """A stream whose first content has arrived: `first` is ready to be sent, the rest comes from `response`."""

    deployment: Deployment
    response: UpstreamResponse
    decoder: StreamDecoder
    first: bytes
    deadline: float


class _Failed(Exception):
    def __init__(self, failure: Failure, *, is_replayable: bool = False, passed: Headers = ()) -> None:
        self.failure = failure
        self.passed = passed
        self.is_replayable = is_replayable


class Executor:
    """Runs calls against plans; one for all requests of a runtime."""

    def __init__(
        self,
        *,
        transport_for: Callable[[Deployment], Transport],
        limits: Limits,
        clock: Clock,
        scrubber: Scrubber,
    ) -> None:
        self._transport_for = transport_for
        self._limits = limits
        self._clock = clock
        self._scrubber = scrubber

    async def run(self, call: Call, plan: Plan, outcome: Outcome) -> Answer | Stream:
        """Returns an answer that is not begun yet; raises GatewayError. `outcome` records every attempt."""
        started = self._clock()
        deadline = started + self._limits.total
        planner = AttemptPlanner(plan.candidates[0], deadline)
        passed: Headers = ()
        while True:
            step = planner.next(self._clock())
            if isinstance(step, GiveUp):
                raise self.client_error(step.failure, outcome.deployment or plan.model, passed)
            attempt = self._begin(step.deployment, outcome)
            try:
                return await self._attempt(call, step.deployment, attempt, outcome, deadline, fresh=step.fresh)
            except _Failed as failed:
                attempt.failure, passed = failed.failure, failed.passed
                if failed.failure.kind is FailureKind.TIMEOUT and failed.failure.setting and self._clock() >= deadline:
                    attempt.failure = past_deadline()  # the whole cut the phase short
                planner.record(attempt.failure, is_replayable=failed.is_replayable)
            finally:
                attempt.ended = self._clock()
                outcome.upstream_seconds += attempt.ended - attempt.started

    def client_error(self, failure: Failure, deployment: str, passed: Headers = ()) -> UpstreamError:
        """Returns what the client hears of a failure, scrubbed."""
        scrub = self._scrubber.text
        code = scrub(failure.code, _MAX_CODE_CHARS) if failure.code else None
        param = scrub(failure.param, _MAX_CODE_CHARS) if failure.param else None
        said = replace(failure, code=code, param=param)
        return client_error(said, deployment=deployment, message=scrub(failure.message), passed=passed)

    def _begin(self, deployment: Deployment, outcome: Outcome) -> Attempt:
        attempt = Attempt(number=len(outcome.attempts) + 1, deployment=deployment.id, started=self._clock())
        outcome.attempts.append(attempt)
        outcome.deployment = deployment.id
        outcome.provider = deployment.provider
        return attempt

    async def _attempt(
        self,
        call: Call,
        deployment: Deployment,
        attempt: Attempt,
        outcome: Outcome,
        deadline: float,
        *,
        fresh: bool,
    ) -> Answer | Stream:
        request = self._request(call, deployment, outcome)
        try:
            response = await self._transport_for(deployment).send(request, self._timeouts(call, deadline), fresh=fresh)
        except TransportError as error:
            raise _Failed(from_transport(error), is_replayable=error.replayable) from None
        attempt.first_byte = self._clock()
        is_handed_over = False
        try:
            head = response.head
            if not 200 <= head.status < 300:
                raise _Failed(await self._refusal(deployment, response, deadline), passed=passed_on(head))
            if call.stream:
                stream = await self._first_content(call, deployment, response, deadline, outcome)
                is_handed_over = True
                return stream
            body = await self._body(response, self._limits.max_response_bytes, deadline)
            return Answer(deployment, head, deployment.adapter.reply(call, deployment.target, head, body))
        except TransportError as error:
            raise _Failed(from_transport(error)) from None
        except UpstreamSaid as said:
            raise _Failed(said.failure) from None
        except Malformed as error:
            raise _Failed(Failure(FailureKind.MALFORMED, error.message, code=error.code)) from None
        finally:
            if not is_handed_over:
                response.release()

    def _request(self, call: Call, deployment: Deployment, outcome: Outcome) -> HttpRequest:
        try:
            request = deployment.adapter.request(call, deployment.target)
        except Unsupported as error:
            raise UnsupportedParameter(error.message, param=error.param) from None
        outcome.dropped = request.dropped
        signature: Headers = deployment.key_ring.headers()
        return HttpRequest(request.method, request.url, request.headers + signature, request.body)

    def _timeouts(self, call: Call, deadline: float) -> Timeouts:
        timeouts = self._limits.stream if call.stream else self._limits.answer
        left = deadline - self._clock()
        if left >= max(timeouts.head, timeouts.idle):
            return timeouts
        left = max(left, 0.001)
        return replace(timeouts, head=min(timeouts.head, left), idle=min(timeouts.idle, left))

    async def _body(self, response: UpstreamResponse, limit: int, deadline: float) -> bytes:
        """Reads a whole body; bytes that trickle in keep the idle timeout away, but not this deadline."""
        pieces: list[bytes] = []
        left = limit
        while piece := await response.next():
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                raise TransportError(
                    Fault.TOO_LARGE, "the upstream's answer is too long", setting="upstream.max_response_bytes"
                )
            if self._clock() >= deadline:
                raise _Failed(past_deadline())
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _refusal(self, deployment: Deployment, response: UpstreamResponse, deadline: float) -> Failure:
        head = response.head
        if 300 <= head.status < 400:
            return Failure(
                FailureKind.MALFORMED,
                f"the upstream answered with a redirect ({head.status}), which is never followed",
                status=head.status,
                code="upstream_redirect",
            )
        try:
            async with asyncio.timeout(_REFUSAL_SECONDS):
                body = await self._body(response, _MAX_ERROR_BYTES, deadline)
        except (TransportError, TimeoutError, _Failed):
            body = b""
        return deployment.adapter.failure(deployment.target, head, body)

    async def _first_content(
        self, call: Call, deployment: Deployment, response: UpstreamResponse, deadline: float, outcome: Outcome
    ) -> Stream:
        """Reads until something that a client would miss has come; until then nothing is committed."""
        decoder = deployment.adapter.stream(call, deployment.target, response.head)
        held: list[bytes] = []
        left = _MAX_HELD_BYTES
        while not (decoder.has_content or decoder.is_done):
            data = await response.next()
            out = decoder.feed(data) if data else decoder.close()
            held.append(out)
            left -= len(out)
            if decoder.failure is not None and not decoder.has_content:
                outcome.usage = decoder.usage
                raise _Failed(decoder.failure)
            if left < 0 and not decoder.has_content:
                raise TransportError(Fault.TOO_LARGE, f"no content in the first {_MAX_HELD_BYTES} bytes of the stream")
            if self._clock() >= deadline:
                raise TransportError(
                    Fault.TIMEOUT, "no content within upstream.total_seconds", setting="upstream.total_seconds"
                )
        return Stream(deployment, response, decoder, b"".join(held), deadline)


_KINDS = {
    Fault.CONNECT: (FailureKind.CONNECT, "upstream_connection_error"),
    Fault.DNS: (FailureKind.CONNECT, "upstream_dns_error"),
    Fault.TLS: (FailureKind.CONNECT, "upstream_tls_error"),
    Fault.POOL: (FailureKind.CONNECT, "overloaded"),
    Fault.TIMEOUT: (FailureKind.TIMEOUT, "upstream_timeout"),
    Fault.DISCONNECTED: (FailureKind.CONNECT, "upstream_disconnected"),
    Fault.PROTOCOL: (FailureKind.MALFORMED, "upstream_invalid_response"),
    Fault.TOO_LARGE: (FailureKind.MALFORMED, "upstream_invalid_response"),
}


def from_transport(error: TransportError) -> Failure:
    """Returns the failure that the network's trouble means."""
    kind, code = _KINDS[error.fault]
    message = error.message
    if error.setting and error.setting not in message:
        message = f"{message} ({error.setting})"
    retry_after = 1.0 if error.fault is Fault.POOL else None
    return Failure(kind, message, code=code, setting=error.setting, retry_after=retry_after)
