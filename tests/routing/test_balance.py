"""In which order deployments are tried: every strategy, order levels and weights, with chance from a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.types import Operation
from gateway.domain import Price, Rates
from gateway.routing.asking import Asking
from gateway.routing.balance import order
from gateway.routing.deployment import Deployment
from gateway.routing.route import Route, Strategy
from tests.resilience.scenery import deployment
from tests.routing.asked import HELLO, asking

ASKING = asking()
SEED = 20261121


def route(strategy: Strategy, *deployments: Deployment, **more: Any) -> Route:
    return Route("r", deployments, strategy=strategy, **more)


def ids(route: Route, request: Asking = ASKING, *, chance: float = 0.5, now: float = 0.0) -> str:
    """The names of the deployments in their order, one letter each."""
    return "".join(each.id for each in order(route, route.deployments, request, now, lambda: chance))


def firsts(route: Route, times: int, requests: Sequence[Asking] = (ASKING,)) -> Counter[str]:
    """How often each one is first."""
    random = Random(SEED).random
    return Counter(
        order(route, route.deployments, requests[turn % len(requests)], 0.0, random)[0].id for turn in range(times)
    )


def chi_square(counts: Counter[str], weights: dict[str, float]) -> float:
    """How far the counts are from what the weights promise; degrees of freedom are one less than the weights."""
    total, sum_of_weights = counts.total(), sum(weights.values())
    expected = {id: total * weight / sum_of_weights for id, weight in weights.items()}
    return sum((counts[id] - wanted) ** 2 / wanted for id, wanted in expected.items())


OF_ONE_IN_A_THOUSAND = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47}
"""Chi-square values that chance exceeds once in a thousand times, by degrees of freedom."""


@pytest.mark.parametrize("strategy", list(Strategy))
@given(data=st.data())
def test_any_strategy_gives_every_candidate_once_and_levels_in_order(strategy: Strategy, data: st.DataObject) -> None:
    numbers = data.draw(
        st.lists(st.tuples(st.sampled_from([0, 0, 1, 5]), st.sampled_from([0.0, 0.5, 1.0, 20.0])), max_size=6)
    )
    own = [deployment(f"d{n}", order=level, weight=weight) for n, (level, weight) in enumerate(numbers)]
    random = Random(data.draw(st.integers(0, 999))).random
    for _ in range(3):
        ordered = order(route(strategy, *own), own, ASKING, 0.0, random)
        assert sorted(each.id for each in ordered) == sorted(each.id for each in own)
        places = [(each.order, not each.weight) for each in ordered]
        assert places == sorted(places)


def test_ordered_keeps_the_order_of_the_file() -> None:
    assert ids(route(Strategy.ORDERED, *map(deployment, "cab"))) == "cab"


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_lower_level_comes_first_and_weight_zero_last_of_its_level(strategy: Strategy) -> None:
    own = [
        deployment("a", order=1),
        deployment("b", weight=0),
        deployment("c"),
        deployment("d", order=1, weight=0),
        deployment("e", order=-1),
    ]
    for chance in (0.0, 0.3, 0.999):
        assert ids(route(strategy, *own), chance=chance) == "ecbad"


def test_weight_zero_everywhere_still_serves() -> None:
    own = [deployment(id, weight=0) for id in "ab"]
    for strategy in Strategy:
        assert ids(route(strategy, *own)) == "ab"


# Weighted.


@pytest.mark.parametrize("weights", [(1, 1), (19, 1), (1, 2, 3, 4), (0.1, 0.2, 0.7), (5, 5, 5, 5, 5)])
def test_weighted_shares_first_attempts_by_weight(weights: tuple[float, ...]) -> None:
    promised = dict(zip("abcde", weights, strict=False))
    counts = firsts(route(Strategy.WEIGHTED, *(deployment(id, weight=w) for id, w in promised.items())), 20_000)
    assert chi_square(counts, promised) < OF_ONE_IN_A_THOUSAND[len(weights) - 1]


def test_weighted_shares_what_comes_second_by_the_weights_that_are_left() -> None:
    own = route(Strategy.WEIGHTED, deployment("a", weight=98), deployment("b", weight=1.5), deployment("c", weight=0.5))
    random = Random(SEED).random
    seconds = Counter(
        ordered[1].id
        for _ in range(20_000)
        if (ordered := order(own, own.deployments, ASKING, 0.0, random))[0].id == "a"
    )
    assert chi_square(seconds, {"b": 3, "c": 1}) < OF_ONE_IN_A_THOUSAND[1]


@pytest.mark.parametrize("chance", [0.0, 1 - 2**-53])
def test_extremes_of_chance_break_nothing(chance: float) -> None:
    for strategy in Strategy:
        assert sorted(ids(route(strategy, *map(deployment, "abc")), chance=chance)) == ["a", "b", "c"]


# Round robin.


def test_round_robin_takes_turns() -> None:
    own = route(Strategy.ROUND_ROBIN, *map(deployment, "abc"))
    assert "".join(ids(own)[0] for _ in range(7)) == "abcabca"


def test_round_robin_with_weights_is_smooth() -> None:
    own = route(Strategy.ROUND_ROBIN, deployment("a", weight=5), deployment("b", weight=1), deployment("c", weight=1))
    assert "".join(ids(own)[0] for _ in range(14)) == "aabacaa" * 2


@given(weights=st.lists(st.integers(1, 9), min_size=2, max_size=5), rounds=st.integers(1, 4))
def test_round_robin_is_exact_after_every_round(weights: list[int], rounds: int) -> None:
    own = route(Strategy.ROUND_ROBIN, *(deployment(id, weight=w) for id, w in zip("abcde", weights, strict=False)))
    counts = Counter(ids(own)[0] for _ in range(sum(weights) * rounds))
    assert [counts[id] for id in "abcde"[: len(weights)]] == [weight * rounds for weight in weights]


def test_round_robin_among_those_that_fit_forgets_nobody() -> None:
    own = route(Strategy.ROUND_ROBIN, *map(deployment, "abc"))
    some = own.deployments[1:]
    turns = [order(own, some if turn % 2 else own.deployments, ASKING, 0.0, lambda: 0.5)[0].id for turn in range(600)]
    assert min(Counter(turns).values()) >= 90


# Least busy.


def test_least_busy_goes_where_least_is_at_work_for_the_weight() -> None:
    a, b, c = deployment("a", weight=4), deployment("b"), deployment("c")
    a.vitals.in_flight, b.vitals.in_flight, c.vitals.in_flight = 4, 2, 0
    assert ids(route(Strategy.LEAST_BUSY, a, b, c)) == "cab"


def test_least_busy_shares_ties_by_chance() -> None:
    counts = firsts(route(Strategy.LEAST_BUSY, *map(deployment, "abc")), 9000)
    assert chi_square(counts, dict.fromkeys("abc", 1)) < OF_ONE_IN_A_THOUSAND[2]


# Lowest latency.


def timed(**seconds: float) -> list[Deployment]:
    own = [deployment(id) for id in seconds]
    for each, mean in zip(own, seconds.values(), strict=True):
        each.vitals.latency.observe(mean, 0.0)
    return own


def test_of_two_the_faster_is_first_but_for_a_fiftieth_of_the_requests() -> None:
    counts = firsts(route(Strategy.LOWEST_LATENCY, *timed(a=2.0, b=0.5)), 20_000)
    assert chi_square(counts, {"a": 2, "b": 98}) < OF_ONE_IN_A_THOUSAND[1]


def test_of_more_the_faster_of_two_at_random_is_first() -> None:
    counts = firsts(route(Strategy.LOWEST_LATENCY, *timed(a=4.0, b=3.0, c=2.0, d=1.0)), 20_000)
    assert counts["a"] == 0
    assert chi_square(counts, {"b": 1, "c": 2, "d": 3}) < OF_ONE_IN_A_THOUSAND[2]


def test_the_others_follow_by_what_they_are_expected_to_take() -> None:
    assert ids(route(Strategy.LOWEST_LATENCY, *timed(a=4.0, b=3.0, c=2.0, d=1.0)), chance=0.99) == "bdca"


def test_what_is_busy_is_expected_to_take_longer() -> None:
    a, b = timed(a=1.0, b=2.0)
    assert ids(route(Strategy.LOWEST_LATENCY, a, b)) == "ab"
    a.vitals.in_flight = 5
    assert ids(route(Strategy.LOWEST_LATENCY, a, b)) == "ba"


# Lowest cost.


def test_the_cheapest_for_this_request_is_first_and_unknown_prices_are_last() -> None:
    own = [
        deployment("u"),
        deployment("o", price=Price(Rates(1_000, 100_000))),
        deployment("i", price=Price(Rates(10_000, 10_000))),
        deployment("f", price=Price(Rates(0, 0))),
        deployment("v"),
    ]
    long = [{"role": "user", "content": "x" * 40_000}]
    assert ids(route(Strategy.LOWEST_COST, *own), asking(messages=long, max_tokens=10)) == "foiuv"
    assert ids(route(Strategy.LOWEST_COST, *own), asking(max_completion_tokens=4000)) == "fiouv"


def test_an_answer_whose_length_nobody_says_is_taken_for_a_third_of_the_prompt() -> None:
    own = [deployment("a", price=Price(Rates(30, 100))), deployment("b", price=Price(Rates(60, 20)))]
    assert ids(route(Strategy.LOWEST_COST, *own), asking(messages=[{"role": "user", "content": "x" * 9000}])) == "ab"
    dear = [deployment("a", price=Price(Rates(30, 200))), deployment("b", price=Price(Rates(60, 20)))]
    assert ids(route(Strategy.LOWEST_COST, *dear), asking(messages=[{"role": "user", "content": "x" * 9000}])) == "ba"


# Sticky.


def talk(number: int, turns: int = 1) -> Asking:
    """A conversation that began with its own question, `turns` questions long."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": 'Say "user" never.'}]
    for turn in range(turns):
        messages += [{"role": "user", "content": f"talk {number}, question {turn}"}]
        messages += [{"role": "assistant", "content": "answer"}] if turn < turns - 1 else []
    return asking(messages=messages)


