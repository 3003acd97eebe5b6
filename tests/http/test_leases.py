"""What a request holds of limits and budgets is given back, whatever goes wrong while it is settled."""

from __future__ import annotations

from typing import Any, cast

import pytest

from adapters.types import Operation
from gateway.access.keys import Caller
from gateway.domain import Attempt, Outcome
from gateway.engine.gate import Lease
from gateway.engine.settle import Settler
from gateway.http.api.inference import InferenceEndpoint
from gateway.http.edge import Transaction
from gateway.http.guard.outbox import Outbox
from gateway.http.ids import Ids
from gateway.records import UsageRecord
from gateway.routing.route import Plan
from gateway.state.admission import Check, Kind
from gateway.state.counters import Counters

PLACE = Check(Kind.IN_FLIGHT, "key:k1", 1)
UNUSED: Any = None


class _FullBooks:
    """Books that cannot take a record."""

    def record(self, record: UsageRecord, outbox: Outbox | None = None) -> None:
        raise RuntimeError("no")


class _BrokenSettler(Settler):
    """Makes no record."""

    def settle(self, outcome: Outcome, plan: Plan, client: Caller, record_id: str) -> UsageRecord:
        raise RuntimeError("no")


def endpoint(settler: Settler) -> InferenceEndpoint:
    return InferenceEndpoint(
        Operation.CHAT,
        router=UNUSED,
        executor=UNUSED,
        mirror=UNUSED,
        drain=UNUSED,
        ids=Ids(),
        max_body_bytes=1,
        books=cast(Any, _FullBooks()),
        gate=UNUSED,
        settler=settler,
        keeper=UNUSED,
        repeats=UNUSED,
    )


@pytest.mark.parametrize("settler", [Settler(), _BrokenSettler()], ids=["record", "settler"])
def test_a_place_is_free_again_although_settling_failed(settler: Settler) -> None:
    counters = Counters(lambda: 1.0)
    assert counters.decide("one", [PLACE]).is_admitted
    transaction = Transaction({"headers": []}, UNUSED, UNUSED, Outcome("req_1", started=0.0))
    transaction.outcome.attempts.append(Attempt(1, "acme/m", 0.0))
    with pytest.raises(RuntimeError):
        endpoint(settler)._settle(transaction, Plan("m", ()), Lease(counters, "one", ()), None)
    assert counters.decide("two", [PLACE]).is_admitted
