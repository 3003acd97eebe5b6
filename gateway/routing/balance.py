"""In which order the deployments of a route are tried: one function per strategy. Chance and time come from outside.

Each returns all candidates, since whatever is not tried first is what comes next when the first fails. Deployments with
a lower `order` come before those with a higher in any strategy; one of weight 0 comes after all others of its order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Final

from msgspec import Struct

from gateway.routing.asking import Asking
from gateway.routing.deployment import Deployment
from gateway.routing.route import Memory, Route, Strategy

Random = Callable[[], float]
"""Returns a number from 0 up to, but not including, 1."""
_TINY: Final = 1e-12


class Moment(Struct, frozen=True):
    """What the strategies may look at besides the deployments."""

    asking: Asking
    memory: Memory
    sticky_by: str
    now: float
    random: Random


def order(
    route: Route, candidates: Sequence[Deployment], asking: Asking, now: float, random: Random
) -> Sequence[Deployment]:
    """Returns the candidates in the order in which they are to be tried."""
    if len(candidates) < 2:
        return candidates
    moment = Moment(asking, route.memory, route.sticky_by, now, random)
    strategy = _STRATEGIES[route.strategy]
    if route.is_level:
        return strategy(candidates, moment)
    ordered: list[Deployment] = []
    for level in sorted({candidate.order for candidate in candidates}):
        ordered += _with_idle_last([each for each in candidates if each.order == level], moment, strategy)
    return ordered


_Sort = Callable[[Sequence[Deployment], Moment], Sequence[Deployment]]


def _with_idle_last(candidates: Sequence[Deployment], moment: Moment, strategy: _Sort) -> Sequence[Deployment]:
    busy = [candidate for candidate in candidates if candidate.weight]
    idle = [candidate for candidate in candidates if not candidate.weight]
    return [*strategy(busy, moment), *idle] if busy else idle


def _ordered(candidates: Sequence[Deployment], moment: Moment) -> Sequence[Deployment]:
    return candidates


def _weighted(candidates: Sequence[Deployment], moment: Moment) -> Sequence[Deployment]:
    # Efraimidis and Spirakis: sorted by u^(1/w), each comes first with the probability of its weight.
    keys = [(-log(moment.random() or _TINY) / each.weight, place) for place, each in enumerate(candidates)]
    return [candidates[place] for _, place in sorted(keys)]


def _round_robin(candidates: Sequence[Deployment], moment: Moment) -> Sequence[Deployment]:
    """Smooth weighted round robin: the turn goes to whoever is owed most."""
    owed = moment.memory.owed
    total = 0.0
    for each in candidates:
        owed[each.id] = owed.get(each.id, 0.0) + each.weight
        total += each.weight
    ordered = sorted(candidates, key=lambda each: -owed[each.id])
    owed[ordered[0].id] -= total
    return ordered


def _least_busy(candidates: Sequence[Deployment], moment: Moment) -> Sequence[Deployment]:
    return [
        each
        for _, _, each in sorted(
            ((each.vitals.in_flight / each.weight, moment.random(), each) for each in candidates),
            key=lambda ranked: ranked[:2],
        )
    ]


def _lowest_latency(candidates: Sequence[Deployment], moment: Moment) -> Sequence[Deployment]:
    """The better of two at random, then the rest by what they are expected to take.

    The best of all would get every request at once until its figures are as bad as the others'.
    """
    ranked = sorted(candidates, key=lambda each: each.vitals.latency.score(moment.now, each.vitals.in_flight))
    if len(ranked) == 2:
        if moment.random() < _EXPLORED:
            ranked.reverse()
        return ranked
    one = int(moment.random() * len(ranked))
    two = int(moment.random() * (len(ranked) - 1))
    two += two >= one
    chosen = ranked[min(one, two)]
    return [chosen, *(each for each in ranked if each is not chosen)]


_EXPLORED: Final = 0.02
"""Of two, so many requests go to the slower one, since nobody else would find out that it has become faster."""


def _lowest_cost(candidates: Sequence[Deployment], moment: Moment) -> Sequence[Deployment]:
    prompt = moment.asking.prompt_tokens()
    answer = moment.asking.answer_tokens() or prompt // 3 or 1

    def cost(each: Deployment) -> float:
        price = each.price
        return float("inf") if price is None else price.base.input * prompt + price.base.output * answer

    return sorted(candidates, key=cost)


def _sticky(candidates: Sequence[Deployment], moment: Moment) -> Sequence[Deployment]:
    """Rendezvous hashing: when a deployment comes or goes, only its own share moves."""
    key = moment.asking.sticky_key(moment.sticky_by)
    if not key:
        return _weighted(candidates, moment)
    seed = hashlib.blake2b(key, digest_size=16).digest()

    def distance(each: Deployment) -> float:
        digest = hashlib.blake2b(seed + each.id.encode(), digest_size=8).digest()
        return -log((int.from_bytes(digest) + 1) / (2**64 + 1)) / each.weight

    return sorted(candidates, key=distance)


_STRATEGIES: Final[Mapping[Strategy, _Sort]] = {
    Strategy.WEIGHTED: _weighted,
    Strategy.ORDERED: _ordered,
    Strategy.ROUND_ROBIN: _round_robin,
    Strategy.LEAST_BUSY: _least_busy,
    Strategy.LOWEST_LATENCY: _lowest_latency,
    Strategy.LOWEST_COST: _lowest_cost,
    Strategy.STICKY: _sticky,
}
