"""One line of a batch as a request of its key: the same router, limits, executor and books as of every other one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from adapters.types import Call, Operation
from gateway.access.keys import Caller
from gateway.batches.lines import ENDPOINTS, answered, refused
from gateway.domain import Outcome
from gateway.engine.answer import Answer
from gateway.errands import Errand
from gateway.errors import (
    BudgetExceeded,
    Draining,
    GatewayError,
    NotAdmitted,
    UpstreamError,
)
from gateway.runtime import Runtime
from gateway.storage.jobs import COMPLETED, FAILED, Batch, Line

MAX_TRIES: Final = 3
"""How often a line is begun: after failures of upstreams, and after the end of a process that had begun it."""
_BUDGET_SECONDS: Final = 60.0
"""A budget that is used up may be raised at any time."""
_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 300.0
_AGAIN_SECONDS: Final = 5.0
_CLIENT_GONE_STATUS: Final = 499
_TOO_MANY: Final = 429
_FIRST_FAULT: Final = 500


class ReadCall(Protocol):
    """Reads a request; raises GatewayError."""

    def __call__(self, operation: Operation, body: bytes, *, id: str, created: int) -> Call:
        """Returns it."""
        ...


class Done(Struct, frozen=True):
    """A line that has come to its end."""

    state: int
    result: bytes


class Pause(Struct, frozen=True):
    """A line that has to wait."""

    seconds: float
    is_tried: bool
    """It was refused by an upstream, and waits alone; else a limit refused it, and its whole batch waits."""


Ending = Done | Pause


class LineRunner:
    """Runs lines; one for all."""

    def __init__(self, read_call: ReadCall, next_id: Callable[[], str], told: Callable[[Outcome, str], None]) -> None:
        """`told` hears of each line that has come to its end, and the name of its key."""
        self._read_call = read_call
        self._next_id = next_id
        self._told = told

    async def run(self, runtime: Runtime, batch: Batch, line: Line) -> Ending:
        """Makes the request, and has it counted and recorded as its key's."""
        operation = ENDPOINTS[batch.endpoint]
        outcome = Outcome(f"req_{self._next_id()}", operation=operation.value, started=time.monotonic())
        outcome.bytes_in = len(line.body)
        errand = Errand(runtime, outcome, line.body)
        ending: Ending = Pause(0.0, is_tried=False)
        try:
            client = runtime.keys.caller(batch.owner)
            body = await _answer(errand, self._call(operation, line), client, outcome)
            ending = Done(COMPLETED, answered(line, outcome.request_id, body))
        except GatewayError as error:
            outcome.status, outcome.error_code = error.status, error.code or error.type
            outcome.limit, outcome.limit_of = error.refused_by
            if errand.kept is not None:
                errand.kept.add(error.body())
            ending = ending_of(error, line, refused(line, outcome.request_id, error))
        except asyncio.CancelledError:
            outcome.is_cancelled, outcome.status = True, _CLIENT_GONE_STATUS
            raise
        finally:
            if isinstance(ending, Done) or outcome.usage is not None or (outcome.is_cancelled and outcome.attempts):
                # One that was cut, or has cost something all the same, is a request: it is made again as another.
                errand.settle()
                runtime.metrics.request_started()  # only now: a line is none of those that somebody waits for
                errand.tell()
                self._told(outcome, errand.client.name)
            else:
                errand.release()
                runtime.metrics.line_tried(outcome)
        return ending

    def _call(self, operation: Operation, line: Line) -> Call:
        return self._read_call(operation, line.body, id=f"chatcmpl-{self._next_id()}", created=int(time.time()))


async def _answer(errand: Errand, call: Call, client: Caller, outcome: Outcome) -> bytes:
    """Returns the answer's body; raises GatewayError."""
    answer = await errand.run(call, client)
    if not isinstance(answer, Answer):
        await answer.aclose()
        raise TypeError("a line of a batch was answered with a stream")
    reply = answer.reply
    outcome.usage, outcome.response_model, outcome.finish = reply.usage, reply.model, reply.finish
    outcome.status, outcome.bytes_out, outcome.first_byte = 200, len(reply.body), time.monotonic()
    if errand.kept is not None:
        errand.kept.add(reply.body)
    return bytes(reply.body)


def ending_of(error: GatewayError, line: Line, written: bytes) -> Ending:
    """Returns what an error makes of a line: it has to wait, or `written` is its result."""
    return _pause(error, line) or Done(FAILED, written)


def _pause(error: GatewayError, line: Line) -> Pause | None:
    """Returns how long a line has to wait after an error, None if that is its result."""
    wait = min(_told(error) or _PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
    if isinstance(error, BudgetExceeded):
        return Pause(_BUDGET_SECONDS, is_tried=False)
    if isinstance(error, NotAdmitted):
        return Pause(wait, is_tried=False) if error.should_retry else None
    if isinstance(error, Draining):  # and all else that we cannot do in this moment
        return Pause(wait, is_tried=False)
    if not isinstance(error, UpstreamError):
        return None
    if error.status == _TOO_MANY:
        return Pause(wait, is_tried=False)
    if error.status >= _FIRST_FAULT and line.tries < MAX_TRIES:
        return Pause(max(wait, _AGAIN_SECONDS * line.tries), is_tried=True)
    return None


def _told(error: GatewayError) -> float:
    said = dict(error.headers()).get("retry-after", "")
    return float(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0.0
