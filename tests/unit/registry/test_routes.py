"""What the file says of routes, as routes with deployments, waits and live state."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.failures import FailureKind as K
from gateway.domain import Price, Rates
from gateway.registry import live
from gateway.registry.assembly import build_catalogue
from gateway.registry.routes import RouteBook
from gateway.routing.asking import Asking
from gateway.routing.deployment import Deployment, Limit
from gateway.routing.route import ANY_FAILURE, Fallback, HedgePolicy, MirrorPolicy, Route, Rule, Strategy
from gateway.routing.router import Router
from gateway.secret import Secret
from gateway.settings.model import Settings
from tests.engine.doubles import call_of

KEYS = {"OPENAI_API_KEY": "sk-openai-0001", "GROQ_API_KEY": "gsk-groq-0002"}


def book(routes: dict[str, Any], environ: dict[str, str] | None = None, **sections: Any) -> RouteBook:
    environ = KEYS if environ is None else environ
    settings = Settings.model_validate({"routes": routes, **sections})
    return RouteBook(settings, build_catalogue(settings, environ), show=lambda name: name)


def made(found: Route | str) -> Route:
    assert isinstance(found, Route), found
    return found


def route(said: dict[str, Any], **sections: Any) -> Route:
    return made(book({"r": said}, **sections).route("r", ""))


def only(said: dict[str, Any], **sections: Any) -> Deployment:
    (deployment,) = route({"deployments": [said]}, **sections).deployments
    return deployment


def secrets(deployment: Deployment) -> list[str]:
    return [key.secret.reveal() if key.secret else "" for key in deployment.key_ring.keys]


# Deployments.


def test_a_deployment_is_called_by_its_model_or_by_its_name() -> None:
    assert only({"model": "openai/gpt-4.1"}).id == "openai/gpt-4.1"
    named = only({"model": "openai/gpt-4.1", "name": "eu"})
    assert (named.id, named.provider, named.target.model) == ("eu", "openai", "gpt-4.1")


def test_a_deployment_has_its_providers_keys_or_its_own() -> None:
    row = {"providers": {"openai": {"credentials": ["sk-a", "sk-b"]}}}
    assert secrets(only({"model": "openai/m"}, **row)) == ["sk-a", "sk-b"]
    own = only({"model": "openai/m", "keys": ["sk-c", "sk-d"]}, **row)
    assert secrets(own) == ["sk-c", "sk-d"]
    assert dict(own.key_ring.headers(own.key_ring.keys[1])) == {"authorization": "Bearer sk-d"}


def test_keys_of_its_own_are_enough_where_the_provider_has_none() -> None:
    deployment = made(book({"r": {"deployments": [{"model": "openai/m", "keys": ["sk-c"]}]}}, {}).route("r", ""))
    assert secrets(deployment.deployments[0]) == ["sk-c"]
    assert deployment.deployments[0].target.has_credential


def test_a_provider_beside_the_model_may_be_a_url() -> None:
    deployment = only({"provider": "custom:http://127.0.0.1:7/v1", "model": "llama"})
    assert (deployment.target.base_url, deployment.target.model) == ("http://127.0.0.1:7/v1", "llama")
    assert "127.0.0.1" not in deployment.id, "clients see it"


def test_what_the_file_says_of_a_deployment_is_what_it_has() -> None:
    deployment = only(
        {
            "model": "openai/gpt-4.1",
            "weight": 3,
            "order": 2,
            "tags": ["eu"],
            "limits": {"tokens_per_minute": 1000},
            "context_window": 4096,
            "supports": ["tools"],
            "price": {"input_usd_per_million": 1.5, "output_usd_per_million": 6},
        }
    )
    assert (deployment.weight, deployment.order, deployment.tags) == (3, 2, {"eu"})
    assert (deployment.context_window, deployment.supports) == (4096, {"tools"})
    assert deployment.price == Price(Rates(1_500_000_000, 6_000_000_000))
    assert deployment.is_price_own
    assert deployment.is_limited


def test_window_and_price_are_known_for_many_models_and_nothing_is_guessed_for_others() -> None:
    known, unknown = only({"model": "openai/gpt-4.1"}), only({"model": "openai/nobodys-model"})
    assert known.context_window is not None
    assert known.context_window >= 1_000_000
    assert known.price is not None
    assert (unknown.context_window, unknown.price, unknown.supports) == (None, None, None)


def test_each_wait_is_that_of_the_nearest_layer_and_named_by_its_path() -> None:
    said = {
        "deployments": [
            {"model": "openai/a", "timeouts": {"first_token_seconds": 5, "total_seconds": 50}},
            {"model": "ollama/b"},
        ],
        "timeouts": {"first_token_seconds": 9, "between_tokens_seconds": 8, "total_seconds": 90},
    }
    made = route(said, upstream={"connect_seconds": 2})
    a, b = made.deployments
    assert a.waits.first_token == Limit(5, "routes.r.deployments.0.timeouts.first_token_seconds")
    assert a.waits.attempt == Limit(50, "routes.r.deployments.0.timeouts.total_seconds")
    assert b.waits.first_token == Limit(9, "routes.r.timeouts.first_token_seconds")
    assert (b.waits.stream.idle, b.waits.stream.idle_setting) == (8, "routes.r.timeouts.between_tokens_seconds")
    assert (b.waits.answer.head, b.waits.answer.head_setting) == (120, "providers.ollama.timeout_seconds")
    assert (a.waits.stream.connect, a.waits.stream.connect_setting) == (2, "upstream.connect_seconds")
    assert made.total == Limit(90, "routes.r.timeouts.total_seconds")


# Routes.


def test_what_the_file_says_of_a_route_is_what_it_does() -> None:
    said = {
        "deployments": [{"model": "openai/a", "tags": ["eu"]}],
        "strategy": "sticky",
        "sticky_by": "user",
        "rules": [{"when": {"headers": {"X-Tier": "gold"}, "keys": ["k"], "tags": ["t"]}, "use": ["eu"]}],
        "retry": {"attempts": 3, "max_wait_seconds": 0},
        "on_bad_request": "stop",
        "hedge": {"share": 0.1, "after_seconds": 2},
        "mirror": {"to": "groq/b", "share": 0.5, "max_in_flight": 4},
        "strict": True,
    }
    made = route(said, health={"max_ejected_share": 0.5})
    assert (made.name, made.strategy, made.sticky_by) == ("r", Strategy.STICKY, "user")
    assert made.rules == (
        Rule(frozenset({"eu"}), ((b"x-tier", "gold"),), frozenset({"k"}), frozenset({"t"})),
    )  # fmt: skip
    assert (made.retry.attempts, made.retry.per_deployment, made.retry.max_wait_seconds) == (3, 2, 0)
    assert (made.goes_on_after_bad_request, made.is_strict, made.max_ejected_share) == (False, True, 0.5)
    assert made.hedge == HedgePolicy(0.1, 2)
    assert made.mirror == MirrorPolicy("groq/b", 0.5, 4)


@pytest.mark.parametrize(
    ("fallback", "fallback_on", "expected"),
    [
        ("groq/b", None, Fallback("groq/b", ANY_FAILURE)),
        ("groq/b", ["rate_limit"], Fallback("groq/b", frozenset({K.RATE_LIMIT}), is_explicit=True)),
        ("groq/b", ["any"], Fallback("groq/b", frozenset(K) - {K.CANCELLED}, is_explicit=True)),
        (
            {"route": "groq/b", "fallback_on": ["failure", "context_length"]},
            ["quota"],
            Fallback("groq/b", ANY_FAILURE | {K.CONTEXT_LENGTH}, is_explicit=True),
        ),
        ({"route": "groq/b"}, ["quota"], Fallback("groq/b", frozenset({K.QUOTA}), is_explicit=True)),
    ],
)
def test_a_fallback_is_for_what_it_says_itself_else_for_what_the_route_says(
    fallback: Any, fallback_on: list[str] | None, expected: Fallback
) -> None:
    said: dict[str, Any] = {"deployments": [{"model": "openai/a"}], "fallbacks": [fallback]}
    if fallback_on is not None:
        said["fallback_on"] = fallback_on
    assert route(said).fallbacks == (expected,)


def test_a_star_stands_for_the_same_in_name_and_model() -> None:
    book_ = book({"fast-*": {"deployments": [{"model": "groq/*"}, {"model": "openai/*-mini"}]}})
    assert book_.wildcards == ["fast-*"]
    assert book_.names == {}
    made_ = made(book_.route("fast-*", "llama"))
    assert (made_.name, [each.target.model for each in made_.deployments]) == ("fast-llama", ["llama", "llama-mini"])
    other = made(book_.route("fast-*", "qwen"))
    assert other.memory is not made_.memory
    assert made(book_.route("fast-*", "llama")).memory is made_.memory


def test_names_are_those_of_routes_and_their_aliases() -> None:
    deployments = {"deployments": [{"model": "openai/a"}]}
    book_ = book({"r": {**deployments, "aliases": ["s", "t"]}, "x*": {**deployments, "aliases": ["y"]}})
    assert book_.names == {"r": "r", "s": "r", "t": "r", "y": "x*"}


def test_a_deployment_that_cannot_be_had_is_left_out_and_told() -> None:
    routes = {
        "r": {"deployments": [{"model": "openai/a"}, {"model": "anthropic/b"}]},
        "s": {"deployments": [{"model": "anthropic/b"}, {"model": "mistral/c"}]},
    }
    found = book(routes)
    assert [each.id for each in made(found.route("r", "")).deployments] == ["openai/a"]
    refused = found.route("s", "")
    assert isinstance(refused, str)
    assert "ANTHROPIC_API_KEY" in refused
    told = found.reasons()
    assert [reason.partition(":")[0] for reason in told] == ["route r", "route s", "route s"]
    assert "MISTRAL_API_KEY" in told[2]


# `provider/model`.


def test_a_providers_model_is_a_route_of_one() -> None:
    found = book({}, upstream={"total_seconds": 50})
    single = made(found.single("openai/gpt-4.1"))
    (deployment,) = single.deployments
    assert (single.name, deployment.id, single.is_plain) == ("openai/gpt-4.1", "openai/gpt-4.1", True)
    assert single.total == Limit(50, "upstream.total_seconds")
    assert deployment.waits.first_token.setting == "upstream.first_token_seconds"
    patient = made(found.single("ollama/m")).deployments[0]
    assert patient.waits.first_token == Limit(120, "providers.ollama.timeout_seconds")


def test_a_providers_model_that_takes_over_from_a_route_has_a_known_window() -> None:
    found = book({"r": {"deployments": [{"model": "openai/a"}], "fallbacks": ["openai/gpt-4.1"]}})
    window = made(found.single("openai/gpt-4.1")).deployments[0].context_window
    assert window is not None
    assert window >= 1_000_000


def test_a_name_that_means_nothing_has_a_reason() -> None:
    assert book({}).single("nobody/m") == ""
    assert "OPENAI_API_KEY" in str(book({}, {}).single("openai/m"))


def test_a_key_in_a_models_name_is_not_shown() -> None:
    settings = Settings.model_validate({})
    catalogue = build_catalogue(settings, KEYS)
    found = RouteBook(settings, catalogue, show=lambda name: name.replace("sk-canary", "***"))
    single = made(found.single("openai/sk-canary"))
    assert (single.name, single.deployments[0].id) == ("openai/***", "openai/***")
    assert single.deployments[0].target.model == "sk-canary"


# Live state.


def test_one_deployment_has_one_state_wherever_it_stands() -> None:
    same = {"deployments": [{"model": "openai/a"}]}
    found = book({"r": same, "s": same})
    everywhere = found.route("r", ""), found.route("s", ""), found.single("openai/a")
    states = [made(each).deployments[0] for each in everywhere]
    assert len({id(each.vitals) for each in states}) == 1
    assert len({id(each.key_ring.keys[0].state) for each in states}) == 1
    assert found.deployments() == [states[0].vitals]


def test_what_the_file_says_of_a_model_holds_by_whatever_name_it_is_called() -> None:
    price = {"input_usd_per_million": "3", "output_usd_per_million": "4"}
    said = {"model": "openai/a", "name": "mine", "limits": {"requests_per_minute": 2}, "price": price}
    own = {"model": "openai/b", "keys": ["sk-of-this-one-alone"], "limits": {"requests_per_minute": 2}}
    found = book({"r": {"deployments": [said, own]}})
    of_route, single = made(found.route("r", "")).deployments[0], made(found.single("openai/a"))
    (direct,) = single.deployments
    assert single.name == "openai/a"
    assert (direct.id, direct.price, direct.is_price_own) == ("mine", of_route.price, True)
    assert direct.vitals is of_route.vitals
    other = made(found.single("openai/b")).deployments[0]
    assert (other.vitals.limits.requests_per_minute, other.is_price_own) == (None, False), "that is about its own keys"


def test_deployments_that_differ_in_name_place_or_limits_have_states_of_their_own() -> None:
    routes = {
        "r": {
            "deployments": [
                {"model": "openai/a"},
                {"model": "openai/a", "name": "again"},
                {"model": "openai/b"},
                {"model": "groq/a"},
            ]
        },
        "s": {"deployments": [{"model": "openai/a", "limits": {"max_in_flight": 1}}]},
    }
    found = book(routes)
    deployments = [*made(found.route("r", "")).deployments, *made(found.route("s", "")).deployments]
    assert len({id(each.vitals) for each in deployments}) == 5


def test_limits_hold_whichever_name_was_asked_for_first() -> None:
    found = book({"r": {"deployments": [{"model": "openai/a", "limits": {"max_in_flight": 1}}]}})
    made(found.single("openai/a"))
    limited = made(found.route("r", "")).deployments[0]
    limited.vitals.begin(0.0, is_first=True)
    assert limited.vitals.obstacle(0.0) == "max_in_flight"


def test_keys_of_one_account_share_what_is_known_of_the_account_but_not_the_rates_of_models() -> None:
    found = book({})
    a, b = (made(found.single(f"openai/{model}")).deployments[0].key_ring.keys[0] for model in "ab")
    assert a.account is b.account
    assert a.state is not b.state
    own = book({"r": {"deployments": [{"model": "openai/a", "keys": [KEYS["OPENAI_API_KEY"]]}]}})
    beside = made(own.route("r", "")).deployments[0].key_ring.keys[0]
    assert beside.account is made(own.single("openai/b")).deployments[0].key_ring.keys[0].account, "the same key"


def test_state_and_memory_outlive_what_the_router_forgets() -> None:
    found = book({"r": {"deployments": [{"model": "openai/a"}, {"model": "groq/b"}]}})
    router = Router(found, known_names=lambda: (), show=str, clock=lambda: 0.0, random=lambda: 0.0)
    before = router.plan("r", Asking(call_of()))
    router.forget()
    after = router.plan("r", Asking(call_of()))
    assert before.route is not after.route
    assert before.route.memory is after.route.memory
    for old, new in zip(before.route.deployments, after.route.deployments, strict=True):
        assert old.vitals is new.vitals
        assert old.key_ring.keys[0].state is new.key_ring.keys[0].state


@pytest.mark.parametrize("is_failing", [False, True])
def test_names_that_clients_make_up_fill_no_memory(monkeypatch: pytest.MonkeyPatch, is_failing: bool) -> None:
    monkeypatch.setattr(live, "MOST_SINGLES", 50)
    found = book({"w-*": {"deployments": [{"model": "groq/*"}]}})
    for number in range(200):
        for name in (found.single(f"openai/m{number}"), found.route("w-*", str(number))):
            vitals = made(name).deployments[0].vitals
            vitals.strikes = int(is_failing)
    assert len(found.deployments()) <= 50
    assert made(found.single("openai/m199")).deployments[0].vitals.strikes == int(is_failing), "the newest stay"


def test_what_is_held_against_a_deployment_survives_names_that_clients_make_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "MOST_SINGLES", 50)
    found = book({})
    bad = made(found.single("openai/bad")).deployments[0].vitals
    bad.consecutive = 5
    for number in range(200):
        made(found.single(f"openai/m{number}"))
    assert made(found.single("openai/bad")).deployments[0].vitals is bad


def test_nothing_that_is_shown_holds_a_key() -> None:
    found = book({"r": {"deployments": [{"model": "openai/a", "keys": ["sk-canary-0001"]}]}})
    deployment = made(found.route("r", "")).deployments[0]
    assert isinstance(deployment.key_ring.keys[0].secret, Secret)
    assert "canary" not in repr(deployment)


def test_what_a_named_route_remembers_outlives_any_number_of_wildcard_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_SINGLES", 5)
    deployments = {"deployments": [{"model": "openai/*"}]}
    found = book({"r": {"deployments": [{"model": "openai/m"}]}, "gpt-*": deployments})
    memory = made(found.route("r", "")).memory
    for number in range(20):
        made(found.route("gpt-*", str(number)))
    assert made(found.route("r", "")).memory is memory
