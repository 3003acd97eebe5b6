"""The attempt loop: the only place that calls an upstream for a request.

The loop has no opinion. The planner says what to try, the adapter speaks the protocol, the transport does the I/O;
a failed attempt is a value that goes back to the planner. What comes out is an answer of which not one byte has been
sent to the client yet, so that everything before can still become an honest HTTP error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from adapters.errors import Malformed, Unsupported, UpstreamSaid
from adapters.failures import Failure, FailureKind
from adapters.gathered import gather_reply, is_stream
from adapters.parts import join_replies, sum_usage
from adapters.types import MAX_EVENT_BYTES, Call, Head, Headers, HttpRequest, Operation, Reply
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.scrub import Scrubber
from gateway.credentials.sign import signed
from gateway.domain import Attempt, Outcome
from gateway.engine.answer import Answer, SingleStream, Stream
from gateway.engine.parts import JoinedStream, Play, play_all
from gateway.engine.trouble import from_transport, too_long
from gateway.engine.verdict import NO_CREDENTIAL, client_error, passed_on
from gateway.errors import UnsupportedOperation, UnsupportedParameter, UpstreamError
from gateway.resilience.planner import AttemptPlanner, GiveUp, past_deadline
from gateway.routing.deployment import Deployment, Plan
from gateway.transport.base import Fault, Timeouts, Transport, TransportError, UpstreamResponse

_MAX_ERROR_BYTES = 1024 * 1024
_REFUSAL_SECONDS = 5.0
"""How long the body of a refusal is waited for: its status is known already."""
_MAX_CODE_CHARS = 100
_MAX_NAMED = 10
"""Lost fields that the refusal of a strict request names."""
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
class _Run:
    """What the attempts of one call, or of one part of it, have in common."""

    call: Call
    plan: Plan
    outcome: Outcome
    deadline: float
    part: int = 0


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
        """Returns an answer that is not begun yet; raises GatewayError. `outcome` records every attempt.

        What the first candidate can do only in several calls is played in as many parts, at the same time.
        """
        deployment = plan.candidates[0]
        outcome.deployment, outcome.provider = deployment.id, deployment.provider
        parts = _parts(call, deployment)
        started = self._clock()
        run = _Run(parts[0], plan, outcome, started + self._limits.total)
        if len(parts) == 1:
            return await self._attempts(run)
        together = self._joined if call.stream else self._gathered
        try:
            return await together(call, parts, run)
        finally:
            outcome.upstream_seconds = self._clock() - started  # what passes at the same time passes once

    async def _joined(self, call: Call, parts: Sequence[Call], run: _Run) -> Stream:
        """Returns the streams of all parts as one, of which the first content has come."""
        stream = JoinedStream(call, parts, self._play(run))
        try:
            await stream.begin()
        finally:
            run.outcome.usage = stream.usage
        return stream

    async def _gathered(self, call: Call, parts: Sequence[Call], run: _Run) -> Answer:
        """Returns the answers of all parts as one; a part that fails costs them all, and what they cost is counted."""
        answers: dict[int, Answer] = {}
        play_one = self._play(run)
        left = self._limits.max_response_bytes

        async def play(number: int, part: Call) -> None:
            nonlocal left
            answer = await play_one(number, part)
            if not isinstance(answer, Answer):
                raise TypeError("a part of a whole answer was answered with a stream")
            answers[number] = answer
            left -= len(answer.reply.body)
            if left < 0:
                raise self.client_error(from_transport(too_long()), answer.deployment.id)

        try:
            await play_all(parts, play)
            first = answers[0]
            reply = join_replies(call, [answers[number].reply for number in range(len(parts))])
            return Answer(first.deployment, first.head, reply)
        except Malformed as error:
            failure = Failure(FailureKind.MALFORMED, error.message, code=error.code)
            raise self.client_error(failure, run.outcome.deployment) from None
        finally:
            run.outcome.usage = sum_usage(answer.reply.usage for answer in answers.values())

    def _play(self, run: _Run) -> Play:
        """Returns how one part is run: its attempts join the others', its times are its own."""
        whole = run.outcome

        async def play(number: int, part: Call) -> Answer | SingleStream:
            own = Outcome(whole.request_id, attempts=whole.attempts)
            try:
                return await self._attempts(_Run(part, run.plan, own, run.deadline, number))
            finally:
                if own.deployment:
                    whole.deployment, whole.provider, whole.dropped = own.deployment, own.provider, own.dropped

        return play

    async def _attempts(self, run: _Run) -> Answer | SingleStream:
        """The loop: tries until there is an answer or the planner gives up."""
        outcome = run.outcome
        planner = AttemptPlanner(run.plan.candidates[0], run.deadline)
        passed: Headers = ()
        while True:
            step = planner.next(self._clock())
            if isinstance(step, GiveUp):
                raise self.client_error(step.failure, outcome.deployment or run.plan.model, passed)
            outcome.deployment, outcome.provider = step.deployment.id, step.deployment.provider
            request = _request(run, step.deployment)
            attempt = self._begin(step.deployment, run)
            try:
                return await self._attempt(run, request, step.deployment, attempt, fresh=step.fresh)
            except _Failed as failed:
                failure, passed = failed.failure, failed.passed
                attempt.failure = failure
                if failure.kind is FailureKind.TIMEOUT and failure.setting and self._clock() >= run.deadline:
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

    def _begin(self, deployment: Deployment, run: _Run) -> Attempt:
        attempts = run.outcome.attempts
        attempt = Attempt(len(attempts) + 1, deployment.id, started=self._clock(), part=run.part)
        attempts.append(attempt)
        return attempt

    async def _attempt(
        self, run: _Run, request: HttpRequest, deployment: Deployment, attempt: Attempt, *, fresh: bool
    ) -> Answer | SingleStream:
        call = run.call
        ring = deployment.key_ring
        credential = ring.headers() if ring.is_static else await self._signature(request, deployment, run.deadline)
        timeouts = self._timeouts(call, deployment, run.deadline)
        try:
            transport = self._transport_for(deployment)
            response = await transport.send(signed(request, credential), timeouts, fresh=fresh)
        except TransportError as error:
            raise _Failed(from_transport(error), is_replayable=error.replayable) from None
        attempt.first_byte = self._clock()
        is_handed_over = False
        try:
            head = response.head
            if not 200 <= head.status < 300:
                raise _Failed(await self._refusal(deployment, response, run.deadline), passed=passed_on(head))
            if call.stream:
                stream = await self._first_content(run, deployment, response, attempt)
                is_handed_over = True
                return stream
            body = await self._body(response, self._limits.max_response_bytes, run.deadline)
            return Answer(deployment, head, _reply(deployment, call, head, body))
        except TransportError as error:
            raise _Failed(from_transport(error)) from None
        except UpstreamSaid as said:
            raise _Failed(said.failure) from None
        except Malformed as error:
            raise _Failed(Failure(FailureKind.MALFORMED, error.message, code=error.code)) from None
        finally:
            if not is_handed_over:
                response.release()

    async def _signature(self, request: HttpRequest, deployment: Deployment, deadline: float) -> Headers:
        """Returns the headers of a credential that depends on the request, or has to be fetched."""
        try:
            async with asyncio.timeout(max(deadline - self._clock(), 0)):
                return await deployment.key_ring.sign(request)
        except CredentialUnavailable as error:
            raise _Failed(Failure(FailureKind.AUTH, error.message, code=NO_CREDENTIAL)) from None
        except TimeoutError:
            raise _Failed(past_deadline()) from None

    def _timeouts(self, call: Call, deployment: Deployment, deadline: float) -> Timeouts:
        timeouts = self._limits.stream if call.stream else self._limits.answer
        if patience := deployment.patience:
            seconds, setting = patience.seconds, patience.setting
            timeouts = replace(timeouts, head=seconds, idle=seconds, head_setting=setting, idle_setting=setting)
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
                raise too_long()
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
        self, run: _Run, deployment: Deployment, response: UpstreamResponse, attempt: Attempt
    ) -> SingleStream:
        """Reads until something that a client would miss has come; until then nothing is committed."""
        decoder = deployment.adapter.stream(run.call, deployment.target, response.head)
        held: list[bytes] = []
        left = _MAX_HELD_BYTES
        while not (decoder.has_content or decoder.is_done):
            data = await response.next()
            out = decoder.feed(data) if data else decoder.close()
            held.append(out)
            left -= len(out)
            if decoder.failure is not None and not decoder.has_content:
                run.outcome.usage = decoder.usage
                raise _Failed(decoder.failure)
            if left < 0 and not decoder.has_content:
                raise TransportError(Fault.TOO_LARGE, f"no content in the first {_MAX_HELD_BYTES} bytes of the stream")
            if self._clock() >= run.deadline:
                raise TransportError(
                    Fault.TIMEOUT, "no content within upstream.total_seconds", setting="upstream.total_seconds"
                )
        return SingleStream(
            deployment,
            response,
            decoder,
            b"".join(held),
            attempt=attempt,
            deadline=run.deadline,
            clock=self._clock,
            tell=lambda failure: self.client_error(failure, deployment.id),
        )


