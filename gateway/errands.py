"""A request that no connection of a client waits for: a line of a batch, a question from a chat.

It runs as every other one does: the same router, limits, executor and books.
"""

from __future__ import annotations

import time

from msgspec.structs import replace

from adapters.types import Call
from gateway.access.keys import ANONYMOUS, Caller, not_served
from gateway.domain import Outcome
from gateway.engine.answer import Answer, Stream
from gateway.engine.content import Kept
from gateway.engine.gate import Lease
from gateway.errors import LedgerUnavailable, UnknownModel
from gateway.routing.asking import Asking
from gateway.routing.route import Plan
from gateway.runtime import Runtime


class Errand:
    """One request from admission to record: `run`, and then in any case `settle`, or `release` if it is made again."""

    def __init__(self, runtime: Runtime, outcome: Outcome, asked: bytes) -> None:
        """`asked` is the body of the request."""
        self.client: Caller = ANONYMOUS
        """Whose it is; known once it is admitted."""
        self.kept: Kept | None = None
        """What is gathered of the answer, if the key keeps content."""
        self._runtime = runtime
        self._outcome = outcome
        self._asked = asked
        self._plan: Plan | None = None
        self._lease: Lease | None = None

    async def run(self, call: Call, client: Caller) -> Answer | Stream:
        """Returns what answers the request of a key; raises GatewayError. A stream is to be closed by the caller."""
        runtime, outcome = self._runtime, self._outcome
        self.client, outcome.key, outcome.stream = client, client.id, call.stream
        asking = Asking(call, key_name=client.name, key_tags=client.tags)
        self._plan = plan = planned(runtime, asking, client, outcome)
        if runtime.books.is_refusing:
            raise LedgerUnavailable("what a request uses cannot be recorded now (storage.on_ledger_failure: refuse)")
        self._lease = await runtime.gate.admit(asking, plan, client)
        if client.key is not None and client.key.keeps_content:
            self.kept = runtime.keeper.begin(self._asked)
        return await runtime.executor.run(call, plan, outcome)

    def settle(self) -> None:
        """Records what was used, and gives back what was taken."""
        self._outcome.ended = time.monotonic()
        try:
            if self._outcome.attempts and self._plan is not None:
                self._record(self._plan)
        finally:
            if self._lease is not None:
                self._lease.release()  # does nothing once it is settled

    def release(self) -> None:
        """Gives back what was taken; nothing was used."""
        self._outcome.ended = time.monotonic()
        if self._lease is not None:
            self._lease.release()

    def tell(self) -> None:
        """Counts it as a request that has ended, has its access record written, and tells plugins."""
        tell(self._runtime, self._outcome, self.client)

    def _record(self, plan: Plan) -> None:
        record = self._runtime.settler.settle(self._outcome, plan, self.client, self._outcome.request_id)
        if self.kept is not None:
            record = replace(record, content=self.kept.content())
        self._runtime.books.record(record)
        if self._lease is not None:
            self._lease.settle(record)


def tell(runtime: Runtime, outcome: Outcome, client: Caller) -> None:
    """Counts a request that has ended, has its access record written, and tells plugins."""
    runtime.metrics.request_ended(outcome)
    if runtime.access_log is not None:
        runtime.access_log.write(outcome)
    if runtime.hooks:
        runtime.hooks.tell(outcome, client.name)


def planned(runtime: Runtime, asking: Asking, client: Caller, outcome: Outcome) -> Plan:
    """Returns what a request of a key may try; raises GatewayError. The outcome learns of its name."""
    model = asking.call.model
    try:
        if not client.may_use(model):
            raise not_served(model)
        plan = runtime.router.plan(model, asking)
    except UnknownModel:
        outcome.model = runtime.router.show(model)
        if client.is_restricted:
            raise not_served(outcome.model) from None
        raise
    outcome.model = plan.model
    return plan
