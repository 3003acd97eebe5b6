"""config/anyport.example.yaml, config/schema/anyport.schema.json and the table of docs/configuration.md."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.settings.model import (
    DeploymentSettings,
    DiscoverySettings,
    RouteSettings,
    ServerSettings,
    Settings,
    UpstreamSettings,
)

Json = dict[str, Any]
PAGE = Path(__file__).parents[1] / "configuration.md"
BEGIN = "<!-- Settings: made by `make docs`; changes made here are lost. -->\n"
END = "<!-- End of settings. -->\n"
_WIDTH = 100
_HEAD = """\
## Every setting of Anyport with its default, or an example where the default is nothing.
## Deleting the first # of a line puts it into force. Copy what you need to anyport.yaml; an empty file is
## valid too. docs/configuration.md explains the rest.
"""
_PROVIDERS = """\
  ## A server of your own: any name and its base URL. It speaks OpenAI's protocol.
  my-vllm:
    protocol: openai
    base_url: http://127.0.0.1:8000/v1
    requires_credential: false
  ## A built-in provider: what you write is laid over its row. Several credentials are used in turn.
  openai:
    credentials: ["${OPENAI_KEY_A}", "${OPENAI_KEY_B}"]
"""
_ROUTES = """\
  ## Clients may now ask for the model `fast`.
  fast:
    deployments:
      - model: groq/llama-3.3-70b-versatile
      - model: my-vllm/llama-3.3-70b
"""
_SECTIONS: tuple[tuple[str, type[BaseModel] | str], ...] = (
    ("server", ServerSettings),
    ("providers", _PROVIDERS),
    ("routes", _ROUTES),
    ("upstream", UpstreamSettings),
    ("discovery", DiscoverySettings),
)
_TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("server", ServerSettings),
    ("upstream", UpstreamSettings),
    ("discovery", DiscoverySettings),
    ("routes.NAME", RouteSettings),
    ("routes.NAME.deployments[]", DeploymentSettings),
)
_BOUNDS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "more than"),
    ("maximum", "at most"),
    ("minItems", "length at least"),
)
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


def example_yaml() -> str:
    """Returns config/anyport.example.yaml: every line commented out."""
    lines = [_HEAD.rstrip("\n")]
    for name, content in _SECTIONS:
        lines += ["#", *_commented(_prose(Settings.model_fields[name].description or "", "# ")), f"#{name}:"]
        body = content.splitlines() if isinstance(content, str) else _settings(content)
        lines += _commented(body)
    return "\n".join(lines) + "\n"


def _commented(lines: Iterable[str]) -> Iterator[str]:
    return (f"#{line}" for line in lines)


def _prose(text: str, prefix: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False)


def _settings(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if field.examples:
            yield from _prose(f"{field.description} Default: {json.dumps(field.default)}.", "  ## ")
            yield f"  {name}: {json.dumps(field.examples[0])}"
        else:
            yield from _prose(field.description or "", "  ## ")
            yield f"  {name}: {_plain(field.default)}"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def settings_schema() -> str:
    """Returns config/schema/anyport.schema.json, for editors and other tools."""
    schema = _or_variable(Settings.model_json_schema())
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Settings of Anyport"}
    return json.dumps({**schema, **head}, indent=2, sort_keys=True) + "\n"


def _or_variable(node: Any) -> Any:
    """Allows `${VARIABLE}` wherever something else than a text is wanted."""
    if isinstance(node, list):
        return [_or_variable(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {key: _or_variable(value) if key != "default" else value for key, value in node.items()}
    if node.get("type") not in ("integer", "number", "boolean") and "enum" not in node:
        return node
    kept = {key: node.pop(key) for key in ("title", "description", "default", "examples") if key in node}
    return {**kept, "anyOf": [node, {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-.*)?\}"}]}


def settings_table() -> str:
    """Returns the tables of all settings, one per section."""
    return "\n".join(_table(name, model) for name, model in _TABLES)


def _table(section: str, model: type[BaseModel]) -> str:
    properties: Json = model.model_json_schema()["properties"]
    rows = "".join(_row(name, field, properties[name]) for name, field in model.model_fields.items())
    doc = (model.__doc__ or "").splitlines()[0]
    return f"### `{section}`\n\n{doc}\n\n| Setting | Value | Default | Meaning |\n|---|---|---|---|\n{rows}"


def _row(name: str, field: FieldInfo, schema: Json) -> str:
    default = "required" if field.is_required() else f"`{json.dumps(field.default)}`"
    return f"| `{name}` | {_type(schema)} | {default} | {field.description} |\n"


def _type(schema: Json) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    bounds = "".join(f", {words} {schema[key]:g}" for key, words in _BOUNDS if key in schema)
    if schema.get("type") == "array":
        items = schema["items"]
        return f"list of {'mappings' if '$ref' in items else 'texts'}"
    return _TYPES[schema["type"]] + bounds


def configuration_page() -> str:
    """Returns docs/configuration.md: its own text, with the tables between the two markers made anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{settings_table()}\n{END}{after}"