def test_the_same_beginning_goes_to_the_same_deployment_as_the_conversation_grows() -> None:
    own = route(Strategy.STICKY, *map(deployment, "abcde"))
    for number in range(50):
        assert len({ids(own, talk(number, turns)) for turns in range(1, 9)}) == 1


def test_a_conversation_that_begins_with_very_much_text_is_no_exception() -> None:
    own = route(Strategy.STICKY, *map(deployment, "abcde"))
    for number in range(20):
        begin = {"content": f"{number} " + "x" * 100_000, "role": "user"}
        more = [{"role": "assistant", "content": "y"}, {"role": "user", "content": "z"}]
        assert ids(own, asking(messages=[begin])) == ids(own, asking(messages=[begin, *more]))


def test_conversations_are_shared_by_weight() -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 5.0}
    own = route(Strategy.STICKY, *(deployment(id, weight=weight) for id, weight in weights.items()))
    counts = firsts(own, 4000, [talk(number) for number in range(4000)])
    assert chi_square(counts, weights) < OF_ONE_IN_A_THOUSAND[2]


def test_if_a_deployment_goes_only_its_own_share_moves() -> None:
    own = [deployment(id, weight=weight) for id, weight in zip("abcd", (1, 2, 3, 1), strict=True)]
    before, after = route(Strategy.STICKY, *own), route(Strategy.STICKY, *own[:2], own[3])
    for number in range(500):
        was, now = ids(before, talk(number)), ids(after, talk(number))
        assert now == was.replace("c", "")