def _reply(deployment: Deployment, call: Call, head: Head, body: bytes) -> Reply:
    """Returns the checked answer, put together if the upstream has streamed it unasked."""
    adapter, target = deployment.adapter, deployment.target
    if is_stream(body) and call.operation in (Operation.CHAT, Operation.COMPLETIONS):
        return gather_reply(adapter, call, target, head, body)
    return adapter.reply(call, target, head, body)


def _parts(call: Call, deployment: Deployment) -> Sequence[Call]:
    adapter = deployment.adapter
    if not deployment.offers(call.operation):
        known = ", ".join(sorted(filter(deployment.offers, adapter.operations))) or "nothing"
        message = f"{deployment.id}: {deployment.provider} has no {call.operation}; what it has: {known}"
        raise UnsupportedOperation(message, param="model")
    try:
        return adapter.parts(call, deployment.target)
    except Unsupported as error:
        raise UnsupportedParameter(error.message, param=error.param) from None


def _request(run: _Run, deployment: Deployment) -> HttpRequest:
    """Returns the upstream request; raises UnsupportedParameter for what is refused, or would be lost if strict."""
    try:
        request = deployment.adapter.request(run.call, deployment.target)
    except Unsupported as error:
        raise UnsupportedParameter(error.message, param=error.param) from None
    lost = request.dropped
    if lost and run.plan.is_strict:
        more = f" and {len(lost) - _MAX_NAMED} more" if len(lost) > _MAX_NAMED else ""
        names = ", ".join(lost[:_MAX_NAMED]) + more
        message = f"{deployment.id} cannot take {names}; leave it out, or do without x-anyport-strict or `strict`"
        raise UnsupportedParameter(message, param=lost[0])
    run.outcome.dropped = lost
    return request
