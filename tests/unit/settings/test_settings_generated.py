"""The example file, the schema and the page of settings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

import docs.generate.settings as generate
from gateway.secret import Secret
from gateway.settings.document import as_mapping, read_document
from gateway.settings.load import load_settings
from gateway.settings.model import Settings
from gateway.settings.route import DeploymentSettings, RetrySettings, RouteSettings

KNOWN = {"openai": "openai", "groq": "groq", "anthropic": "anthropic"}
ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "config" / "anyport.example.yaml"
ENVIRON = {
    "ANYPORT_API_KEY": "client",
    "TEAM_A_KEY": "team",
    "ANYPORT_ADMIN_KEY": "admin",
    "ANYPORT_PEPPER": "pepper-of-16-or-more",
    "OPENAI_KEY_A": "a",
    "OPENAI_KEY_B": "b",
    "DISCORD_PUBLIC_KEY": "0f" * 32,
    "DISCORD_BOT_TOKEN": "bot",
}
SECTIONS = ("server", "upstream", "health", "credentials", "state", "storage", "access", "admin", "discovery")


def read(text: str) -> dict[str, object]:
    """Returns what a file says, read as YAML 1.2: in 1.1, `on` would be a truth value."""
    return read_document("anyport.yaml", text.encode(), lambda document, path, value: value).root


def uncommented() -> str:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.removeprefix("#") for line in lines)


@pytest.fixture(scope="module")
def schema() -> dict[str, object]:
    return json.loads((ROOT / "config" / "schema" / "anyport.schema.json").read_text(encoding="utf-8"))


def test_the_files_are_up_to_date() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == generate.example_yaml()
    assert generate.PAGE.read_text(encoding="utf-8") == generate.configuration_page()
    schema = ROOT / "config" / "schema" / "anyport.schema.json"
    assert schema.read_text(encoding="utf-8") == generate.settings_schema()


def test_the_example_as_it_is_means_the_defaults() -> None:
    assert load_settings(EXAMPLE, {}) == Settings()


def test_the_example_loads_with_every_line_in_force(tmp_path: Path) -> None:
    file = tmp_path / "anyport.yaml"
    file.write_text(uncommented(), encoding="utf-8")
    settings = load_settings(file, ENVIRON, KNOWN)
    for name in SECTIONS:
        section = getattr(settings, name)
        assert section.model_fields_set == set(type(section).model_fields)
    assert settings.model_fields_set == set(Settings.model_fields)


def test_the_example_shows_every_setting_of_a_route(tmp_path: Path) -> None:
    file = tmp_path / "anyport.yaml"
    file.write_text(uncommented(), encoding="utf-8")
    routes = load_settings(file, ENVIRON, KNOWN).routes.values()
    assert set().union(*(route.model_fields_set for route in routes)) == set(RouteSettings.model_fields)
    deployments = [each for route in routes for each in route.deployments]
    assert set().union(*(each.model_fields_set for each in deployments)) == set(DeploymentSettings.model_fields)
    assert set().union(*(route.retry.model_fields_set for route in routes)) == set(RetrySettings.model_fields)


def test_the_example_shows_the_defaults_where_there_are_any() -> None:
    shown = read(uncommented())
    for name in SECTIONS:
        for setting, field in type(getattr(Settings(), name)).model_fields.items():
            default = field.get_default(call_default_factory=True)
            default = default.reveal() if isinstance(default, Secret) else default
            assert field.examples or as_mapping(shown[name])[setting] == default, setting


def test_every_setting_stands_in_the_page() -> None:
    page = generate.PAGE.read_text(encoding="utf-8")
    names = [name for part in SECTIONS for name in getattr(Settings(), part).model_dump()]
    names += [*RouteSettings.model_fields, *DeploymentSettings.model_fields, *RetrySettings.model_fields]
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_the_yaml_in_the_page_loads(tmp_path: Path) -> None:
    page = generate.PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        file = tmp_path / "anyport.yaml"
        file.write_text(block, encoding="utf-8")
        assert load_settings(file, ENVIRON, KNOWN).routes


def test_the_schema_takes_the_example_and_variables(schema: dict[str, object]) -> None:
    checker = jsonschema.Draft202012Validator(schema)
    checker.validate(read(uncommented()))
    checker.validate({"server": {"port": "${PORT}", "max_in_flight": "${MAX:-10}"}})
    assert "**" not in json.dumps(schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"server": {"prot": 1}},
        {"server": {"port": 70000}},
        {"server": {"port": "many"}},
        {"upstream": {"transport": "curl"}},
        {"upstream": {"between_tokens_seconds": 0}},
        {"routes": {"a": {"deployments": []}}},
        {"discovery": {"enabled": "perhaps"}},
        {"server": {"api_keys": [{"name": "no-key"}]}},
        {"routes": {"a": {"deployments": [{"model": "groq/x"}], "fallbacks": [{"rout": "b"}]}}},
        {"routes": {"a": {"deployments": [{"model": "groq/x"}], "strategy": "fastest"}}},
    ],
)
def test_the_schema_refuses_what_loading_refuses(schema: dict[str, object], wrong: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)
