"""What the names in a file may mean, and fallbacks that go round."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.settings.explain import nearest
from gateway.settings.load import load_settings
from gateway.settings.name_checks import closings
from gateway.settings.route import FallbackSettings
from tests.unit.settings.loading import faults, load, routes

# --- names


def test_fallbacks_and_mirrors_may_name_routes_aliases_and_models(file: Path) -> None:
    text = """\
providers: {mine: {base_url: "http://127.0.0.1:1/v1", aliases: [my-box]}}
routes:
  a: {deployments: [{model: groq/x}], fallbacks: [b, also-c, {route: xai/grok-4, fallback_on: [timeout]}, my-box/y]}
  b: {deployments: [{model: groq/x}], fallbacks: [c], mirror: {to: also-c}}
  c: {deployments: [{model: groq/x}], aliases: [also-c], mirror: {to: openai/gpt-5}}
"""
    loaded = load(file, text).routes
    assert loaded["a"].fallbacks == [
        "b",
        "also-c",
        FallbackSettings(route="xai/grok-4", fallback_on=["timeout"]),
        "my-box/y",
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["smart: {D, fallbacks: [smrt2]}", "smart2: {D}"],
            "2:55  routes.smart.fallbacks.0  no route is called 'smrt2', and it is no model of a known provider; "
            "did you mean 'smart2'?",
        ),
        (
            ["a: {D, fallbacks: [{route: claude}]}"],
            "2:59  routes.a.fallbacks.0.route  no route is called 'claude', and it is no model of a known provider; "
            "name a route, an alias or provider/model",
        ),
        (
            ["a: {D, fallbacks: [gorq/x]}"],
            "2:51  routes.a.fallbacks.0  no route is called 'gorq/x', and it is no model of a known provider; "
            "did you mean 'groq'?",
        ),
        (["a: {D, mirror: {to: nowhere}}"], "2:52  routes.a.mirror.to  no route is called 'nowhere'"),
        (
            ["'gpt-*': {D}", "a: {D, fallbacks: ['gpt-*']}"],
            "3:51  routes.a.fallbacks.0  must be one model, got 'gpt-*'; name what its `*` should stand for",
        ),
        (
            ["'gpt-*': {D, aliases: [b]}"],
            "2:55  routes.gpt-*.aliases.0  the route 'gpt-*' can have no alias: nothing would be there for its `*`",
        ),
        (["a: {D, aliases: [b]}", "b: {D}"], "2:49  routes.a.aliases.0  'b' is the name of a route already"),
        (["a: {D, aliases: [a]}"], "2:49  routes.a.aliases.0  'a' is the name of a route already"),
        (
            ["a: {D, aliases: [c]}", "b: {D, aliases: [c]}"],
            "3:49  routes.b.aliases.0  'c' is an alias of the route 'a' already",
        ),
        (["a: {D, aliases: [c, c]}"], "2:52  routes.a.aliases.1  'c' is an alias of this route already"),
        (["a: {D, aliases: ['c*']}"], "2:49  routes.a.aliases.0  an alias must have no `*`, got 'c*'"),
        (["'a*b*': {D}"], "2:3  routes.a*b*  a route's name may have one `*`, got 'a*b*'"),
        (
            ["a: {deployments: [{model: groq/*}]}"],
            "2:29  routes.a.deployments.0.model  'groq/*' has a `*`, which needs one in the route's name",
        ),
        (
            ["'a*': {deployments: [{model: groq/*-*}]}"],
            "2:32  routes.a*.deployments.0.model  a deployment's model may have one `*`, got 'groq/*-*'",
        ),
        (["'gpt-*': {D}", "a: {D, fallbacks: [gpt-]}"], "3:51  routes.a.fallbacks.0  no route is called 'gpt-'"),
        (["a: {D, fallbacks: ['${NAME}']}"], "no route is called the value of ${NAME}, and"),
    ],
)
def test_a_name_that_means_nothing_or_two_things_is_a_fault(file: Path, lines: list[str], expected: str) -> None:
    (fault,) = faults(file, routes(*lines))
    assert expected in fault
    assert "sk-misplaced" not in fault


def test_a_wildcard_route_may_pass_on_what_its_star_stood_for(file: Path) -> None:
    text = routes("'gpt-*': {deployments: [{model: openai/gpt-*}, {model: groq/fixed}], fallbacks: [xai/grok-4]}")
    assert list(load(file, text).routes) == ["gpt-*"]


def test_a_fallback_may_be_what_a_wildcard_route_serves(file: Path) -> None:
    text = routes(
        "'gpt-*': {D}",
        "'openai/*': {deployments: [{model: openai/*}], fallbacks: [groq/x]}",
        "a: {D, fallbacks: [gpt-5, openai/gpt-5], mirror: {to: gpt-5}}",
    )
    assert len(load(file, text).routes) == 3


@pytest.mark.parametrize(
    ("lines", "chain"),
    [
        (["'openai/*': {deployments: [{model: openai/*}], fallbacks: [openai/gpt-5]}"], "openai/* -> openai/*"),
        (["'gpt-*': {D, fallbacks: [a]}", "a: {D, fallbacks: [gpt-5]}"], "gpt-* -> a -> gpt-*"),
        (["'*': {D, fallbacks: [a]}", "'b*': {D}", "a: {D, fallbacks: [cc]}"], "* -> a -> *"),
        (["'b*': {D}", "'bb*': {D, fallbacks: [a]}", "a: {D, fallbacks: [bbc]}"], "bb* -> a -> bb*"),
    ],
)
def test_a_circle_may_lead_through_a_wildcard_route(file: Path, lines: list[str], chain: str) -> None:
    (fault,) = faults(file, routes(*lines))
    assert fault.endswith(f"the fallbacks go round in a circle: {chain}")


def test_a_wildcard_without_a_provider_leaves_models_of_providers_alone(file: Path) -> None:
    text = routes("'*': {D, fallbacks: [xai/grok-4]}", "'*-large': {D, fallbacks: [xai/grok-large]}")
    assert len(load(file, text).routes) == 2


def test_without_known_providers_any_model_may_be_a_fallback(file: Path) -> None:
    file.write_text("routes: {a: {deployments: [{model: other/x}], fallbacks: [another/y]}}\n")
    assert load_settings(file, {}).routes["a"].fallbacks == ["another/y"]
    file.write_text("routes: {a: {deployments: [{model: other/x}], fallbacks: [y]}}\n")
    with pytest.raises(ConfigError, match="no route is called 'y'"):
        load_settings(file, {})


def test_among_very_many_names_no_similar_one_is_looked_for() -> None:
    names = [f"name-{number}" for number in range(1_000)]
    assert nearest("nam-1", names) != ""
    assert nearest("nam-1", [*names, "nam-1"]) == ""


# --- cycles


def test_fallbacks_that_go_round_are_shown_as_a_chain(file: Path) -> None:
    text = routes(
        "a: {D, fallbacks: [groq/y, b]}",
        "b: {D, fallbacks: [{route: also-c}]}",
        "c: {D, aliases: [also-c], fallbacks: [a]}",
    )
    assert faults(file, text) == [
        "4:70  routes.c.fallbacks.0  the fallbacks go round in a circle: a -> b -> c -> a",
    ]


@pytest.mark.parametrize("name", ["a", "also-a"])
def test_a_route_cannot_take_over_from_itself(file: Path, name: str) -> None:
    (fault,) = faults(file, routes(f"a: {{D, aliases: [also-a], fallbacks: [{name}]}}"))
    assert fault.endswith("routes.a.fallbacks.0  the fallbacks go round in a circle: a -> a")


def test_two_ways_to_the_same_fallback_are_no_cycle(file: Path) -> None:
    text = routes("a: {D, fallbacks: [b, c, d]}", "b: {D, fallbacks: [d]}", "c: {D, fallbacks: [d]}", "d: {D}")
    assert len(load(file, text).routes) == 4


def test_a_long_cycle_is_shown_in_short_and_takes_no_stack(file: Path) -> None:
    count = 5_000
    text = routes(*(f"r{number}: {{D, fallbacks: [r{(number + 1) % count}]}}" for number in range(count)))
    (fault,) = faults(file, text)
    assert fault.endswith("in a circle: r0 -> r1 -> r2 -> r3 -> r4 -> r5 -> ... -> r0")


graphs = st.integers(1, 7).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, size).map(str), max_size=4), min_size=size, max_size=size).map(
        lambda edges: {str(number): targets for number, targets in enumerate(edges)}
    )
)
"""Nodes `0` to `size - 1`; the target `size` is no node."""


def reaches(graph: dict[str, list[str]], start: str) -> set[str]:
    """Returns every node that some way from `start` comes to, by walking all ways without a repetition."""

    def walk(node: str, way: tuple[str, ...]) -> set[str]:
        found: set[str] = set()
        for to in graph.get(node, ()):
            found |= {to} if to in way else {to} | walk(to, (*way, to))
        return found

    return walk(start, (start,))


@given(graph=graphs)
def test_cycles_are_found_where_a_naive_search_finds_them(graph: dict[str, list[str]]) -> None:
    found = list(closings(graph))
    assert bool(found) == any(node in reaches(graph, node) for node in graph)
    for closing in found:
        assert closing.way[0] == closing.way[-1] == graph[closing.node][closing.edge]
        assert closing.way[-2] == closing.node
        assert all(to in graph[node] for node, to in pairwise(closing.way))
        assert len(set(closing.way)) == len(closing.way) - 1


@given(graph=graphs)
def test_without_the_edges_that_are_named_no_cycle_is_left(graph: dict[str, list[str]]) -> None:
    named = {(closing.node, closing.edge) for closing in closings(graph)}
    rest = {
        node: [to for edge, to in enumerate(targets) if (node, edge) not in named] for node, targets in graph.items()
    }
    assert not any(node in reaches(rest, node) for node in rest)
