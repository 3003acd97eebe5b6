"""The attempt loop: the only place that calls an upstream for a request.

The loop has no opinion. The planner says what to try, the adapter speaks the protocol, the transport does the I/O;
a failed attempt is a value that goes back to the planner. What comes out is an answer of which not one byte has been
sent to the client yet, so that everything before can still become an honest HTTP error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from msgspec import Struct

from adapters.errors import Malformed, Unsupported
from adapters.failures import Failure, FailureKind
from adapters.parts import join_replies, sum_usage
from adapters.types import WRITING, Call, Headers, HttpRequest, Usage
from gateway.credentials.scrub import Scrubber
from gateway.domain import Attempt, Outcome
from gateway.engine.answer import Answer, Deadline, SingleStream, Stream
from gateway.engine.attempt import Attempter, AttemptFailed, Clock, Order
from gateway.engine.client_errors import client_error
from gateway.engine.hints import NO_HINTS, Hints
from gateway.engine.parts import JoinedStream, Play, parts_of, play_all
from gateway.engine.race import Pending, race
from gateway.engine.trouble import from_transport, too_long
from gateway.errors import UnsupportedParameter, UpstreamError
from gateway.resilience import consequences
from gateway.resilience.consequences import Event, Running
from gateway.resilience.planner import AttemptPlanner
from gateway.resilience.steps import GiveUp, Try, Wait
from gateway.routing.balance import Random
from gateway.routing.deployment import Deployment
from gateway.routing.route import Plan

_MAX_CODE_CHARS = 100
_MAX_NAMED = 10
"""Lost fields that the refusal of a strict request names."""
_MOST_CREDIT = 10.0
"""Hedges that a quiet route can save up."""
Listener = Callable[[Sequence[Event]], None]
"""Hears what attempts did to keys and deployments; never raises."""


class _Run(Struct):
    """What the attempts of one call, or of one part of it, have in common."""

    call: Call
    plan: Plan
    outcome: Outcome
    begin_by: Deadline
    end_by: Deadline
    part: int = 0
    passed: Headers = ()
    """The client's business among the headers of the last failure."""
    refused: UnsupportedParameter | None = None
    """Why a deployment could not be asked at all."""
    is_answered: bool = False


class _Begun(Struct):
    """An attempt that is counted: whoever is planned next, even in the same moment, knows of it."""

    step: Try
    order: Order
    running: Running


