"""One attempt: a request goes to one deployment, and what comes back is an answer, a stream, or a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from msgspec import Struct

from adapters.errors import Malformed, UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.gathered import gather_reply, is_stream
from adapters.types import MAX_EVENT_BYTES, WRITING, Call, Head, Headers, HttpRequest, Reply, Usage
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.keyring import Key
from gateway.credentials.learned import learn
from gateway.credentials.sign import signed
from gateway.domain import Attempt
from gateway.engine.answer import Answer, Deadline, Life, SingleStream
from gateway.engine.client_errors import passed_on
from gateway.engine.pace import Pace
from gateway.engine.trouble import from_transport, too_long
from gateway.resilience.verdicts import NO_CREDENTIAL
from gateway.routing.deployment import Deployment
from gateway.transport.base import Fault, Timeouts, Transport, TransportError, UpstreamResponse

_MAX_ERROR_BYTES: Final = 1024 * 1024
_REFUSAL_SECONDS: Final = 5.0
"""How long the body of a refusal is waited for: its status is known already."""
_MAX_HELD_BYTES: Final = MAX_EVENT_BYTES
"""What may come before the first content of a stream: role, comments, empty deltas."""
Clock = Callable[[], float]
"""Monotonic seconds."""


class AttemptFailed(Exception):
    """An attempt has failed, before anything of it could be sent to the client."""

    def __init__(
        self, failure: Failure, *, is_replayable: bool = False, passed: Headers = (), usage: Usage | None = None
    ) -> None:
        self.failure = failure
        self.passed = passed
        """The upstream's headers that are the client's business."""
        self.is_replayable = is_replayable
        """A pooled connection died before one byte came: no evidence about the upstream."""
        self.usage = usage
        """What the upstream has counted all the same."""


class Order(Struct, frozen=True):
    """What one attempt has to do."""

    call: Call
    request: HttpRequest
    deployment: Deployment
    key: Key
    attempt: Attempt
    begin_by: Deadline
    """When the answer has to have begun; one in one piece, to have ended."""
    end_by: Deadline
    """When a stream has to have ended."""
    life: Life


class Attempter:
    """Makes single attempts; knows nothing of what comes before and after them."""

    def __init__(self, *, transport_for: Callable[[Deployment], Transport], max_response_bytes: int, clock: Clock):
        self._transport_for = transport_for
        self._max_response_bytes = max_response_bytes
        self._clock = clock

    async def make(self, order: Order, *, fresh: bool) -> Answer | SingleStream:
        """Returns an answer, or a stream that has come to its first content; raises AttemptFailed."""
        deployment = order.deployment
        deadline = _deadline(order, order.begin_by)
        ring = deployment.key_ring
        request = order.request
        if ring.is_static:
            headers = ring.headers(order.key)
        else:
            request, headers = await self._authenticated(order, deadline)
        timeouts = self._timeouts(order, deadline)
        try:
            transport = self._transport_for(deployment)
            response = await transport.send(signed(request, headers), timeouts, fresh=fresh)
        except TransportError as error:
            raise AttemptFailed(self._failure(error, deadline), is_replayable=error.replayable) from None
        order.attempt.first_byte = self._clock()
        is_handed_over = False
        try:
            head = response.head
            learn(order.key.state, head.headers, order.attempt.first_byte)
            if not 200 <= head.status < 300:
                failure = await self._refusal(deployment, response, deadline)
                # The same request may be let in with another token.
                is_stale = not ring.is_static and ring.refused(headers, failure)
                raise AttemptFailed(failure, is_replayable=is_stale, passed=passed_on(head))
            if order.call.stream:
                stream = await self._first_content(order, response, deadline)
                is_handed_over = True
                return stream
            body = await self._body(deployment, response, self._max_response_bytes, deadline)
            return Answer(deployment, head, _reply(deployment, order.call, head, body))
        except TransportError as error:
            raise AttemptFailed(self._failure(error, deadline)) from None
        except UpstreamSaid as said:
            raise AttemptFailed(said.failure) from None
        except Malformed as error:
            raise AttemptFailed(Failure(FailureKind.MALFORMED, error.message, code=error.code)) from None
        finally:
            if not is_handed_over:
                response.release()

    def _failure(self, error: TransportError, deadline: Deadline) -> Failure:
        """Returns the failure that the network's trouble means; a phase that the deadline cut short is its timeout."""
        if error.fault is Fault.TIMEOUT and error.setting == deadline.limit.setting:
            return replace(deadline.passed(), is_unsent=error.is_unsent)
        return from_transport(error)

    async def _authenticated(self, order: Order, deadline: Deadline) -> tuple[HttpRequest, Headers]:
        """Returns the request, and the headers of a credential that depends on it, or has to be fetched."""
        ring = order.deployment.key_ring
        try:
            async with asyncio.timeout(max(deadline.at - self._clock(), 0)):
                request = await ring.completed(order.request)
                return request, await ring.sign(request, order.key)
        except CredentialUnavailable as error:
            failure = Failure(FailureKind.AUTH, error.message, code=NO_CREDENTIAL, is_unsent=True)
            raise AttemptFailed(failure) from None
        except TimeoutError:
            raise AttemptFailed(replace(deadline.passed(), is_unsent=True)) from None

    def _timeouts(self, order: Order, deadline: Deadline) -> Timeouts:
        waits = order.deployment.waits
        timeouts = waits.stream if order.call.stream else waits.answer
        left = deadline.at - self._clock()
        if left >= timeouts.head and left >= timeouts.idle and left >= timeouts.connect:
            return timeouts
        left, setting = max(left, 0.001), deadline.limit.setting
        if left < timeouts.head:
            timeouts = replace(timeouts, head=left, head_setting=setting)
        if left < timeouts.idle:
            timeouts = replace(timeouts, idle=left, idle_setting=setting)
        if left < timeouts.connect:
            timeouts = replace(timeouts, connect=left, connect_setting=setting)
        return timeouts

    async def _body(self, deployment: Deployment, response: UpstreamResponse, limit: int, deadline: Deadline) -> bytes:
        """Reads a whole body; bytes that trickle in keep the idle timeout away, but not this deadline, or a pace."""
        pieces: list[bytes] = []
        left = limit
        waits = deployment.waits
        pace = Pace(waits.pace, self._clock) if waits.pace.seconds else None
        while piece := await (response.next() if pace is None else pace.next(response)):
            left -= len(piece)
            if left < 0:
                raise too_long()
            seconds = deadline.at - self._clock()
            if seconds <= 0:
                raise AttemptFailed(deadline.passed())
            if response.is_complete and not pieces:
                return piece
            pieces.append(piece)
            if response.is_complete:
                break
            if seconds < waits.answer.idle:
                response.expect_within(seconds, deadline.limit.setting)
        return b"".join(pieces)

    async def _refusal(self, deployment: Deployment, response: UpstreamResponse, deadline: Deadline) -> Failure:
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
                body = await self._body(deployment, response, _MAX_ERROR_BYTES, deadline)
        except (TransportError, TimeoutError, AttemptFailed):
            body = b""
        failure = deployment.adapter.failure(deployment.target, head, body)
        if failure.kind is FailureKind.AUTH and not deployment.target.has_credential:
            setting = f"providers.{deployment.key_ring.spec.id}.credentials"
            message = f"it wants a credential, and none is set: set {setting} ({failure.message})"
            return replace(failure, message=message, code=NO_CREDENTIAL)
        return failure

    async def _piece_before(self, response: UpstreamResponse, deadline: Deadline) -> bytes:
        now = self._clock()
        if now >= deadline.at:
            raise AttemptFailed(_no_content(deadline))
        response.expect_within(deadline.at - now, deadline.limit.setting)
        try:
            return await response.next()
        except TransportError as error:
            if error.fault is Fault.TIMEOUT and error.setting == deadline.limit.setting:
                raise AttemptFailed(_no_content(deadline)) from None
            raise

    async def _first_content(self, order: Order, response: UpstreamResponse, deadline: Deadline) -> SingleStream:
        """Reads until something that a client would miss has come; until then nothing is committed."""
        deployment = order.deployment
        decoder = deployment.adapter.stream(order.call, deployment.target, response.head)
        first_token = deployment.waits.first_token
        begin_by = Deadline(order.attempt.started + first_token.seconds, first_token, is_whole=False)
        if deadline.at < begin_by.at:
            begin_by = deadline
        held: list[bytes] = []
        left = _MAX_HELD_BYTES
        while not (decoder.has_content or decoder.is_done):
            data = await self._piece_before(response, begin_by)
            out = decoder.feed(data) if data else decoder.close()
            held.append(out)
            left -= len(out)
            if decoder.failure is not None and not decoder.has_content:
                raise AttemptFailed(decoder.failure, usage=decoder.usage)
            if left < 0 and not decoder.has_content:
                raise TransportError(Fault.TOO_LARGE, f"no content in the first {_MAX_HELD_BYTES} bytes of the stream")
        return SingleStream(
            deployment,
            response,
            decoder,
            b"".join(held),
            deadline=_deadline(order, order.end_by),
            clock=self._clock,
            life=order.life,
        )


def _deadline(order: Order, by: Deadline) -> Deadline:
    """Returns what comes first, `by` or the end of what the attempt itself may take."""
    whole = order.deployment.waits.attempt
    at = order.attempt.started + whole.seconds
    return Deadline(at, whole, is_whole=False) if at < by.at else by


def _no_content(deadline: Deadline) -> Failure:
    limit = deadline.limit
    return replace(deadline.passed(), message=f"no content within {limit.setting} ({limit.seconds:g} s)")


def _reply(deployment: Deployment, call: Call, head: Head, body: bytes) -> Reply:
    """Returns the checked answer, put together if the upstream has streamed it unasked."""
    adapter, target = deployment.adapter, deployment.target
    if is_stream(body) and call.operation in WRITING:
        return gather_reply(adapter, call, target, head, body)
    return adapter.reply(call, target, head, body)
