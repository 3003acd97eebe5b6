"""Any order of admissions, ends and waiting gives what a naive model gives, which counts in fractions and lists."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gateway.state.address import read_address
from gateway.state.admission import Admission, Admissions, Charges, Check, Kind
from gateway.state.counters import Counters
from gateway.state.factory import connector
from gateway.state.redis import Patience
from gateway.state.scripts import Scripts
from gateway.state.shared import SharedCounters
from tests.state.counting import PATIENT
from tests.state.server import RedisServer

MINUTE_MS = 60_000
OWNERS = ("key:a", "team:b")
LIMITS = {Kind.REQUESTS: 7, Kind.TOKENS: 999, Kind.IN_FLIGHT: 3, Kind.BUDGET: 1000}


class Naive:
    """GCRA by theoretical arrival times, places and money by what is held."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.arrivals: dict[str, Fraction] = {}
        self.spent: dict[str, int] = {}
        self.held: dict[str, tuple[Check, ...]] = {}

    def left(self, check: Check) -> Fraction:
        """Returns how much of a check is there."""
        if check.kind in (Kind.REQUESTS, Kind.TOKENS):
            late = max(Fraction(0), self.arrivals.get(check.name, Fraction(0)) - self.now_ms)
            return (MINUTE_MS - late) * check.limit / MINUTE_MS
        mine = [held for checks in self.held.values() for held in checks if held.name == check.name]
        if check.kind is Kind.IN_FLIGHT:
            return Fraction(check.limit - len(mine))
        spent = max(self.spent.get(check.name, 0), check.spent_nano_usd)
        return Fraction(check.limit - spent - sum(held.amount for held in mine))

    def admit(self, lease: str, checks: tuple[Check, ...]) -> bool:
        if any(check.amount > self.left(check) for check in checks):
            return False
        for check in checks:
            self._move(check, check.amount)
            if check.kind is Kind.BUDGET:
                self.spent.setdefault(check.name, check.spent_nano_usd)
        self.held[lease] = checks
        return True

    def settle(self, lease: str, charges: Charges) -> None:
        for check in self.held.pop(lease, ()):
            if check.kind is Kind.TOKENS:
                self._move(check, charges.tokens - check.amount)
            if check.kind is Kind.BUDGET:
                self.spent[check.name] += charges.nano_usd

    def _move(self, check: Check, amount: int) -> None:
        if check.kind in (Kind.REQUESTS, Kind.TOKENS):
            begins = max(Fraction(self.now_ms), self.arrivals.get(check.name, Fraction(0)))
            moved = begins + Fraction(amount * MINUTE_MS, check.limit)
            self.arrivals[check.name] = max(Fraction(self.now_ms), moved)


amounts = st.integers(0, 1200)
checks = st.builds(
    lambda kind, owner, amount: Check(
        kind, owner, LIMITS[kind], amount if kind in (Kind.TOKENS, Kind.BUDGET) else 1, "w" * (kind is Kind.BUDGET)
    ),
    st.sampled_from(Kind),
    st.sampled_from(OWNERS),
    st.integers(1, 400) | amounts,
)


