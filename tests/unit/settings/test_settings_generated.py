"""The example file, the schema and the page of settings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

import docs.generate.settings as generate
from gateway.settings.load import load_settings
from gateway.settings.model import Settings

KNOWN = {"openai": "openai", "groq": "groq"}
ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "config" / "anyport.example.yaml"
ENVIRON = {"ANYPORT_API_KEY": "client", "OPENAI_KEY_A": "a", "OPENAI_KEY_B": "b"}


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
    assert settings.server.model_fields_set == set(type(settings.server).model_fields)
    assert settings.upstream.model_fields_set == set(type(settings.upstream).model_fields)
    assert settings.discovery.model_fields_set == set(type(settings.discovery).model_fields)
    assert settings.model_fields_set == set(Settings.model_fields)


def test_the_example_shows_the_defaults_where_there_are_any() -> None:
    shown = yaml.safe_load(uncommented())
    assert shown["upstream"] == Settings().upstream.model_dump()
    assert shown["server"]["port"] == Settings().server.port


def test_every_setting_stands_in_the_page() -> None:
    page = generate.PAGE.read_text(encoding="utf-8")
    names = [name for part in ("server", "upstream", "discovery") for name in getattr(Settings(), part).model_dump()]
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
    checker.validate(yaml.safe_load(uncommented()))
    checker.validate({"server": {"port": "${PORT}", "max_in_flight": "${MAX:-10}"}})


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
    ],
)
def test_the_schema_refuses_what_loading_refuses(schema: dict[str, object], wrong: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)