class Executor:
    """Runs calls against plans; one for all requests of a runtime."""

    def __init__(
        self,
        *,
        attempter: Attempter,
        max_response_bytes: int,
        clock: Clock,
        random: Random,
        scrubber: Scrubber,
        listen: Listener = lambda events: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`listen` hears of every pause, ejection and return; `sleep` is what waits between attempts."""
        self._attempter = attempter
        self._max_response_bytes = max_response_bytes
        self.clock = clock
        self._random = random
        self._scrubber = scrubber
        self._listen = listen
        self._sleep = sleep

    def run(self, call: Call, plan: Plan, outcome: Outcome, hints: Hints = NO_HINTS) -> Awaitable[Answer | Stream]:
        """Awaited, gives an answer that is not begun yet; raises GatewayError. `outcome` records every attempt.

        What any deployment of the plan can do only in several calls is played in as many parts, at the same time.
        """
        first = plan.first
        outcome.deployment, outcome.provider = first.id, first.provider
        parts = parts_of(call, plan, first)
        started = self.clock()
        run = self._begin(parts[0], plan, outcome, hints, started)
        return self._attempts(run) if len(parts) == 1 else self._together(call, parts, run, started)

    async def _together(self, call: Call, parts: Sequence[Call], run: _Run, started: float) -> Answer | Stream:
        try:
            return await (self._joined if call.stream else self._gathered)(call, parts, run)
        finally:
            run.outcome.upstream_seconds = self.clock() - started  # what passes at the same time passes once

    def _begin(self, call: Call, plan: Plan, outcome: Outcome, hints: Hints, now: float) -> _Run:
        total = plan.route.total
        if hints.whole is not None and hints.whole.seconds < total.seconds:
            total = hints.whole
        end_by = begin_by = Deadline(now + total.seconds, total)
        if hints.begin is not None and hints.begin.seconds < total.seconds:
            begin_by = Deadline(now + hints.begin.seconds, hints.begin)
        return _Run(call, plan, outcome, begin_by, end_by)

    async def _joined(self, call: Call, parts: Sequence[Call], run: _Run) -> Stream:
        """Returns the streams of all parts as one, of which the first content has come."""
        stream = JoinedStream(call, parts, self._play(run), run.end_by.at)
        try:
            await stream.begin()
        finally:
            run.outcome.usage = stream.usage
        return stream

    async def _gathered(self, call: Call, parts: Sequence[Call], run: _Run) -> Answer:
        """Returns the answers of all parts as one; a part that fails costs them all, and what they cost is counted."""
        answers: dict[int, Answer] = {}
        play_one = self._play(run)
        left = self._max_response_bytes

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
                return await self._attempts(_Run(part, run.plan, own, run.begin_by, run.end_by, number))
            finally:
                if own.deployment:
                    whole.deployment, whole.provider, whole.dropped = own.deployment, own.provider, own.dropped
                    whole.fallback = whole.fallback or own.fallback
                    whole.is_over_budget |= own.is_over_budget

        return play

    async def _attempts(self, run: _Run) -> Answer | SingleStream:
        """The loop: tries until there is an answer or the planner gives up."""
        plan = run.plan
        planner = AttemptPlanner(plan, run.begin_by.at, run.begin_by.limit, self._random)
        may_hedge = plan.route.hedge is not None
        while True:
            step = planner.next(self.clock())
            if isinstance(step, GiveUp):
                run.outcome.is_over_budget = step.is_over_budget
                raise self._lost(run, step)
            if isinstance(step, Wait):
                await self._sleep(step.seconds)
                continue
            if may_hedge:
                may_hedge = False
                answer = await self._raced(run, planner, step)
            else:
                begun = self._count(run, planner, step)
                answer = None if begun is None else await self._make(run, planner, begun)
            if answer is not None:
                return answer

    async def _raced(self, run: _Run, planner: AttemptPlanner, step: Try) -> Answer | SingleStream | None:
        """Tries; if that is slow to begin, and the route can pay for it, tries elsewhere at the same time."""
        policy, memory = run.plan.route.hedge, run.plan.route.memory
        if policy is None:
            return await self._try(run, planner, step)
        memory.hedge_credit = min(memory.hedge_credit + policy.share, _MOST_CREDIT)
        samples = memory.first_token if run.call.stream else memory.answer
        delay = policy.after_seconds if policy.after_seconds is not None else samples.value
        started = self.clock()
        if delay is None or memory.hedge_credit < 1:
            answer = await self._try(run, planner, step)
        else:
            answer = await self._second_chance(run, planner, step, delay)
            run.outcome.upstream_seconds = self.clock() - started
        if answer is not None:
            samples.observe(self.clock() - started)
        return answer

    async def _second_chance(
        self, run: _Run, planner: AttemptPlanner, step: Try, delay: float
    ) -> Answer | SingleStream | None:
        memory = run.plan.route.memory
        first = self._count(run, planner, step)
        if first is None:
            return None

        def hedge() -> Pending | None:
            second = planner.hedge(self.clock()) if memory.hedge_credit >= 1 else None
            other = None if second is None else self._count(run, planner, second, is_hedge=True)
            if other is None:
                return None
            memory.hedge_credit -= 1
            return self._make(run, planner, other)

        # Both get a turn before a cancellation of this task is delivered, and so end what is counted here.
        return await race(self._make(run, planner, first), hedge, delay)

    async def _try(self, run: _Run, planner: AttemptPlanner, step: Try) -> Answer | SingleStream | None:
        """Makes one attempt; returns None if it failed, which the planner and everybody else then knows."""
        begun = self._count(run, planner, step)
        return None if begun is None else await self._make(run, planner, begun)

    def _count(self, run: _Run, planner: AttemptPlanner, step: Try, *, is_hedge: bool = False) -> _Begun | None:
        """Begins an attempt at once, not when a task has its turn; returns None if it cannot be made."""
        request = self._request(run, planner, step)
        if request is None:
            return None
        attempt = self._attempt(run, step, is_hedge)
        running = consequences.begin(
            step.deployment,
            step.key,
            attempt.started,
            is_first=step.is_first,
            charged=step.charged,
            tokens=run.plan.tokens,
            is_chat=run.call.operation in WRITING,
        )
        order = Order(
            run.call,
            request,
            step.deployment,
            step.key,
            attempt,
            run.begin_by,
            run.end_by,
            _Life(self, running, attempt),
        )
        return _Begun(step, order, running)

    async def _make(self, run: _Run, planner: AttemptPlanner, begun: _Begun) -> Answer | SingleStream | None:
        step, order, running = begun.step, begun.order, begun.running
        attempt, deployment, outcome = order.attempt, step.deployment, run.outcome
        is_streaming = False
        try:
            answer = await self._attempter.make(order, fresh=step.fresh)
            is_streaming = not isinstance(answer, Answer)
            if run.is_answered:  # in the same moment, by the attempt beside this one
                attempt.is_lost = True
                if isinstance(answer, SingleStream):
                    await answer.aclose()
                return None
            run.is_answered = True
            self._began_well(run, step, running, answer)
            outcome.deployment, outcome.provider = deployment.id, deployment.provider
            outcome.dropped = order.request.dropped
            return answer
        except AttemptFailed as failed:
            self._failed(run, planner, step, failed, attempt, running)
            return None
        except asyncio.CancelledError:
            attempt.is_lost = True
            raise
        finally:
            attempt.ended = self.clock()
            outcome.upstream_seconds += attempt.ended - attempt.started
            if not is_streaming:
                consequences.end(running, attempt.ended)

    def _attempt(self, run: _Run, step: Try, is_hedge: bool) -> Attempt:
        outcome, deployment = run.outcome, step.deployment
        outcome.deployment, outcome.provider = deployment.id, deployment.provider
        attempt = Attempt(
            len(outcome.attempts) + 1,
            deployment.id,
            started=self.clock(),
            part=run.part,
            route=step.stage.route.name,
            key=step.key.number,
            is_hedge=is_hedge,
            provider=deployment.provider,
        )
        outcome.attempts.append(attempt)
        return attempt

    def _began_well(self, run: _Run, step: Try, running: Running, answer: Answer | SingleStream) -> None:
        now = self.clock()
        self._tell(consequences.begin_well(running, now))
        if isinstance(answer, Answer):
            usage = answer.reply.usage
            running.spent = usage.prompt + usage.completion if usage else None
            consequences.end_well(running, now)
        if step.stage.fallback is not None:
            run.outcome.fallback = step.reason

    def _failed(
        self, run: _Run, planner: AttemptPlanner, step: Try, failed: AttemptFailed, attempt: Attempt, running: Running
    ) -> None:
        failure = attempt.failure = failed.failure
        run.passed = failed.passed
        if failed.usage is not None:
            run.outcome.usage = failed.usage
            running.spent = failed.usage.prompt + failed.usage.completion
        if not (failed.is_replayable and not step.fresh):
            self._tell(consequences.fail(running, failure, self.clock()))
        planner.record(failure, step, is_replayable=failed.is_replayable)

    def broke(self, running: Running, attempt: Attempt, failure: Failure) -> None:
        """Notes that a stream broke off after its first content."""
        attempt.failure = failure
        self._tell(consequences.fail(running, failure, self.clock()))

    def _tell(self, events: Sequence[Event]) -> None:
        if events:
            self._listen(events)

    def _lost(self, run: _Run, step: GiveUp) -> UpstreamError | UnsupportedParameter:
        if step.failure is None:
            if run.refused is None:
                raise RuntimeError("the plan has nothing to try")
            return run.refused
        return self.client_error(step.failure, step.deployment, run.passed, run.outcome.attempts)

    def client_error(
        self, failure: Failure, deployment: str, passed: Headers = (), attempts: Sequence[Attempt] = ()
    ) -> UpstreamError:
        """Returns what the client hears of a failure, scrubbed."""
        scrub = self._scrubber.text
        code = scrub(failure.code, _MAX_CODE_CHARS) if failure.code else None
        param = scrub(failure.param, _MAX_CODE_CHARS) if failure.param else None
        said = replace(failure, code=code, param=param)
        return client_error(
            said, deployment=deployment, message=scrub(failure.message), passed=passed, attempts=attempts
        )

    def _request(self, run: _Run, planner: AttemptPlanner, step: Try) -> HttpRequest | None:
        """Returns the upstream request, None if this deployment cannot be asked: another one may."""
        try:
            request = step.deployment.adapter.request(run.call, step.deployment.target)
        except Unsupported as error:
            run.refused = run.refused or UnsupportedParameter(error.message, param=error.param)
            planner.decline(step)
            return None
        lost = request.dropped
        if lost and run.plan.is_strict:
            run.refused = run.refused or _too_lossy(step.deployment, lost)
            planner.decline(step)
            return None
        run.outcome.dropped = lost
        return request


class _Life(Struct):
    """What a stream after its first content means for its deployment and key."""

    executor: Executor
    running: Running
    attempt: Attempt

    def tell(self, failure: Failure) -> UpstreamError:
        return self.executor.client_error(failure, self.running.deployment.id)

    def over(self, failure: Failure | None) -> None:
        if failure is None:
            consequences.end_well(self.running, self.executor.clock())
        else:
            self.executor.broke(self.running, self.attempt, failure)

    def closed(self, usage: Usage | None) -> None:
        self.running.spent = usage.prompt + usage.completion if usage else None
        consequences.end(self.running, self.executor.clock())


def _too_lossy(deployment: Deployment, lost: Sequence[str]) -> UnsupportedParameter:
    more = f" and {len(lost) - _MAX_NAMED} more" if len(lost) > _MAX_NAMED else ""
    names = ", ".join(lost[:_MAX_NAMED]) + more
    message = f"{deployment.id} cannot take {names}; leave it out, or do without x-anyport-strict or `strict`"
    return UnsupportedParameter(message, param=lost[0])