def test_if_a_weight_grows_conversations_move_only_to_that_deployment() -> None:
    before = route(Strategy.STICKY, *map(deployment, "abc"))
    after = route(Strategy.STICKY, deployment("a"), deployment("b", weight=2), deployment("c"))
    moved = 0
    for number in range(500):
        was, now = ids(before, talk(number))[0], ids(after, talk(number))[0]
        assert now in (was, "b")
        moved += now != was
    assert 40 < moved < 130


@pytest.mark.parametrize(
    ("by", "same", "other"),
    [
        ("user", {"user": "u"}, {"user": "v"}),
        ("user", {"prompt_cache_key": "u"}, {"prompt_cache_key": "v"}),
        ("user", {"safety_identifier": "u"}, {"safety_identifier": "v"}),
        ("header:x-session", {"headers": {"x-session": "u"}}, {"headers": {"x-session": "v"}}),
    ],
)
def test_requests_stick_by_what_the_route_says(by: str, same: dict[str, Any], other: dict[str, Any]) -> None:
    own = route(Strategy.STICKY, *map(deployment, "abcdefgh"), sticky_by=by)
    texts = [[{"role": "user", "content": str(number)}] for number in range(20)]
    kept = {ids(own, asking(messages=text, **same)) for text in texts}
    assert len(kept) == 1
    assert kept != {ids(own, asking(messages=HELLO, **other))}


@pytest.mark.parametrize("by", ["user", "header:x-session"])
def test_requests_that_have_nothing_to_stick_by_are_shared_by_weight(by: str) -> None:
    own = route(Strategy.STICKY, deployment("a", weight=3), deployment("b"), sticky_by=by)
    counts = firsts(own, 8000, [asking(user=None)])
    assert chi_square(counts, {"a": 3, "b": 1}) < OF_ONE_IN_A_THOUSAND[1]


@pytest.mark.parametrize(("operation", "member"), [(Operation.COMPLETIONS, "prompt"), (Operation.EMBEDDINGS, "input")])
def test_other_operations_stick_by_their_text(operation: Operation, member: str) -> None:
    own = route(Strategy.STICKY, *map(deployment, "abcdefgh"))
    orders = [ids(own, asking(operation, **{member: text})) for text in ("one", "one", "two", "three")]
    assert orders[0] == orders[1]
    assert len(set(orders)) == 3
