"""What is wrong between the values of a file: deployments, keys, listeners."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.secret import Secret
from gateway.settings.load import with_server
from gateway.settings.model import ClientKeySettings, ServerSettings
from tests.unit.settings.loading import faults, load, routes

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
