"""Counters of one process: exact, bounded, and synchronous underneath.

Where replicas count together, they are each one's own picture: what the counter of all said last is told to them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from typing import Final, Protocol

from msgspec.structs import replace

from gateway.state.admission import MAX_NANO_USD, Admission, Charges, Check, Filled, Kind, is_rate, judged, used
from gateway.state.bucket import Bucket, part_of, within

MAX_COUNTERS: Final = 100_000
"""Of more, those that were not asked for longest are dropped, unless something is held of them."""
_MOST_TOLD: Final = 1000
"""Rates that are told to a server that was emptied."""
_MOST_LOOKED_AT: Final = 10_000
"""Counters among which those are looked for, the youngest ones."""
_IDLE_MS: Final = 86_400_000
"""A budget that nobody asked for so long begins again from the ledger."""
_HEARD_MS: Final = 10_000
"""What was heard of others longer ago says nothing any more."""


class _Counter(Protocol):
    def level(self, check: Check, now_ms: int) -> int: ...

    def take(self, check: Check, now_ms: int) -> None: ...

    def settle(self, check: Check, used: int, now_ms: int) -> None: ...

    def is_idle(self, now_ms: int) -> bool:
        """Whether a new counter would say the same."""
        ...

    def hear(self, check: Check, level: int, replicas: int, now_ms: int) -> None:
        """Takes in how far the counter of all is filled, with what we took."""
        ...

    def share(self, check: Check, replicas: int, now_ms: int) -> Check:
        """Returns what of a check is ours alone; a request that is larger than the share may take all of it."""
        ...

    @property
    def is_held(self) -> bool:
        """Whether a lease still has to settle with it."""
        ...

    @property
    def spent(self) -> int:
        """Of a budget: what was spent for good."""
        ...

    def passing(self, now_ms: int) -> int:
        """Of a budget: what requests under way hold, or may count twice for a moment."""
        ...


class _Others:
    """What other replicas had taken, when that was heard."""

    __slots__ = ("_amount", "_at_ms")

    def __init__(self) -> None:
        self._amount = 0
        self._at_ms: int | None = None

    def hear(self, amount: int, now_ms: int) -> None:
        self._amount = max(0, amount)
        self._at_ms = now_ms

    def amount(self, now_ms: int) -> int | None:
        return None if self._at_ms is None or now_ms - self._at_ms >= _HEARD_MS else self._amount


class _Places:
    """Requests at the same time."""

    def __init__(self) -> None:
        self._taken = 0
        self._others = _Others()

    def level(self, check: Check, now_ms: int) -> int:
        return self._taken

    def take(self, check: Check, now_ms: int) -> None:
        self._taken += 1

    def settle(self, check: Check, used: int, now_ms: int) -> None:
        self._taken -= 1

    def is_idle(self, now_ms: int) -> bool:
        return self._taken == 0 and self._others.amount(now_ms) is None

    def hear(self, check: Check, level: int, replicas: int, now_ms: int) -> None:
        self._others.hear(level - self._taken, now_ms)

    def share(self, check: Check, replicas: int, now_ms: int) -> Check:
        share = part_of(check.limit, replicas)
        others = self._others.amount(now_ms)
        if others is not None:
            free = max(0, check.limit - others - self._taken)
            share = min(share, self._taken + -(-free // replicas))
        return within(check, share)

    @property
    def is_held(self) -> bool:
        return self._taken > 0

    def passing(self, now_ms: int) -> int:
        return 0

    spent = 0


class _Purse:
    """A budget: what the ledger knew when it was first taken of, what was settled since, what is held.

    Where others spend of it, too, the larger of these figures misses what the ledger does not know yet of the other
    one: there it is the ledger's figure with what was settled lately.
    """

    def __init__(self, check: Check, ledger_ms: int) -> None:
        self._check = check
        self._spent: int | None = None
        self._held = 0
        self._leases = 0
        self._asked_ms = 0
        self._ledger_ms = ledger_ms
        self._lately: deque[tuple[int, int]] = deque()
        self._lately_sum = 0
        self._settled = 0
        """What we spent ourselves."""
        self._others = _Others()
        self._alone: tuple[int, int] | None = None
        """What we had taken, and how far all was filled, when the counter of all was first missed.

        Of what was left then each takes its share, and no share of that again: others may take what is left of theirs.
        """

    def level(self, check: Check, now_ms: int) -> int:
        self._asked_ms = now_ms
        return min(MAX_NANO_USD, max(self._spent or 0, check.spent_nano_usd + self._recent(now_ms)) + self._held)

    def lately(self, now_ms: int) -> Check | None:
        """Returns a check of what was settled, and the ledger may not know; None if there is nothing."""
        amount = self._recent(now_ms)
        return replace(self._check, amount=amount) if amount else None

    def _recent(self, now_ms: int) -> int:
        while self._lately and now_ms - self._lately[0][0] >= self._ledger_ms:
            self._lately_sum -= self._lately.popleft()[1]
        return self._lately_sum

    def take(self, check: Check, now_ms: int) -> None:
        # What others have spent the ledger knows; what is settled from now on it does not know yet.
        self._spent = max(self._spent or 0, check.spent_nano_usd)
        self._held += check.take
        self._leases += 1

    def settle(self, check: Check, used: int, now_ms: int) -> None:
        self._held -= check.take
        self._leases -= 1
        self._settled += used
        self._spent = min(MAX_NANO_USD, (self._spent or 0) + used)
        self._asked_ms = now_ms
        if self._ledger_ms and used:
            self._lately.append((now_ms, used))
            self._lately_sum += used

    def is_idle(self, now_ms: int) -> bool:
        return not self._leases and now_ms - self._asked_ms >= _IDLE_MS

    def hear(self, check: Check, level: int, replicas: int, now_ms: int) -> None:
        self._others.hear(level - self.level(check, now_ms), now_ms)
        self._alone = None

    def share(self, check: Check, replicas: int, now_ms: int) -> Check:
        level, taken = self.level(check, now_ms), self._settled + self._held
        if self._alone is None:
            self._alone = taken, level + (self._others.amount(now_ms) or 0)
        taken_before, level_before = self._alone
        free = check.capacity
        share = -(-max(0, free - level_before) // replicas)
        left = min(share - (taken - taken_before), free - level)
        amount = min(check.amount, max(1, share)) if check.amount <= free - level else check.amount
        limit = min(free, level + max(0, left))
        return replace(check, limit=limit, amount=amount, whole=check.limit, reserved_nano_usd=0)

    @property
    def is_held(self) -> bool:
        return self._leases > 0

    @property
    def spent(self) -> int:
        return self._spent or 0

    def passing(self, now_ms: int) -> int:
        return self._held + self._recent(now_ms)


class Counters:
    """Counts for a process that is alone, or that has to decide alone for a while."""

    def __init__(
        self, clock: Callable[[], float], max_counters: int = MAX_COUNTERS, *, ledger_seconds: float = 0
    ) -> None:
        """`clock` gives seconds and never goes back.

        Where others spend of the same budgets, the ledger has after `ledger_seconds` what was spent before.
        """
        self._clock = clock
        self._ledger_ms = int(ledger_seconds * 1000)
        self._max_counters = max_counters
        self._counters: OrderedDict[str, _Counter] = OrderedDict()
        """Those asked for, or looked at, longest ago are first."""
        self._leases: dict[str, tuple[Check, ...]] = {}

    def __len__(self) -> int:
        return len(self._counters)

    @property
    def leases(self) -> Mapping[str, Sequence[Check]]:
        """What is held, by whom."""
        return self._leases

    def spent_nano_usd(self, check: Check) -> int:
        """Returns what is known to be spent of a budget."""
        counter = self._counters.get(check.name)
        return check.spent_nano_usd if counter is None else max(counter.spent, check.spent_nano_usd)

    def hear(self, admission: Admission, replicas: int) -> None:
        """Takes in what the counters of all say, of which so many replicas take."""
        now_ms = self._now_ms()
        for check, level in zip(admission.checks, admission.levels, strict=True):
            self._counter(check).hear(check, level, replicas, now_ms)

    def share(self, check: Check, replicas: int) -> Check:
        """Returns what of a check is ours while nobody counts for all."""
        return self._counter(check).share(check, replicas, self._now_ms())

    def lately(self) -> Sequence[Check]:
        """Returns of each budget what was spent, and the ledger may not know."""
        now_ms = self._now_ms()
        found = (counter.lately(now_ms) for counter in self._counters.values() if isinstance(counter, _Purse))
        return [check for check in found if check is not None]

    def rates(self) -> Sequence[Filled]:
        """Returns how far rates are filled, to be told: the fullest ones, no more than can be told at once."""
        now_ms = self._now_ms()
        youngest = islice(reversed(self._counters.items()), _MOST_LOOKED_AT)
        buckets = {name: counter for name, counter in youngest if isinstance(counter, Bucket)}
        filled = (bucket.filled(name, now_ms) for name, bucket in buckets.items())
        found = nlargest(_MOST_TOLD, (each for each in filled if each.share), key=lambda each: each.share)
        for each in found:
            buckets[each.name].told(each, now_ms)
        return found

    def correct(self, checks: Sequence[Check], charges: Charges) -> None:
        """Takes in what was used of rates that the counter of all has given."""
        for check in checks:
            counter = self._counters.get(check.name)
            if isinstance(counter, Bucket):
                counter.correct(check, used(check, charges))

    @property
    def trouble(self) -> str:
        """Nothing: there are no others."""
        return ""

    async def start(self) -> None:
        """Does nothing."""

    async def aclose(self) -> None:
        """Does nothing."""

    async def admit(self, lease: str, checks: Sequence[Check]) -> Admission:
        """Answers without suspending."""
        return self.decide(lease, checks)

    def decide(self, lease: str, checks: Sequence[Check]) -> Admission:
        """Takes what all checks want, or nothing; raises ValueError for a lease that is held already."""
        now_ms = self._now_ms()
        self._refuse_held(lease)
        before = len(self._counters)
        counters = [self._counter(check) for check in checks]
        levels = [counter.level(check, now_ms) for counter, check in zip(counters, checks, strict=True)]
        admission = judged(checks, levels, [counter.passing(now_ms) for counter in counters])
        if admission.refused is None:
            for counter, check in zip(counters, checks, strict=True):
                counter.take(check, now_ms)
            self._leases[lease] = tuple(checks)
        self._drop_idle(now_ms, 2 * (len(self._counters) - before) + 1)
        return admission

    def hold(self, lease: str, checks: Sequence[Check]) -> None:
        """Takes what was admitted elsewhere, without a question."""
        now_ms = self._now_ms()
        self._refuse_held(lease)
        before = len(self._counters)
        for check in checks:
            self._counter(check).take(check, now_ms)
        self._leases[lease] = tuple(checks)
        self._drop_idle(now_ms, 2 * (len(self._counters) - before) + 1)

    def settle(self, lease: str, charges: Charges) -> None:
        """Corrects what was taken, once."""
        now_ms = self._now_ms()
        for check in self._leases.pop(lease, ()):
            # By name: a bucket that was empty by now may have been dropped, and this may fill it again.
            self._counter(check).settle(check, used(check, charges), now_ms)

    def release(self, lease: str) -> None:
        """Gives all back, except that a request was made."""
        self.settle(lease, Charges())

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _refuse_held(self, lease: str) -> None:
        if lease in self._leases:
            raise ValueError(f"lease {lease} is held already; every admission needs one of its own")

    def _counter(self, check: Check) -> _Counter:
        name = check.name
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = self._new(check)
        else:
            self._counters.move_to_end(name)
        return counter

    def _new(self, check: Check) -> _Counter:
        if is_rate(check.kind):
            return Bucket()
        return _Places() if check.kind is Kind.IN_FLIGHT else _Purse(check, self._ledger_ms)

    def _drop_idle(self, now_ms: int, count: int) -> None:
        """Looks at the oldest, more than were added; those that have to stay are the youngest again."""
        for _ in range(min(count, len(self._counters))):
            name, counter = next(iter(self._counters.items()))
            is_one_too_many = len(self._counters) > self._max_counters and not counter.is_held
            if counter.is_idle(now_ms) or is_one_too_many:
                del self._counters[name]
            else:
                self._counters.move_to_end(name)
