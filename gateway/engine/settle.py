"""What a finished request used and cost, as one record: made from its outcome, once, before its last bytes go out.

Usage is what the upstream reported. Where it reported nothing and has worked all the same (a stream that was cut, an
answer without counts), it is estimated from the bytes that were seen, and called so. Failed attempts cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from msgspec.structs import replace

from adapters.types import Operation, Usage
from gateway.access.keys import Caller
from gateway.domain import Attempt, Outcome
from gateway.engine.cost import OF_BATCHES, Prices, cost_nano_usd
from gateway.records import AttemptRecord, UsageRecord
from gateway.routing.deployment import Deployment
from gateway.routing.route import Plan
from gateway.telemetry.access_log import clean_name
from gateway.telemetry.counts import milliseconds, overhead_seconds

_NOTHING: Final = Usage()
_BYTES_PER_TOKEN: Final = 4
_EVENT_BYTES: Final = 400
"""What an event of a stream has besides its text, and rather more."""
_ANSWERED: Final = 200
_MOST_MODELS: Final = 1024
"""Names whose looks are remembered."""
_WRITING: Final = (Operation.CHAT.value, Operation.COMPLETIONS.value)
"""Operations whose answers are tokens: numbers of an embedding are none."""


class Settler:
    """Makes the records of one configuration."""

    def __init__(
        self,
        *,
        prices: Prices | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        show: Callable[[str], str] = str,
    ) -> None:
        """`wall` gives Unix seconds, `clock` those of the outcome; `show` makes what upstreams say fit to be kept."""
        self._prices = prices or Prices()
        self._wall = wall
        self._clock = clock
        self._show = lru_cache(maxsize=_MOST_MODELS)(show)

    def settle(self, outcome: Outcome, plan: Plan, client: Caller, record_id: str) -> UsageRecord:
        """Returns the record of a request that had attempts; the outcome learns of an estimate and of the cost."""
        now, at = self._clock(), self._wall()
        deployment = served_by(outcome, plan)
        usage = outcome.usage = _used(outcome)
        cost, version = self._cost(usage, deployment, at, is_batched=outcome.is_batched)
        outcome.cost_nano_usd = cost
        counts = usage or _NOTHING
        # In the order of its members: by name, so many of them cost as much as the rest of this function.
        return UsageRecord(
            record_id,
            int(at * 1000),
            outcome.operation,
            clean_name(outcome.model),
            outcome.status,
            client.id,
            client.team.id if client.team else "",
            client.project.id if client.project else "",
            clean_name(outcome.deployment),
            outcome.provider,
            self._model(outcome.response_model, deployment.target.model if deployment else ""),
            outcome.stream,
            outcome.error_code,
            counts.prompt,
            counts.cached_prompt,
            counts.cache_write,
            counts.completion,
            counts.reasoning,
            "none" if usage is None else "estimated" if usage.estimated else "reported",
            cost,
            version,
            None if outcome.first_byte is None else milliseconds(outcome.first_byte - outcome.started),
            milliseconds(now - outcome.started),
            milliseconds(_overhead_seconds(outcome, now)),
            tuple([_attempt(each, now) for each in outcome.attempts]),
            outcome.fallback,
            _hedged(outcome.attempts) if len(outcome.attempts) > 1 else "",
            outcome.is_cancelled,
        )

    def _model(self, told: str | None, asked: str) -> str:
        """Returns the model that answered; what an upstream calls it may be anything, a key among others."""
        return clean_name(asked if not told or told == asked else self._show(told))

    def _cost(
        self, usage: Usage | None, deployment: Deployment | None, at: float, *, is_batched: bool
    ) -> tuple[int | None, str]:
        """Returns nano-dollars, None if the price is not known, and where the price is from."""
        if usage is None:
            return 0, ""
        if deployment is None:
            return None, ""
        price, version = self._prices.of(deployment, at)
        if is_batched:
            version = f"{version}{OF_BATCHES}"
        return (None if price is None else cost_nano_usd(usage, price, is_batched=is_batched)), version


def served_by(outcome: Outcome, plan: Plan) -> Deployment | None:
    """Returns the deployment that the request ended on, None if it was not asked for one."""
    name = outcome.deployment
    attempts = outcome.attempts
    route = ""
    if attempts:
        last = attempts[-1]
        route = last.route if last.deployment == name else _route_of(name, attempts)
    found: Deployment | None = None
    for stage in plan.stages:
        for each in stage.route.deployments:
            if each.id == name:
                if stage.route.name == route:
                    return each
                found = found or each
    return found


def _route_of(name: str, attempts: Sequence[Attempt]) -> str:
    return next((each.route for each in reversed(attempts) if each.deployment == name), "")


def _used(outcome: Outcome) -> Usage | None:
    """Returns the upstream's counts, an estimate where it gave none or too few, None if there was nothing to count."""
    if outcome.usage is None:
        return _estimate(outcome) if _was_worked_on(outcome) else None
    if outcome.stream and (outcome.is_cancelled or outcome.error_code):
        return _at_least(outcome.usage, outcome)
    return outcome.usage


def _was_worked_on(outcome: Outcome) -> bool:
    """Says whether a provider has, or may have, spent tokens on it that nobody told us of."""
    if outcome.status == _ANSWERED:
        return True
    return outcome.is_cancelled and any(each.failure is None for each in outcome.attempts)


def _estimate(outcome: Outcome) -> Usage:
    """An event has one token or more; most of its bytes are not text, so only those of long ones are counted."""
    return Usage(prompt=-(-outcome.bytes_in // _BYTES_PER_TOKEN), completion=_written(outcome), estimated=True)


def _written(outcome: Outcome) -> int:
    """Returns about how many tokens of output went out; the status may tell of a stream that its client gave up."""
    events = outcome.events
    if outcome.operation not in _WRITING or not (outcome.status == _ANSWERED or events):
        return 0
    return max(events, (outcome.bytes_out - events * _EVENT_BYTES) // _BYTES_PER_TOKEN)


def _at_least(usage: Usage, outcome: Outcome) -> Usage:
    """Returns the counts of a stream that was cut; some upstreams count at its beginning, before there is output."""
    is_counted = outcome.finish is not None and usage.calls == 1 and not usage.estimated
    written = _written(outcome)
    if is_counted or usage.completion >= written:
        return usage
    return replace(usage, completion=written, estimated=True)


def _overhead_seconds(outcome: Outcome, now: float) -> float:
    if outcome.stream and outcome.first_byte is not None:
        return overhead_seconds(outcome)
    return now - outcome.started - outcome.upstream_seconds


def _hedged(attempts: Sequence[Attempt]) -> str:
    return next((each.deployment for each in attempts if each.is_hedge), "")


def _attempt(attempt: Attempt, now: float) -> AttemptRecord:
    failure = attempt.failure
    ended = now if attempt.ended is None else attempt.ended
    kind = "lost" if attempt.is_lost else "ok" if failure is None else failure.kind.value
    return AttemptRecord(
        attempt.deployment,
        kind,
        None if failure is None else failure.status,
        milliseconds(ended - attempt.started),
        attempt.is_hedge,
    )
