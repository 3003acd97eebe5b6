"""Which deployments a request may have at all: what it uses, how long it is, who asks, and what it says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.types import Operation
from gateway.routing.asking import Asking
from gateway.routing.filters import applies, fitting
from gateway.routing.route import Route, Rule
from tests.resilience.scenery import deployment
from tests.routing.asked import asking

TOOLS = [{"type": "function", "function": {"name": "f"}}]
IMAGE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
AUDIO = [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}


def of(content: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def fit(route: Route, request: Asking) -> str:
    return "".join(each.id for each in fitting(route, request)[0])


# What it uses.


@pytest.mark.parametrize(
    ("fields", "uses"),
    [
        ({}, set()),
        ({"tools": TOOLS}, {"tools"}),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        ({"tools": []}, set()),
        ({"tools": None}, set()),
        ({"response_format": SCHEMA}, {"json_schema"}),
        ({"response_format": {"type": "json_object"}}, set()),
        ({"messages": of(IMAGE)}, {"images"}),
        ({"messages": of(AUDIO)}, {"audio"}),
        ({"messages": of(IMAGE + AUDIO), "tools": TOOLS}, {"images", "audio", "tools"}),
        ({"messages": of('say "image_url" and "input_audio"')}, set()),
        ({"messages": of([{"type": "text", "text": '{"type": "image_url"}'}])}, set()),
    ],
)
def test_what_a_request_uses_is_seen(fields: dict[str, Any], uses: set[str]) -> None:
    assert asking(**fields).uses == uses


def test_a_deployment_gets_only_what_it_supports() -> None:
    own = Route(
        "r",
        (
            deployment("n", supports=frozenset()),
            deployment("t", supports=frozenset({"tools"})),
            deployment("x", supports=frozenset({"tools", "images"})),
            deployment("e"),
        ),
    )
    assert fit(own, asking()) == "ntxe"
    assert fit(own, asking(tools=TOOLS)) == "txe"
    assert fit(own, asking(tools=TOOLS, messages=of(IMAGE))) == "xe"
    assert fit(own, asking(response_format=SCHEMA)) == "e"
    assert fitting(own, asking(tools=TOOLS, messages=of(IMAGE)))[1] == {
        "n": "it does not support images and tools",
        "t": "it does not support images",
    }


def test_a_deployment_whose_protocol_lacks_the_operation_is_left_out() -> None:
    own = Route("r", (deployment("a", protocol="anthropic"), deployment("b")))
    assert fit(own, asking(Operation.EMBEDDINGS, input="x")) == "b"
    assert fitting(own, asking(Operation.EMBEDDINGS, input="x"))[1] == {"a": "of-a has no embeddings"}
    assert fit(own, asking()) == "ab"


# How long it is.


def windows(*sizes: int | None) -> Route:
    return Route("r", tuple(deployment(id, context_window=size) for id, size in zip("abc", sizes, strict=False)))


def test_a_window_that_is_too_small_is_left_out_where_a_larger_one_is_there() -> None:
    own = windows(100, 2000, None)
    assert fit(own, asking()) == "abc"
    assert fit(own, asking(messages=of("x" * 1000))) == "bc"
    assert fit(own, asking(messages=of("x" * 100_000))) == "c"


def test_the_longest_answer_that_is_wanted_counts_too() -> None:
    own = windows(100, 2000)
    assert fit(own, asking(max_tokens=500)) == "b"
    assert fit(own, asking(max_completion_tokens=500)) == "b"
    assert fit(own, asking(max_tokens=10)) == "ab"


def test_if_all_windows_are_too_small_the_upstream_decides() -> None:
    assert fit(windows(10, 20), asking(messages=of("x" * 1000))) == "ab"


def test_the_border_is_exact() -> None:
    request = asking(max_tokens=50)
    needed = request.prompt_tokens() + 50
    assert fit(windows(needed, 10_000), request) == "ab"
    assert fit(windows(needed - 1, 10_000), request) == "b"


def test_the_reason_says_both_sizes() -> None:
    request = asking(messages=of("x" * 4000))
    others = fitting(windows(100, 20_000), request)[1]
    assert "context window of 100 tokens" in others["a"]
    assert f"about {request.prompt_tokens()}" in others["a"]


@pytest.mark.parametrize("value", ["many", -5, 1.5, 10**12, None, [3]])
def test_a_length_that_is_no_plain_number_counts_as_none(value: object) -> None:
    assert asking(max_tokens=value).answer_tokens() == 0


# Who asks: rules.


@pytest.mark.parametrize(
    ("rule", "request_", "holds"),
    [
        ({}, {}, True),
        ({"headers": ((b"x-region", "eu"),)}, {"headers": {"x-region": "eu"}}, True),
        ({"headers": ((b"x-region", "eu"),)}, {"headers": {"x-region": "us"}}, False),
        ({"headers": ((b"x-region", "eu"),)}, {"headers": {"x-region": "EU"}}, False),
        ({"headers": ((b"x-region", "eu"),)}, {}, False),
        ({"headers": ((b"x-region", "*"),)}, {"headers": {"x-region": "anything"}}, True),
        ({"headers": ((b"x-region", "*"),)}, {"headers": {"x-region": ""}}, True),
        ({"headers": ((b"x-region", "*"),)}, {}, False),
        ({"headers": ((b"a", "1"), (b"b", "2"))}, {"headers": {"a": "1"}}, False),
        ({"headers": ((b"a", "1"), (b"b", "2"))}, {"headers": {"a": "1", "b": "2"}}, True),
        ({"headers": ((b"a", "\u00e9"),)}, {"headers": {"a": "\u00e9"}}, True),
        ({"keys": frozenset({"team-a", "team-b"})}, {"key_name": "team-b"}, True),
        ({"keys": frozenset({"team-a"})}, {"key_name": "team-c"}, False),
        ({"keys": frozenset({"team-a"})}, {}, False),
        ({"tags": frozenset({"gold", "silver"})}, {"key_tags": ("silver",)}, True),
        ({"tags": frozenset({"gold"})}, {"headers": {"x-anyport-tags": "bronze, gold"}}, True),
        ({"tags": frozenset({"gold"})}, {"headers": {"x-anyport-tags": "golden"}}, False),
        ({"tags": frozenset({"gold"})}, {"headers": {"x-anyport-tags": ",,"}}, False),
        ({"keys": frozenset({"k"}), "tags": frozenset({"t"})}, {"key_name": "k", "key_tags": ("t",)}, True),
        ({"keys": frozenset({"k"}), "tags": frozenset({"t"})}, {"key_name": "k"}, False),
    ],
)
def test_a_rule_holds_if_all_of_its_conditions_do(rule: dict[str, Any], request_: dict[str, Any], holds: bool) -> None:
    assert applies(Rule(use=frozenset({"x"}), **rule), asking(**request_)) is holds


def test_the_first_rule_that_holds_leaves_only_its_tags() -> None:
    rules = (
        Rule(use=frozenset({"eu"}), headers=((b"x-region", "eu"),)),
        Rule(use=frozenset({"us", "asia"}), keys=frozenset({"team-a"})),
        Rule(use=frozenset({"asia"})),
    )
    own = Route(
        "r",
        (
            deployment("a", tags=frozenset({"us"})),
            deployment("b", tags=frozenset({"eu", "slow"})),
            deployment("c", tags=frozenset({"asia"})),
            deployment("d"),
        ),
        rules=rules,
    )
    assert fit(own, asking(headers={"x-region": "eu"}, key_name="team-a")) == "b"
    assert fit(own, asking(key_name="team-a")) == "ac"
    assert fit(own, asking()) == "c"
    others = fitting(own, asking(key_name="team-a"))[1]
    assert others["b"] == "a rule sends this request to deployments tagged asia or us"


def test_without_a_rule_that_holds_all_are_there() -> None:
    rules = (Rule(use=frozenset({"eu"}), keys=frozenset({"team-a"})),)
    own = Route("r", (deployment("a"), deployment("b", tags=frozenset({"eu"}))), rules=rules)
    assert fit(own, asking()) == "ab"
    assert fit(own, asking(key_name="team-a")) == "b"


def test_a_rule_holds_against_windows_and_features_too() -> None:
    rules = (Rule(use=frozenset({"eu"})),)
    own = Route(
        "r",
        (
            deployment("a", context_window=100_000),
            deployment("b", tags=frozenset({"eu"}), context_window=100),
            deployment("c", tags=frozenset({"eu"}), supports=frozenset()),
        ),
        rules=rules,
    )
    assert fit(own, asking(messages=of("x" * 4000), tools=TOOLS)) == "b"
    assert fit(own, asking(messages=of("x" * 4000))) == "c"


def test_tags_in_a_very_long_header_are_cut_and_not_searched_for_ever() -> None:
    many = ",".join(f"t{number}" for number in range(10_000))
    assert len(asking(headers={"x-anyport-tags": many}).tags) < 400
