"""Hooks: what a plugin is told of requests that have ended, and the guard between its mistakes and ours.

Theory. Everything is told after the end of a request, its attempts first: what a plugin does then makes no client wait
for another attempt. It is called on the event loop and never awaited; whoever has more to do hands it to a thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from adapters.types import Usage
from gateway.domain import Attempt, Outcome
from gateway.telemetry.access_log import clean

_NO_USAGE = Usage()
_log = logging.getLogger("anyport.plugins")


class AttemptEnded(Struct, frozen=True):
    """One HTTP try at a deployment."""

    request_id: str
    number: int
    """Counted from 1, in the order in which they began."""
    provider: str
    deployment: str
    route: str
    """What it was tried for: another one than was asked for is a fallback."""
    result: str
    """`ok`, `lost` (another one was faster, or the client left), or the kind of its failure, such as `rate_limit`."""
    status: int | None
    """The HTTP status of a failure, if there was one."""
    seconds: float
    is_hedge: bool


class RequestEnded(Struct, frozen=True):
    """One request of a client; neither prompt nor answer."""

    request_id: str
    operation: str
    model: str
    """The public name that was asked for."""
    client_key: str
    """The name of the client's key, "" without one."""
    provider: str
    deployment: str
    response_model: str
    """The model that answered, as the upstream calls it."""
    is_stream: bool
    status: int
    error_code: str
    """"" if there was no error."""
    attempts: int
    fallback: str
    """The kind of failure after which another route took over, "" if none did."""
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    is_estimated: bool
    """The upstream has not counted the tokens."""
    cost_nano_usd: int | None
    """None if the price is not known."""
    first_byte_seconds: float | None
    total_seconds: float
    is_cancelled: bool


class Hook(Protocol):
    """What a plugin of the group `anyport.hooks` makes. Both methods return at once."""

    def attempt_ended(self, event: AttemptEnded) -> None:
        """Hears of each attempt of a request that has ended."""
        ...

    def request_ended(self, event: RequestEnded) -> None:
        """Hears of a request that has ended, after its attempts."""
        ...


class Hooks:
    """The hooks of one configuration; what one of them raises reaches nobody else."""

    def __init__(self, hooks: Mapping[str, Hook], *, failed: Callable[[str], None]) -> None:
        """`hooks` by their plugin; `failed` hears its name for each request of which a hook could not take all."""
        self._hooks = hooks
        self._failed = failed
        self._said: set[str] = set()

    def __len__(self) -> int:
        return len(self._hooks)

    def tell(self, outcome: Outcome, client_key: str) -> None:
        """Tells all of them of a request; never raises."""
        ended = _request(outcome, client_key)
        attempts = [_attempt(outcome, attempt) for attempt in outcome.attempts]
        for name, hook in self._hooks.items():
            try:
                for attempt in attempts:
                    hook.attempt_ended(attempt)
                hook.request_ended(ended)
            except Exception:
                self._failed(name)
                if name not in self._said:
                    self._said.add(name)
                    _log.exception("the hook of the plugin %s has failed; further failures are only counted", name)


def _attempt(outcome: Outcome, attempt: Attempt) -> AttemptEnded:
    failure = attempt.failure
    return AttemptEnded(
        request_id=clean(outcome.request_id),
        number=attempt.number,
        provider=clean(attempt.provider),
        deployment=clean(attempt.deployment),
        route=clean(attempt.route),
        result="lost" if attempt.is_lost else "ok" if failure is None else failure.kind.value,
        status=None if failure is None else failure.status,
        seconds=(outcome.ended if attempt.ended is None else attempt.ended) - attempt.started,
        is_hedge=attempt.is_hedge,
    )


def _request(outcome: Outcome, client_key: str) -> RequestEnded:
    usage = outcome.usage or _NO_USAGE
    first = outcome.first_byte
    return RequestEnded(
        request_id=clean(outcome.request_id),
        operation=outcome.operation,
        model=clean(outcome.model),
        client_key=clean(client_key),
        provider=clean(outcome.provider),
        deployment=clean(outcome.deployment),
        response_model=clean(outcome.response_model or ""),
        is_stream=outcome.stream,
        status=outcome.status,
        error_code=clean(outcome.error_code or ""),
        attempts=len(outcome.attempts),
        fallback=outcome.fallback,
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        cached_tokens=usage.cached_prompt,
        reasoning_tokens=usage.reasoning,
        is_estimated=usage.estimated,
        cost_nano_usd=outcome.cost_nano_usd,
        first_byte_seconds=None if first is None else first - outcome.started,
        total_seconds=outcome.ended - outcome.started,
        is_cancelled=outcome.is_cancelled,
    )
