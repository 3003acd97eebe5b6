"""Public names become plans: routes, aliases, wildcards, `provider/model`, and the fallbacks behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.failures import FailureKind
from adapters.types import Operation
from gateway.errors import UnknownModel, UnsupportedOperation, UnsupportedParameter
from gateway.health.vitals import Capacity
from gateway.routing import router as router_module
from gateway.routing.route import Fallback, Plan, Route, Rule, Strategy
from gateway.routing.router import Router
from tests.resilience.scenery import deployment
from tests.routing.asked import asking

KNOWN = ["fast", "p/model-a", "p/model-b", "q/other"]


class World:
    """Routes and providers that a router may ask for, and what it asked (gateway.routing.router.Routes)."""

    def __init__(self, *routes: Route, aliases: dict[str, str] | None = None, known: Sequence[str] = KNOWN) -> None:
        self.asked: list[tuple[str, str]] = []
        self.known = {route.name: route for route in routes}
        self.names = {name: name for name in self.known if "*" not in name} | (aliases or {})
        self.wildcards = [name for name in self.known if "*" in name]
        self.router = Router(self, known_names=lambda: known, show=str, clock=lambda: 0.0, random=lambda: 0.5)

    def route(self, name: str, star: str) -> Route | str:
        self.asked.append((name, star))
        found = self.known[name]
        if not found.deployments:
            return f"{name} has no credential; set KEY"
        if not star:
            return found
        return route(name.replace("*", star), *[f"{each.id}+{star}" for each in found.deployments])

    def single(self, model: str) -> Route | str:
        self.asked.append((model, ""))
        if model.startswith("p/"):
            return route(model, model)
        return "q has no credential; set Q_API_KEY" if model.startswith("q/") else ""

    def plan(self, model: str, **fields: Any) -> Plan:
        return self.router.plan(model, asking(**fields))

    def ids(self, model: str, **fields: Any) -> list[list[str]]:
        """The deployments of each stage."""
        return [[each.id for each in stage.candidates] for stage in self.plan(model, **fields).stages]


def route(name: str, *ids: str, to: tuple[str, ...] = (), **more: Any) -> Route:
    """A route of these deployments, with these fallbacks."""
    fallbacks = tuple(Fallback(model) for model in to)
    return Route(name, tuple(deployment(id) for id in ids), fallbacks=fallbacks, **more)


# Names.


def test_of_very_many_names_the_nearest_is_found_too() -> None:
    names = [f"team-{number}/model" for number in range(5_000)]
    known = [*names, "fast-and-good"]
    router = World(known=known).router
    with pytest.raises(UnknownModel, match="did you mean fast-and-good"):
        router.chain("fastandgood")
    with pytest.raises(UnknownModel, match="team-4321/model"):
        router.chain("team-4321/model-")
    with pytest.raises(UnknownModel, match="v1/models lists"):
        router.chain("?" * 300)


def test_a_provider_and_its_model_need_no_configuration() -> None:
    world = World()
    assert world.ids("p/model-a") == [["p/model-a"]]
    assert world.plan("p/model-a").model == "p/model-a"
    assert world.router.chain("p/model-a").kind == "provider/model"


def test_a_route_is_found_by_its_name_and_its_aliases() -> None:
    world = World(route("fast", "a", "b"), aliases={"quick": "fast", "team/default": "fast"})
    for name in ("fast", "quick", "team/default"):
        assert world.ids(name) == [["a", "b"]]
        assert world.plan(name).model == name
        assert world.plan(name).route.name == "fast"


def test_a_name_is_what_is_nearest_to_what_was_written() -> None:
    world = World(
        route("p/exact", "exact"),
        route("p/aliased*", "wildcard"),
        route("p/*", "shorter"),
        route("p*", "no provider in front"),
        aliases={"p/aliased": "p/exact"},
    )
    assert world.ids("p/exact") == [["exact"]]
    assert world.ids("p/aliased") == [["exact"]]
    assert world.ids("p/aliased-2") == [["wildcard+-2"]]
    assert world.ids("p/other") == [["shorter+other"]]


def test_a_wildcard_without_a_provider_gives_way_to_provider_and_model() -> None:
    world = World(route("*", "any"), route("gpt-*", "gpt"), route("gpt-*-mini", "mini"))
    assert world.ids("p/model-a") == [["p/model-a"]]
    assert world.ids("gpt-5") == [["gpt+5"]]
    assert world.ids("gpt-5-mini") == [["mini+5"]]
    assert world.ids("claude") == [["any+claude"]]
    assert world.ids("q/other") == [["any+q/other"]]


def test_a_wildcard_stands_for_at_least_one_character() -> None:
    world = World(route("gpt-*-mini", "mini"))
    for name in ("gpt--mini", "gpt-mini", "gpt-5-minis", "xgpt-5-mini"):
        with pytest.raises(UnknownModel):
            world.plan(name)
    assert world.ids("gpt-*-mini") == [["mini+*"]]


def test_a_route_says_whether_it_is_strict() -> None:
    world = World(route("exact", "a", is_strict=True), route("both", "a", "b", is_strict=True), route("fast", "a"))
    assert [world.plan(name).is_strict for name in ("exact", "both", "fast", "p/b")] == [True, True, False, False]


# Names that are not there.


def test_an_unknown_name_is_answered_with_its_nearest() -> None:
    with pytest.raises(UnknownModel) as refused:
        World().plan("r/model-a")
    error = refused.value
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert "p/model-a" in error.message
    assert "r/model-a" in error.message


def test_a_name_that_is_like_no_other_is_answered_with_where_to_look() -> None:
    with pytest.raises(UnknownModel, match="named `provider/model`; GET /v1/models"):
        World().plan("zzz")


def test_the_reason_why_a_provider_cannot_be_used_is_told() -> None:
    with pytest.raises(UnknownModel, match="set Q_API_KEY"):
        World().plan("q/other")


def test_the_reason_why_a_route_cannot_be_used_is_told() -> None:
    with pytest.raises(UnknownModel, match="empty has no credential; set KEY"):
        World(Route("empty", ())).plan("empty")


def test_a_very_long_name_is_cut_in_the_message() -> None:
    with pytest.raises(UnknownModel) as refused:
        World().plan("z" * 5000)
    assert len(refused.value.message) < 300


# What is remembered.


def test_what_a_name_means_is_remembered_until_it_is_forgotten() -> None:
    world = World()
    assert world.plan("p/a") is world.plan("p/a")
    assert len(world.asked) == 1
    world.router.forget()
    world.plan("p/a")
    assert len(world.asked) == 2


def test_a_route_of_several_deployments_is_ordered_anew_for_each_request() -> None:
    world = World(route("fast", "a", "b", strategy=Strategy.ROUND_ROBIN))
    assert [world.ids("fast")[0][0] for _ in range(4)] == ["a", "b", "a", "b"]
    assert world.asked == [("fast", "")]


def test_refusals_are_not_remembered() -> None:
    world = World()
    for _ in range(2):
        with pytest.raises(UnknownModel):
            world.plan("q/other")
    assert len(world.asked) == 2


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MAX_CACHED", 3)
    world = World()
    for number in range(10):
        world.plan(f"p/{number}")
    assert len(world.router.remembered()) <= 3


# Fallbacks.


def test_fallbacks_are_followed_transitively_and_in_order() -> None:
    world = World(
        route("a", "a1", "a2", to=("b", "p/last")), route("b", "b1", to=("c",)), route("c", "c1"), aliases={"x": "a"}
    )
    assert world.ids("a") == [["a1", "a2"], ["b1"], ["c1"], ["p/last"]]
    assert world.ids("x") == world.ids("a")
    assert [stage.fallback.model if stage.fallback else "" for stage in world.plan("a").stages] == [
        "",
        "b",
        "c",
        "p/last",
    ]


@pytest.mark.parametrize(
    ("fallbacks", "expected"),
    [
        (("b", "c"), [["a"], ["b"], ["c"]]),
        (("c", "b"), [["a"], ["c"], ["b"]]),
        (("c", "c"), [["a"], ["c"]]),
        (("c", "also-c"), [["a"], ["c"]]),
        (("also-c", "b", "c"), [["a"], ["c"], ["b"]]),
    ],
)
def test_each_route_takes_over_once_whatever_it_is_called(
    fallbacks: tuple[str, ...], expected: list[list[str]]
) -> None:
    world = World(
        route("a", "a", to=fallbacks), route("b", "b", to=("also-c",)), route("c", "c"), aliases={"also-c": "c"}
    )
    assert world.ids("a") == expected


def test_a_circle_ends_where_it_began() -> None:
    world = World(route("a", "a", to=("b",)), route("b", "b", to=("also-a", "b", "p/x")), aliases={"also-a": "a"})
    assert world.ids("a") == [["a"], ["b"], ["p/x"]]
    assert world.ids("also-a") == [["a"], ["b"], ["p/x"]]


def test_more_fallbacks_may_follow_each_other_than_the_stack_is_deep() -> None:
    last = 2_000
    chained = [route(f"r{number}", "x", to=(f"r{number + 1}",)) for number in range(last)]
    world = World(*chained, route(f"r{last}", "x"))
    assert len(world.plan("r0").stages) == last + 1


def test_a_fallback_that_cannot_be_served_is_left_out() -> None:
    assert World(route("a", "a", to=("q/other", "nowhere", "p/x"))).ids("a") == [["a"], ["p/x"]]


def test_the_deployments_of_a_fallback_are_ordered_when_they_are_asked_for() -> None:
    spare = route("b", "b1", "b2", strategy=Strategy.ROUND_ROBIN)
    world = World(route("a", "a1", to=("b",)), spare)
    for _ in range(3):
        world.plan("a")
    assert spare.memory.owed == {}
    assert [world.ids("a")[1][0] for _ in range(2)] == ["b1", "b2"]


# Requests that not everybody can serve.


def test_a_request_that_none_can_serve_is_refused_with_the_reason_of_each() -> None:
    plain = [deployment(id, supports=frozenset({"tools"})) for id in "ab"]
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
    with pytest.raises(UnsupportedParameter) as refused:
        World(Route("r", tuple(plain))).plan("r", response_format=schema)
    assert refused.value.param == "response_format"
    assert "a: it does not support json_schema; b: it does not support json_schema" in refused.value.message


def test_the_member_that_is_named_is_the_one_that_is_not_supported() -> None:
    only = deployment("a", supports=frozenset({"tools"}))
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    tools = [{"type": "function", "function": {"name": "f"}}]
    with pytest.raises(UnsupportedParameter) as refused:
        World(Route("r", (only,))).plan("r", tools=tools, messages=[{"role": "user", "content": content}])
    assert refused.value.param == "messages"


def test_if_a_rule_leaves_nobody_no_member_is_blamed() -> None:
    rules = (Rule(use=frozenset({"eu"})),)
    tools = [{"type": "function", "function": {"name": "f"}}]
    with pytest.raises(UnsupportedParameter) as refused:
        World(Route("r", (deployment("a", tags=frozenset({"us"})),), rules=rules)).plan("r", tools=tools)
    assert refused.value.param == "model"
    assert "a rule sends this request to deployments tagged eu" in refused.value.message


def test_an_operation_that_nobody_has_is_refused_as_that() -> None:
    claudes = tuple(deployment(id, protocol="anthropic") for id in "ab")
    with pytest.raises(UnsupportedOperation, match="has no embeddings"):
        World(Route("r", claudes)).plan("r", operation=Operation.EMBEDDINGS, input="x")


def test_what_the_own_route_cannot_serve_goes_to_a_fallback() -> None:
    plain = deployment("a", supports=frozenset())
    tools = [{"type": "function", "function": {"name": "f"}}]
    world = World(Route("r", (plain,), fallbacks=(Fallback("p/x"),)))
    assert world.ids("r", tools=tools) == [[], ["p/x"]]
    assert world.plan("r", tools=tools).first.id == "p/x"


def test_a_fallback_for_single_failures_is_no_help_where_nobody_can_be_asked() -> None:
    plain = deployment("a", supports=frozenset())
    tools = [{"type": "function", "function": {"name": "f"}}]
    after_filter = Fallback("p/x", frozenset({FailureKind.CONTENT_FILTER}), is_explicit=True)
    with pytest.raises(UnsupportedParameter, match="does not support tools"):
        World(Route("r", (plain,), fallbacks=(after_filter,))).plan("r", tools=tools)


def test_tokens_are_estimated_only_where_a_limit_asks_for_them() -> None:
    assert World(route("r", "a", "b")).plan("r", max_tokens=500).tokens == 0
    limited = deployment("a", limits=Capacity(tokens_per_minute=100))
    plan = World(Route("r", (limited,))).plan("r", max_tokens=500)
    assert plan.tokens == 500 + len(asking(max_tokens=500).call.body) // 4
    assert World(route("r", "b", to=("s",)), Route("s", (limited,))).plan("r", max_tokens=500).tokens == plan.tokens


@given(links=st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefABCDEF"), max_size=4)))
def test_any_web_of_fallbacks_is_followed_to_each_route_once(links: dict[str, list[str]]) -> None:
    """Capital letters are aliases of the small ones."""
    own = [route(name, name, to=tuple(links.get(name, ()))) for name in "abcdef"]
    world = World(*own, aliases={name.upper(): name for name in "abcdef"})
    reached = [stage[0] for stage in world.ids("a")]
    assert reached[0] == "a"
    assert len(reached) == len(set(reached))
    closed = {"a"}
    while more := {next_.lower() for name in closed for next_ in links.get(name, ())} - closed:
        closed |= more
    assert set(reached) == closed
