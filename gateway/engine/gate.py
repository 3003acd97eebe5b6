"""Lets a request in if all that its key, project and team may do allows it, and tells their counters what it took.

Theory. Everything is taken at once, for the worst case, before an upstream hears of the request, and put right once
when its record is made. Only virtual keys have limits; everybody else passes without a word.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from adapters.types import Headers
from gateway.access.admission import Estimate, Reserved, Spent, checks, owners, rate_headers, refusal, worst_cost
from gateway.access.estimate import Tokens, tokens_of
from gateway.access.keys import Caller
from gateway.access.premises import is_limited
from gateway.access.spending import SpendingUnknown
from gateway.domain import Price
from gateway.engine.cost import Prices
from gateway.errors import LimitsUnavailable
from gateway.records import UsageRecord
from gateway.routing.asking import Asking
from gateway.routing.route import Plan
from gateway.state.admission import Admissions, Charges, Check, Kind

_UNAVAILABLE: Final = "unavailable"


class Lease:
    """What one admitted request holds, until it says what it took."""

    __slots__ = ("_admissions", "_checks", "_name", "headers")

    def __init__(self, admissions: Admissions, name: str, headers: Headers, checks: Sequence[Check] = ()) -> None:
        self._admissions = admissions
        self._checks = checks
        self._name = name
        self.headers = headers
        """For the response: `x-ratelimit-...`."""

    def held_nano_usd(self) -> dict[str, int]:
        """Returns what it holds of whose budgets: owners such as `key:ID`."""
        return {each.owner: each.amount for each in self._checks if each.kind is Kind.BUDGET}

    def settle(self, record: UsageRecord) -> None:
        """Puts right what was taken; a second call, or one after `release`, does nothing."""
        tokens = record.input_tokens + record.output_tokens
        self._admissions.settle(self._name, Charges(tokens, record.cost_nano_usd or 0))

    def release(self) -> None:
        """Gives all back, except that a request was made."""
        self._admissions.release(self._name)


class Gate:
    """Admits the requests of one configuration."""

    def __init__(
        self,
        admissions: Admissions,
        spent: Spent,
        reserved: Reserved,
        *,
        prices: Prices,
        wall: Callable[[], float],
        assumed_output_tokens: int,
        refused: Callable[[str], None],
    ) -> None:
        """`spent` may raise SpendingUnknown; `refused` hears of each refusal what kind of limit it was."""
        self._admissions = admissions
        self._spent = spent
        self._reserved = reserved
        self._prices = prices
        self._wall = wall
        self._assumed_output_tokens = assumed_output_tokens
        self._refused = refused
        self._names = map(f"{secrets.token_hex(8)}-{{}}".format, count(1))

    async def admit(self, asking: Asking, plan: Plan, client: Caller) -> Lease | None:
        """Returns what the request holds, None if nothing limits it; raises what says which limit refuses it.

        Waits for the shared counters, if there are any, 80 ms at most.
        """
        if client.key is None:
            return None
        charged = owners(client.key, client.project, client.team)
        if not any(map(is_limited, charged)):
            return None
        now = self._wall()
        estimate = self._estimate(asking, plan, now, has_budget=any(owner.budgets for owner in charged))
        try:
            wanted = checks(charged, estimate, int(now * 1000), self._spent, self._reserved)
        except SpendingUnknown as unknown:
            self._refused(_UNAVAILABLE)
            message = f"what {unknown.owner.replace(':', ' ', 1)} has spent of its budget is not known now"
            error = LimitsUnavailable(f"{message}; try again in a moment")
            error.refused_by = (str(Kind.BUDGET), unknown.owner)
            raise error from None
        if not wanted:
            return None
        name = next(self._names)
        admission = await self._admissions.admit(name, wanted)
        if admission.refused is not None:
            self._refused(_UNAVAILABLE if admission.is_unavailable else str(admission.refused.kind))
            error = refusal(admission)
            error.refused_by = (str(admission.refused.kind), admission.refused.owner)
            raise error
        return Lease(self._admissions, name, rate_headers(admission), wanted)

    def resume(self, client: Caller) -> Lease | None:
        """Returns what tells the counters of budgets what a request takes that was admitted by somebody else.

        None if there is no budget, or if nobody knows yet what was spent of it: then the ledger will tell.
        """
        if client.key is None:
            return None
        charged, now_ms = owners(client.key, client.project, client.team), int(self._wall() * 1000)
        try:
            found = checks(charged, Estimate(0), now_ms, self._spent, self._reserved)
        except SpendingUnknown:
            return None
        wanted = [check for check in found if check.kind is Kind.BUDGET]
        if not wanted:
            return None
        name = next(self._names)
        self._admissions.hold(name, wanted)
        return Lease(self._admissions, name, (), wanted)

    def _estimate(self, asking: Asking, plan: Plan, now: float, *, has_budget: bool) -> Estimate:
        tokens = tokens_of(asking, self._assumed_output_tokens)
        cost = self._worst_cost(plan, tokens, now) if has_budget else 0
        return Estimate(tokens.input, tokens.most_output, cost)

    def _worst_cost(self, plan: Plan, tokens: Tokens, now: float) -> int | None:
        """Returns what the dearest deployment would take that the request may come to; None if no price is known."""
        deployments = (each for stage in plan.stages for each in stage.route.deployments)
        prices = (self._prices.of(each, now)[0] for each in deployments)
        return max((_dearest(price, tokens) for price in prices if price is not None), default=None)


def _dearest(price: Price, tokens: Tokens) -> int:
    """Input may all be written to a cache, and be counted at the rates of the longest prompts."""
    rates = [price.base, *(tier.rates for tier in price.tiers)]
    most_input = max(max(each.input, each.cache_write or 0, each.cache_write_1h or 0) for each in rates)
    return worst_cost(tokens.most_input, tokens.most_output, most_input, max(each.output for each in rates))
