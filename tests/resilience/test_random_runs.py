"""What must hold whatever happens: a hundred thousand requests in worlds made by chance, each from a seed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.resilience.simulation import World

REQUESTS = 50
WORLDS = 250


@pytest.mark.parametrize("block", range(8))
def test_every_rule_holds_in_a_hundred_thousand_requests(block: int) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(block * WORLDS, (block + 1) * WORLDS):
        try:
            world = World(seed)
            world.run(REQUESTS)
        except AssertionError as error:
            raise AssertionError(f"world {seed}: {error}") from error
        outcomes += world.outcomes
    assert min(outcomes.values()) > 200, f"the weather is too good or too bad to show anything: {outcomes}"


@given(seed=st.integers(10_000, 10**9), requests=st.integers(1, 60))
def test_every_rule_holds_in_any_world(seed: int, requests: int) -> None:
    World(seed).run(requests)


@given(seed=st.integers(0, 10**9))
def test_a_world_in_which_everything_fails_answers_nothing_and_comes_to_rest(seed: int) -> None:
    world = World(seed, fails_always=True)
    world.run(60)
    assert world.outcomes == {"gave up": 60}
