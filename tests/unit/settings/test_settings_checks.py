"""What is wrong between the values of a file: names, fallbacks, deployments, keys."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.secret import Secret
from gateway.settings.explain import nearest
from gateway.settings.load import load_settings, with_server
from gateway.settings.model import ClientKeySettings, ServerSettings, Settings
from gateway.settings.name_checks import closings
from gateway.settings.route import FallbackSettings

KNOWN = {"openai": "openai", "groq": "groq", "xai": "xai", "grok": "xai"}
ENVIRON = {"KEY": "sk-secret", "WEIGHT": "0", "NAME": "sk-misplaced"}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("anyport.yaml")


def load(file: Path, text: str) -> Settings:
    file.write_text(text, encoding="utf-8")
    return load_settings(file, ENVIRON, KNOWN)


def faults(file: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, text)
    return [str(fault).removeprefix("anyport.yaml:") for fault in caught.value.faults]


def routes(*lines: str) -> str:
    """Returns a file of routes, of which the first stands in line 2; `D` is one deployment."""
    said = [f"  {line.replace('D', 'deployments: [{model: groq/x}]')}" for line in lines]
    return "\n".join(["routes:", *said, ""])


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


# --- inside a route


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (
            "deployments: [{model: groq/x}, {model: groq/x, weight: 2}]",
            "deployments.1.model  this route has another deployment called 'groq/x'; give each a `name` of its own",
        ),
        ("deployments: [{model: xai/x}, {model: grok/x}]", "another deployment called 'xai/x'"),
        ("deployments: [{model: groq/x}, {model: x, provider: groq}]", "another deployment called 'groq/x'"),
        (
            "deployments: [{model: groq/x, name: n}, {model: groq/y, name: n}]",
            "deployments.1.name  this route has another deployment called 'n'",
        ),
        ("deployments: [{model: groq/x, weight: 0}]", "deployments  every deployment has the weight 0"),
        ("deployments: [{model: groq/x, weight: 0}, {model: groq/y, weight: '${WEIGHT}'}]", "has the weight 0"),
        ("deployments: [{model: groq/x, weight: many}]", "deployments.0.weight  must be a number, got 'many'"),
        ("D, hedge: {}", "hedge  needs a second deployment to ask; this route has one"),
        ("D, sticky_by: user", "sticky_by  is for the strategy sticky, and this route's is weighted"),
        ("D, strategy: ordered, sticky_by: user", "sticky_by  is for the strategy sticky, and this route's is ordered"),
        (
            "deployments: [{model: groq/x, tags: [europe]}], rules: [{when: {}, use: [europa]}]",
            "rules.0.use.0  no deployment of this route has the tag 'europa'; did you mean 'europe'?",
        ),
    ],
)
def test_settings_of_a_route_that_contradict_each_other_are_faults(file: Path, route: str, expected: str) -> None:
    (fault,) = faults(file, routes(f"r: {{{route}}}"))
    assert fault.startswith("2:")
    assert expected in fault


@pytest.mark.parametrize(
    "route",
    [
        "deployments: [{model: groq/x}, {model: groq/x, name: second, keys: ['${KEY}']}]",
        "deployments: [{model: groq/x}, {model: groq/y, weight: 0}], hedge: {}",
        "D, strategy: sticky, sticky_by: 'header:X-User'",
        "D, hedge: ~",
        "deployments: [{model: groq/x, timeouts: {total_seconds: 900}}], timeouts: {total_seconds: 5}",
        "D, retry: {attempts: 1, per_deployment: 5}",
        "D, strategy: lowest_cost",
        "deployments: [{model: groq/x, weight: 2}]",
    ],
)
def test_settings_that_only_look_odd_are_taken(file: Path, route: str) -> None:
    assert load(file, routes(f"r: {{{route}}}")).routes["r"].deployments


@pytest.mark.parametrize(
    ("first", "second", "differing"),
    [
        ("model: groq/x", "model: groq/x, keys: ['${KEY}']", "keys"),
        ("model: groq/x, limits: {max_in_flight: 1}", "model: groq/x, limits: {max_in_flight: 2}", "limits"),
        ("model: groq/x, name: n", "model: groq/y, name: n", "model"),
        ("model: groq/x, timeouts: {total_seconds: 1}", "model: groq/x, supports: [tools]", "timeouts and supports"),
    ],
)
def test_deployments_called_the_same_must_be_the_same_in_all_routes(
    file: Path, first: str, second: str, differing: str
) -> None:
    (fault,) = faults(file, routes(f"a: {{deployments: [{{{first}}}]}}", f"b: {{deployments: [{{{second}}}]}}"))
    assert fault.startswith("3:")
    assert "the route 'a' has a deployment called" in fault
    assert f"with other {differing}; give one of them a `name` of its own" in fault
    assert "sk-secret" not in fault


@pytest.mark.parametrize("model", ["openai/gpt-5", "openai/gpt-4*"])
def test_a_deployment_must_be_the_same_where_a_wildcard_stands_for_it(file: Path, model: str) -> None:
    limited = "'gpt-*': {deployments: [{model: openai/gpt-*, limits: {max_in_flight: 1}}]}"
    (fault,) = faults(file, routes(limited, f"'a-*': {{deployments: [{{model: {model}}}]}}"))
    assert fault == (
        f"3:33  routes.a-*.deployments.0.model  the route 'gpt-*' has {model!r} as well, as 'openai/gpt-*' with other "
        "limits; give one of them a `name` of its own"
    )
    assert load(file, routes(limited, f"'a-*': {{deployments: [{{model: {model}, name: n}}]}}"))
    assert load(file, routes(limited, f"'a-*': {{deployments: [{{model: {model}, limits: {{max_in_flight: 1}}}}]}}"))


def test_one_deployment_may_stand_in_several_routes_with_its_place_there(file: Path) -> None:
    text = routes(
        "a: {deployments: [{model: groq/x, weight: 1, order: 1, tags: [t], limits: {max_in_flight: 3}}]}",
        "b: {deployments: [{model: groq/x, limits: {max_in_flight: 3, tokens_per_minute: ~}, timeouts: {}}]}",
    )
    assert len(load(file, text).routes) == 2


# --- keys and the admin API


def test_client_keys_may_have_names_and_tags(file: Path) -> None:
    text = 'server: {api_keys: [plain-key, {key: "${KEY}", name: team-a, tags: [gold]}]}\n'
    text += routes("r: {deployments: [{model: groq/x, tags: [eu]}], rules: [{when: {keys: [team-a]}, use: [eu]}]}")
    keys = load(file, text).server.api_keys
    assert isinstance(keys[1], ClientKeySettings)
    assert (keys[1].key.reveal(), keys[1].name, keys[1].tags) == ("sk-secret", "team-a", ["gold"])
    assert with_server(load(file, text), {"port": 1}).server.api_keys == keys


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "server: {api_keys: [same-key, {key: same-key, name: n}]}",
            ["1:37  server.api_keys.1.key  is the same key as server.api_keys.0; give each client one of its own"],
        ),
        (
            "server: {api_keys: [{key: a, name: n}, {key: b, name: n}]}",
            ["1:55  server.api_keys.1.name  is the name of server.api_keys.0 already"],
        ),
        (
            "server: {api_keys: [{key: 'a b', nme: n}]}",
            [
                "1:21  server.api_keys.0.name  is required",
                "1:27  server.api_keys.0.key  must be printable ASCII without spaces",
                "1:34  server.api_keys.0.nme  unknown setting 'nme'; did you mean 'name'?",
            ],
        ),
        ("admin: {port: 1}", ["1:15  admin.port  needs a key for the admin API; set admin.key as well"]),
        (
            "server: {api_keys: [other, same-key]}\nadmin: {port: 1, key: same-key}",
            ["2:23  admin.key  is a client's key as well (server.api_keys.1); it must be another one"],
        ),
        (
            "health: {ejection_seconds: 9, max_ejection_seconds: 3}",
            [
                "1:53  health.max_ejection_seconds  health.max_ejection_seconds (3) must not be less than "
                "health.ejection_seconds (9)"
            ],
        ),
        (
            "storage: {retention_days: 3, content_days: 4}",
            ["1:44  storage.content_days  storage.content_days (4) must not be more than storage.retention_days (3)"],
        ),
        (
            "health: {ejection_seconds: 9}",
            [
                "1:28  health.ejection_seconds  health.max_ejection_seconds (8) must not be less than "
                "health.ejection_seconds (9)"
            ],
        ),
    ],
)
def test_keys_and_sections_that_do_not_go_together_are_faults(file: Path, text: str, expected: list[str]) -> None:
    found = faults(file, text)
    assert found == expected
    assert not any("same-key" in fault for fault in found)


def test_client_keys_may_be_given_by_a_program() -> None:
    named = ClientKeySettings(key=Secret("k"), name="team-a")
    assert ServerSettings(api_keys=[Secret("j"), named]).api_keys == [Secret("j"), named]


def test_a_rule_for_a_key_that_does_not_exist_is_a_fault_that_does_not_show_it(file: Path) -> None:
    text = "server: {api_keys: [{key: k, name: team-a}]}\n" + routes(
        "r: {deployments: [{model: groq/x, tags: [eu]}], rules: [{when: {keys: [team-b, sk-misplaced]}, use: [eu]}]}"
    )
    assert faults(file, text) == [
        "3:74  routes.r.rules.0.when.keys.0  no client key in server.api_keys has this name; did you mean 'team-a'?",
        "3:82  routes.r.rules.0.when.keys.1  no client key in server.api_keys has this name",
    ]


@pytest.mark.parametrize(
    "section",
    [
        "admin: {key: 'sk-shown no'}",
        "admin: {key: [sk-shown]}",
        "state: {url: sk-shown}",
        "providers: {groq: {login: sk-shown}}",
        "providers: {groq: {profiles: {work: sk-shown}}}",
    ],
)
def test_what_may_hold_a_secret_is_not_shown_in_a_fault(file: Path, section: str) -> None:
    (fault,) = faults(file, section)
    assert "sk-shown" not in fault


def test_the_password_of_the_state_is_not_shown(file: Path) -> None:
    url = "redis://user:hunter2@cache.internal:6379/0"
    settings = load(file, f"state: {{url: '{url}'}}\n")
    assert settings.state.url.reveal() == url
    shown = [repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())]
    assert not any("hunter2" in each for each in shown)


def test_all_faults_between_values_come_at_once(file: Path) -> None:
    text = routes("a: {D, aliases: [b], fallbacks: [nowhere], hedge: {}}", "b: {D, fallbacks: [b], sticky_by: user}")
    assert len(faults(file, text)) == 5


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("server: {port: 9000}\nadmin: {port: 9000, key: k}\n", "2:15  admin.port  is server.port as well (9000)"),
        ("admin: {port: 8484, key: k}\n", "1:15  admin.port  is server.port as well (8484)"),
        ("server: {metrics_port: 8484}\n", "1:24  server.metrics_port  is server.port as well (8484)"),
        (
            "server: {metrics_port: 9100}\nadmin: {port: 9100, key: k}\n",
            "2:15  admin.port  is server.metrics_port as well (9100)",
        ),
    ],
)
def test_no_two_listeners_may_have_one_port(file: Path, text: str, fault: str) -> None:
    assert faults(file, text) == [f"{fault}; give it a port of its own"]


def test_several_listeners_may_leave_the_choice_of_their_ports_to_the_system(file: Path) -> None:
    assert load(file, "server: {port: 0, metrics_port: 0}\nadmin: {port: 0, key: k}\n").admin.port == 0


def test_a_mirror_is_not_the_route_itself(file: Path) -> None:
    text = 'routes: {a: {deployments: [{model: groq/x}], aliases: [b], mirror: {to: "b"}}}\n'
    assert [fault.split("  ", 1)[1] for fault in faults(file, text)] == [
        "routes.a.mirror.to  is the route itself; every request would go there twice"
    ]


DISCORD = "integrations: {discord: {application_id: 119, public_key: '" + "0F" * 32 + "', model: fast, "
ROUTE = "routes: {fast: {deployments: [{model: groq/a}]}}\n"


def test_a_bot_has_ids_of_discord_even_where_they_stand_without_quotes(file: Path) -> None:
    discord = load(file, ROUTE + DISCORD + "guilds: {81: {key: mine, model: groq/b}}}}").integrations.discord
    assert discord is not None
    assert (discord.application_id, discord.public_key) == ("119", "0f" * 32)
    assert [(id, place.key, place.model) for id, place in discord.guilds.items()] == [("81", "mine", "groq/b")]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (ROUTE + DISCORD + "}}", "2:16  integrations.discord  would answer nobody"),
        (ROUTE + DISCORD + "models: [fsat], elsewhere: {}}}", "no route is called 'fsat'"),
        (ROUTE + DISCORD + "guilds: {mine: {}}}}", "must be an id of Discord"),
        (ROUTE + DISCORD + "elsewhere: {}, api_base: 'http://example.com'}}", "must be an https:// URL"),
        (
            ROUTE + DISCORD + "elsewhere: {}}}\nserver: {api_keys: [abc]}",
            "integrations.discord.elsewhere  needs the name",
        ),
        (
            ROUTE + "integrations: {discord: {application_id: 1, public_key: abc, model: fast, elsewhere: {}}}",
            "64 hexa",
        ),
    ],
)
def test_a_bot_that_could_not_answer_is_a_fault(file: Path, text: str, fault: str) -> None:
    (found,) = faults(file, text)
    assert fault in found


def test_what_is_wrong_with_a_bots_token_does_not_show_it(file: Path) -> None:
    (found,) = faults(file, ROUTE + DISCORD + "elsewhere: {}, bot_token: [sk-misplaced]}}")
    assert "integrations.discord.bot_token" in found
    assert "misplaced" not in found
