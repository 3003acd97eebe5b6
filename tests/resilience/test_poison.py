"""A request that gives two deployments the same trouble is not shown to a third one of the route."""

from __future__ import annotations

import pytest

from tests.resilience.playbook import K, fails, gives_up, play, tries, waits, works
from tests.resilience.scenery import deployment, fallback

BROKE_OFF = {"code": "upstream_disconnected"}


@pytest.mark.parametrize(("kind", "how"), [(K.SERVER, {"message": "boom", "status": 500}), (K.CONNECT, BROKE_OFF)])
def test_the_same_trouble_at_two_deployments_is_the_end_of_the_route(kind: K, how: dict[str, object]) -> None:
    told = play(*(deployment(name) for name in "abc")) << tries("a") >> fails(kind, **how) << tries("b")
    _ = told >> fails(kind, **how) << gives_up(kind, "b")


def test_a_fallback_to_another_route_may_still_take_over_once() -> None:
    boom = {"message": "boom", "status": 500}
    told = play(*(deployment(name) for name in "abc"), fallback(deployment("d"), deployment("e")), attempts=9)
    told = told << tries("a") >> fails(K.SERVER, **boom) << tries("b") >> fails(K.SERVER, **boom) << tries("d")
    _ = told >> works


@pytest.mark.parametrize("second", [{"message": "other", "status": 500}, {"message": "boom", "status": 502}])
def test_trouble_that_differs_goes_on_to_the_third(second: dict[str, object]) -> None:
    told = play(*(deployment(name) for name in "abc")) << tries("a") >> fails(K.SERVER, message="boom", status=500)
    _ = told << tries("b") >> fails(K.SERVER, **second) << tries("c") >> works


def test_the_same_trouble_twice_at_one_deployment_is_no_poison() -> None:
    told = play(deployment("a"), per_deployment=3) << tries("a") >> fails(K.SERVER, message="boom", status=500)
    _ = told << waits(0.05) << tries("a") >> fails(K.SERVER, message="boom", status=500) << waits(0.1) << tries("a")


def test_connections_that_never_came_about_are_no_poison() -> None:
    told = play(*(deployment(name) for name in "abc")) << tries("a") >> fails(K.CONNECT, is_unsent=True, **BROKE_OFF)
    _ = told << tries("b") >> fails(K.CONNECT, is_unsent=True, **BROKE_OFF) << tries("c") >> works