class Machine(RuleBasedStateMachine):
    """Does the same with the model and with the real one."""

    def __init__(self, make: Callable[[Callable[[], float]], Admissions], tell_time: Callable[[int], object]) -> None:
        super().__init__()
        self.naive = Naive()
        self.tell_time = tell_time
        tell_time(self.naive.now_ms)
        self.loop = asyncio.new_event_loop()
        # Half a millisecond more, that no rounding of fractions makes it one less.
        self.real = make(lambda: (self.naive.now_ms + 0.5) / 1000)
        self.loop.run_until_complete(self.real.start())
        self.numbers = count()
        self.ledger: dict[str, int] = {}

    def teardown(self) -> None:
        self.loop.run_until_complete(self.real.aclose())
        self.loop.close()

    def ask(self, wanted: tuple[Check, ...]) -> tuple[str, Admission]:
        lease = f"l{next(self.numbers)}"
        return lease, self.loop.run_until_complete(self.real.admit(lease, wanted))

    @rule(wanted=st.lists(checks, min_size=1, max_size=5, unique_by=lambda check: check.name))
    def admit(self, wanted: list[Check]) -> None:
        known = tuple(
            Check(each.kind, each.owner, each.limit, each.amount, each.window, self.ledger.get(each.name, 0))
            for each in wanted
        )
        fits = {check.name: check.amount <= self.naive.left(check) for check in known}
        lease, answer = self.ask(known)
        assert answer.is_admitted is self.naive.admit(lease, known)
        assert answer.refused is None or not fits[answer.refused.name]
        for check, figure in zip(known, answer.figures, strict=True):
            assert figure.remaining == max(0, self.naive.left(check) // 1)
        if answer.refused is not None and answer.wait_seconds is not None and answer.refused.kind is Kind.TOKENS:
            lacking = answer.refused.amount - self.naive.left(answer.refused)
            assert 0 <= answer.wait_seconds * 1000 - lacking * MINUTE_MS / answer.refused.limit < 1.001

    @rule(which=st.integers(0, 20), tokens=amounts, nano_usd=amounts, again=st.booleans())
    def settle(self, which: int, tokens: int, nano_usd: int, again: bool) -> None:
        for lease in list(self.naive.held)[which : which + 1]:
            self.naive.settle(lease, Charges(tokens, nano_usd))
            self.real.settle(lease, Charges(tokens, nano_usd))
            if again:
                self.real.settle(lease, Charges(nano_usd, tokens))
            self.settled()

    @rule(which=st.integers(0, 20))
    def release(self, which: int) -> None:
        for lease in list(self.naive.held)[which : which + 1]:
            self.naive.settle(lease, Charges())
            self.real.release(lease)
            self.settled()

    @rule(ms=st.integers(1, 3000) | st.sampled_from([0, 8571, 8572, 60_000, 600_000]))
    def wait(self, ms: int) -> None:
        self.naive.now_ms += ms
        self.tell_time(self.naive.now_ms)

    @rule(owner=st.sampled_from(OWNERS), share=st.integers(0, 100))
    def ledger_catches_up(self, owner: str, share: int) -> None:
        name = Check(Kind.BUDGET, owner, 1, window="w").name
        known = self.naive.spent.get(name, 0) * share // 100
        self.ledger[name] = max(self.ledger.get(name, 0), known)

    @invariant()
    def places_are_never_more_than_there_are(self) -> None:
        assert self.real.trouble == ""  # nobody decides alone here
        for owner in OWNERS:
            assert self.naive.left(Check(Kind.IN_FLIGHT, owner, LIMITS[Kind.IN_FLIGHT])) >= 0

    def settled(self) -> None:
        """What is told is carried out before what is asked after it."""
        self.ask((Check(Kind.IN_FLIGHT, "nobody", 0),))


def test_counters_of_one_process_equal_the_model() -> None:
    run_state_machine_as_test(
        lambda: Machine(Counters, lambda ms: None), settings=settings(max_examples=100, stateful_step_count=30)
    )


def test_counters_in_redis_equal_the_model(server: RedisServer) -> None:
    with server.admin() as admin:

        def make(_clock: Callable[[], float]) -> Admissions:
            return SharedCounters(
                connector(read_address(server.url), Patience(answer_seconds=10)),
                server.place,
                scripts=Scripts(
                    replica="r",
                    place_seconds=10**7,
                    lease_seconds=10**7,
                    now="{redis.call('GET', 'test:seconds'), redis.call('GET', 'test:microseconds')}",
                ),
                clock=time.monotonic,
                pace=PATIENT,
            )

        def tell_time(ms: int) -> None:
            admin.mset({"test:seconds": ms // 1000, "test:microseconds": ms % 1000 * 1000})

        def machine() -> Machine:
            admin.flushall()
            return Machine(make, tell_time)

        run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=30))
