"""What would become of a request, told without making it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from random import Random
from typing import Any, Final

import msgspec
from msgspec import Struct

from adapters.codec import decode
from adapters.errors import Unsupported
from gateway.credentials.scrub import Scrubber
from gateway.domain import Attempt, Outcome
from gateway.engine.answer import Answer
from gateway.engine.executor import Executor
from gateway.engine.explanation import (
    Candidate,
    End,
    Explanation,
    HedgeView,
    LeftOut,
    MirrorView,
    RestingKey,
    StageView,
    Step,
    Timeout,
    UpstreamRequest,
)
from gateway.engine.picture import masked
from gateway.engine.rehearsal import MAX_BYTES, RehearsalLoop, Sent, Upstreams
from gateway.engine.script import Script
from gateway.errors import GatewayError
from gateway.health.vitals import Obstacle, Vitals
from gateway.resilience.consequences import Event, Turn
from gateway.routing.asking import Asking
from gateway.routing.balance import Random as Chance
from gateway.routing.deployment import Deployment, Waits
from gateway.routing.filters import fitting
from gateway.routing.route import Plan, Route, Stage
from gateway.routing.router import Chain, planned

_MAX_SHOWN: Final = 8192
_MAX_NAMED: Final = 10
_NANO: Final = 1_000_000_000
_EFFECTS: Final[Mapping[Turn, str]] = {
    Turn.KEY_COOLED: "key {key} rests for {seconds:g} s",
    Turn.DEPLOYMENT_COOLED: "it rests for {seconds:g} s",
    Turn.EJECTED: "it is ejected for {seconds:g} s",
    Turn.READMITTED: "it is no longer ejected",
}


def explain(chain: Chain, asking: Asking, script: Script, seed: int, *, now: float, scrubber: Scrubber) -> Explanation:
    """Returns what would become of a request at monotonic time `now`.

    `chain` is a copy (`picture.Copies`); it changes as the live state would. It runs an event loop of its own, so it
    is to be called where none runs.
    """
    chance = Random(seed).random  # noqa: S311 - what counts is that it can be repeated
    looks = {id(each): _candidate(each, asking, chain.route.is_strict, now) for each in _deployments(chain)}
    hedge = _hedge(chain.route, is_stream=asking.call.stream)
    told = _Told(asking, Outcome("explained", started=now), Upstreams(script), chance, scrubber, ended=now)
    stages: Sequence[Stage] = [Stage(chain.route, candidates=())]
    is_copied = False
    try:
        plan = chain.plan or planned(chain, asking, now, chance)
    except GatewayError as error:
        told.error = error
    else:
        is_copied = chain.route.mirror is not None and chance() < chain.route.mirror.share
        told.play(plan)
        stages = plan.stages
    route, sent = chain.route, told.upstreams.sent
    return Explanation(
        model=chain.shown,
        kind=chain.kind,
        operation=asking.call.operation.value,
        stream=asking.call.stream,
        seed=seed,
        needs=sorted(asking.uses),
        prompt_tokens=asking.prompt_tokens(),
        answer_tokens=asking.answer_tokens(),
        stages=[_stage(stage, asking, looks) for stage in stages],
        steps=list(told.steps(chain)),
        end=told.end(),
        timeouts=_timeouts(_first(told, stages), route, is_stream=asking.call.stream),
        hedge=hedge,
        mirror=MirrorView(route.mirror.model, route.mirror.share, is_copied) if route.mirror else None,
        request=_request(sent[0], scrubber) if sent else None,
    )


class _Told(Struct):
    """One request as it was played."""

    asking: Asking
    outcome: Outcome
    upstreams: Upstreams
    chance: Chance
    scrubber: Scrubber
    ended: float
    error: GatewayError | None = None
    effects: dict[int, list[str]] = msgspec.field(default_factory=dict[int, list[str]])
    """Number of an attempt -> what it did."""

    def play(self, plan: Plan) -> None:
        """Plays the request to its end."""
        loop = RehearsalLoop(self.ended)
        executor = Executor(
            attempter=self.upstreams.attempter(loop.time),
            max_response_bytes=MAX_BYTES,
            clock=loop.time,
            random=self.chance,
            scrubber=self.scrubber,
            listen=self._hear,
        )
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._run(executor, plan))

    async def _run(self, executor: Executor, plan: Plan) -> None:
        try:
            answer = await executor.run(self.asking.call, plan, self.outcome)
            if not isinstance(answer, Answer):
                try:
                    while await answer.next():
                        pass
                finally:
                    await answer.aclose()
        except GatewayError as error:
            self.error = error
        finally:
            self.ended = asyncio.get_running_loop().time()

    def _hear(self, events: Sequence[Event]) -> None:
        for event in events:
            attempts = [each for each in self.outcome.attempts if each.deployment == event.deployment.id]
            failed = [each for each in attempts if each.failure is not None]
            number = (failed or attempts)[-1].number
            key = event.key.number if event.key else 0
            self.effects.setdefault(number, []).append(_EFFECTS[event.turn].format(key=key, seconds=event.seconds))

    def steps(self, chain: Chain) -> Iterator[Step]:
        """Yields every attempt, in the order in which they began."""
        counts = {each.id: len(each.key_ring.keys) for each in _deployments(chain)}
        ends: dict[int, float] = {}
        for attempt in self.outcome.attempts:
            yield self._step(attempt, counts[attempt.deployment], ends.get(attempt.part, self.outcome.started))
            ends[attempt.part] = max(ends.get(attempt.part, 0.0), attempt.ended or attempt.started)

    def _step(self, attempt: Attempt, keys: int, free_at: float) -> Step:
        failure, scrub = attempt.failure, self.scrubber.text
        return Step(
            attempt=attempt.number - 1,
            deployment=attempt.deployment,
            route=attempt.route,
            key=attempt.key,
            keys=keys,
            at_seconds=_seconds(attempt.started - self.outcome.started),
            waited_seconds=0.0 if attempt.is_hedge else _seconds(attempt.started - free_at),
            seconds=_seconds((attempt.ended or attempt.started) - attempt.started),
            result=failure.kind.value if failure else "lost" if attempt.is_lost else "ok",
            status=failure.status if failure else None,
            message=scrub(failure.message) if failure else "",
            retry_after_seconds=failure.retry_after if failure else None,
            is_hedge=attempt.is_hedge,
            part=attempt.part,
            effects=self.effects.get(attempt.number, ()),
        )

    def end(self) -> End:
        """Returns what the client gets."""
        outcome, error = self.outcome, self.error
        return End(
            status=error.status if error else 200,
            deployment=outcome.deployment,
            attempts=len(outcome.attempts),
            fallback=outcome.fallback,
            seconds=_seconds(self.ended - outcome.started),
            code=error.code if error else None,
            type=error.type if error else None,
            param=error.param if error else None,
            message=error.message if error else "",
            headers=dict(error.headers()) if error else {},
        )


def _deployments(chain: Chain) -> Iterator[Deployment]:
    for route in (chain.route, *(route for route, _ in chain.links)):
        yield from route.deployments


def _first(told: _Told, stages: Sequence[Stage]) -> Deployment | None:
    """The deployment that was tried first, or would be if nothing were in its way."""
    if told.upstreams.sent:
        return told.upstreams.sent[0].deployment
    return next((candidate for stage in stages for candidate in stage.candidates), None)


def _candidate(deployment: Deployment, asking: Asking, is_strict: bool, now: float) -> Candidate:
    vitals, price = deployment.vitals, deployment.price
    tokens = asking.prompt_tokens() + asking.answer_tokens()
    obstacle = vitals.obstacle(now, tokens)
    return Candidate(
        deployment=deployment.id,
        provider=deployment.provider,
        order=deployment.order,
        weight=deployment.weight,
        input_usd_per_million=price.base.input / _NANO if price else None,
        output_usd_per_million=price.base.output / _NANO if price else None,
        latency_seconds=vitals.latency.seconds,
        in_flight=vitals.in_flight,
        context_window=deployment.context_window,
        keys=len(deployment.key_ring.keys),
        obstacle=obstacle.value if obstacle else "",
        obstacle_seconds=_lasts(vitals, obstacle, now, tokens),
        resting=resting_keys(deployment, now),
        refuses=_refuses(deployment, asking, is_strict),
    )


def _lasts(vitals: Vitals, obstacle: Obstacle | None, now: float, tokens: int) -> float | None:
    until = vitals.ejected_until
    if obstacle is Obstacle.EJECTED:
        return None if until is None else _seconds(max(0.0, until - now))
    return _seconds(vitals.wait(now, tokens)) or None if obstacle else None


def resting_keys(deployment: Deployment, now: float) -> Sequence[RestingKey]:
    """Returns the keys of a deployment that are not used now, and why."""
    found: list[RestingKey] = []
    for key in deployment.key_ring.keys:
        state = key.resting(now)
        if state is not None:
            reason = state.last_failure.kind.value if state.last_failure else ""
            found.append(RestingKey(key.number, _seconds(key.wait(now)), reason, state.is_told))
    return found


def _refuses(deployment: Deployment, asking: Asking, is_strict: bool) -> str:
    if not deployment.offers(asking.call.operation):
        return ""  # the route leaves it out, or the whole request is refused with the reason
    adapter, target = deployment.adapter, deployment.target
    try:
        dropped = adapter.request(adapter.parts(asking.call, target)[0], target).dropped
    except Unsupported as error:
        return error.message
    names = ", ".join(dropped[:_MAX_NAMED])
    return f"it cannot take {names}, and the route is strict" if dropped and is_strict else ""


def _stage(stage: Stage, asking: Asking, looks: Mapping[int, Candidate]) -> StageView:
    route, fallback = stage.route, stage.fallback
    others = fitting(route, asking)[1]
    return StageView(
        route=route.name,
        strategy=route.strategy.value,
        after=sorted(kind.value for kind in fallback.on) if fallback else (),
        candidates=[looks[id(each)] for each in stage.candidates],
        left_out=[LeftOut(name, reason) for name, reason in (*others.items(), *route.lacking)],
    )


def _timeouts(first: Deployment | None, route: Route, *, is_stream: bool) -> Sequence[Timeout]:
    if first is None:
        return ()
    waits: Waits = first.waits
    phases = waits.stream if is_stream else waits.answer
    found = [
        Timeout("connect", phases.connect, phases.connect_setting),
        Timeout("head" if is_stream else "answer", phases.head, phases.head_setting),
        Timeout("between tokens", phases.idle, phases.idle_setting),
    ]
    if is_stream:
        found.insert(2, Timeout("first token", waits.first_token.seconds, waits.first_token.setting))
    if isfinite(waits.attempt.seconds):
        found.append(Timeout("attempt", waits.attempt.seconds, waits.attempt.setting))
    return [*found, Timeout("total", route.total.seconds, route.total.setting)]


def _hedge(route: Route, *, is_stream: bool) -> HedgeView | None:
    policy, memory = route.hedge, route.memory
    if policy is None:
        return None
    usual = (memory.first_token if is_stream else memory.answer).value
    after = policy.after_seconds if policy.after_seconds is not None else usual
    return HedgeView(policy.share, after, memory.hedge_credit + policy.share >= 1)


def _request(sent: Sent, scrubber: Scrubber) -> UpstreamRequest:
    request = sent.request
    try:
        body: Any = decode(request.body) if request.body else None
    except msgspec.DecodeError:
        body = request.body.decode("utf-8", "replace")
    headers = masked(request.headers, sent.deployment.key_ring)
    return UpstreamRequest(
        deployment=sent.deployment.id,
        method=request.method,
        url=scrubber.text(request.url, _MAX_SHOWN),
        headers=[(name, scrubber.text(value, _MAX_SHOWN)) for name, value in headers],
        body=body,
        dropped=request.dropped,
    )


def _seconds(value: float) -> float:
    """Returns seconds without the digits that no clock of ours can mean."""
    return round(max(0.0, value), 6)
