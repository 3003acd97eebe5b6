"""Public names become plans: routes of the file first, then `provider/model`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import UnknownModel
from gateway.routing import router as router_module
from gateway.routing.deployment import Deployment
from gateway.routing.router import Reference, Route, Router
from tests.engine.doubles import Stage

DEPLOYMENT = Stage().deployment
KNOWN = ["fast", "p/model-a", "p/model-b", "q/other"]


class World:
    """Providers that a router may ask for, and what it asked."""

    def __init__(self, routes: dict[str, Route] | None = None) -> None:
        self.asked: list[Reference] = []
        self.router = Router(routes or {}, deploy=self.deploy, known_names=lambda: KNOWN, show=str)

    def deploy(self, reference: Reference) -> Deployment | str:
        self.asked.append(reference)
        name = f"{reference.provider}/{reference.model}" if reference.provider else reference.model
        if name.startswith("p/"):
            return replace(DEPLOYMENT, id=name)
        return "q has no credential; set Q_API_KEY" if name.startswith("q/") else ""


def test_a_provider_and_its_model_need_no_configuration() -> None:
    plan = World().router.plan("p/model-a")
    assert (plan.model, [candidate.id for candidate in plan.candidates]) == ("p/model-a", ["p/model-a"])


def test_a_route_names_its_deployments_in_order() -> None:
    world = World({"fast": Route((Reference("p/b"), Reference("a", provider="p")))})
    plan = world.router.plan("fast")
    assert plan.model == "fast"
    assert [candidate.id for candidate in plan.candidates] == ["p/b", "p/a"]


def test_a_route_says_whether_it_is_strict() -> None:
    world = World({"exact": Route((Reference("p/b"),), is_strict=True), "fast": Route((Reference("p/b"),))})
    assert [world.router.plan(name).is_strict for name in ("exact", "fast", "p/b")] == [True, False, False]


def test_a_route_wins_over_a_provider_of_the_same_name() -> None:
    world = World({"p/model-a": Route((Reference("p/b"),))})
    assert [candidate.id for candidate in world.router.plan("p/model-a").candidates] == ["p/b"]


def test_what_cannot_be_deployed_is_left_out_while_something_is_left() -> None:
    world = World({"fast": Route((Reference("q/a"), Reference("p/b")))})
    assert [candidate.id for candidate in world.router.plan("fast").candidates] == ["p/b"]


def test_an_unknown_name_is_answered_with_its_nearest() -> None:
    with pytest.raises(UnknownModel) as refused:
        World().router.plan("r/model-a")
    error = refused.value
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert "p/model-a" in error.message
    assert "r/model-a" in error.message


def test_a_name_that_is_like_no_other_is_answered_with_where_to_look() -> None:
    with pytest.raises(UnknownModel, match="named `provider/model`; GET /v1/models"):
        World().router.plan("zzz")


def test_the_reason_why_a_provider_cannot_be_used_is_told() -> None:
    with pytest.raises(UnknownModel, match="set Q_API_KEY"):
        World().router.plan("q/other")


def test_a_very_long_name_is_cut_in_the_message() -> None:
    with pytest.raises(UnknownModel) as refused:
        World().router.plan("z" * 5000)
    assert len(refused.value.message) < 300


def test_plans_are_remembered_until_they_are_forgotten() -> None:
    world = World()
    assert world.router.plan("p/a") is world.router.plan("p/a")
    assert len(world.asked) == 1
    world.router.forget()
    world.router.plan("p/a")
    assert len(world.asked) == 2


def test_refusals_are_not_remembered() -> None:
    world = World()
    for _ in range(2):
        with pytest.raises(UnknownModel):
            world.router.plan("q/other")
    assert len(world.asked) == 2


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MAX_CACHED", 3)
    world = World()
    for number in range(10):
        world.router.plan(f"p/{number}")
    assert len(world.router._plans) <= 3
