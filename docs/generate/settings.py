"""config/anyport.example.yaml, config/schema/anyport.schema.json and the table of docs/configuration.md."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.secret import Secret
from gateway.settings.model import (
    AccessSettings,
    AdminSettings,
    BatchesSettings,
    CredentialsSettings,
    DiscoverySettings,
    HealthSettings,
    ServerSettings,
    Settings,
    StateSettings,
    StorageSettings,
    UpstreamSettings,
)

Json = dict[str, Any]
PAGE = Path(__file__).parents[1] / "configuration.md"
BEGIN = "<!-- Settings: made by `make docs`; changes made here are lost. -->\n"
END = "<!-- End of settings. -->\n"
_WIDTH = 100
_COLUMNS = "| Setting | Value | Default | Meaning |\n|---|---|---|---|\n"
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
    ## Further accounts, for deployments that say so.
    profiles: {work: {credentials: ["${OPENAI_KEY_B}"]}}
"""
_ROUTES = """\
  ## Clients may now ask for the model `fast`.
  fast:
    deployments:
      - model: groq/llama-3.3-70b-versatile
      - model: my-vllm/llama-3.3-70b
  ## Whatever OpenAI calls gpt-..., under its own name; each conversation stays at one of two keys.
  "gpt-*":
    strategy: sticky
    sticky_by: prefix
    deployments:
      - {model: openai/gpt-*, name: openai-a, keys: ["${OPENAI_KEY_A}"]}
      - {model: openai/gpt-*, name: openai-b, keys: ["${OPENAI_KEY_B}"]}
  ## Everything else that a route can say. docs/routing.md explains it.
  smart:
    aliases: [default, team/smart]
    strategy: weighted
    deployments:
      - name: openai-eu
        model: openai/gpt-4.1
        keys: ["${OPENAI_KEY_A}", "${OPENAI_KEY_B}"]
        weight: 9
        tags: [eu]
        limits: {max_in_flight: 50, requests_per_minute: 500, tokens_per_minute: 200000}
        timeouts: {first_token_seconds: 20}
        context_window: 1000000
        supports: [tools, images, json_schema]
        price: {input_usd_per_million: 2, output_usd_per_million: 8}
      ## A canary: a tenth of the requests.
      - {model: openai/gpt-5-mini, profile: work, weight: 1, tags: [eu]}
      ## Called when the others fail or are full; `custom:URL` is a server that is described nowhere.
      - {model: llama-3.3-70b, provider: "custom:https://llm.example.com/v1", order: 1, tags: [own]}
    ## The first rule that fits a request says which deployments it may get.
    rules:
      - when: {keys: [team-a], headers: {x-region: eu}}
        use: [eu]
      - when: {tags: [confidential]}
        use: [own]
    retry:
      attempts: 4
      per_deployment: 2
      backoff_seconds: 0.1
      max_backoff_seconds: 2
      max_wait_seconds: 10
      budget: 0.2
      budget_floor_per_second: 3
    timeouts:
      head_seconds: 20
      first_token_seconds: 30
      between_tokens_seconds: 20
      answer_seconds: 120
      total_seconds: 180
    ## What takes over when all of that fails, and after what.
    fallbacks: [fast, {route: anthropic/claude-sonnet-4-5, fallback_on: [context_length, content_filter]}]
    fallback_on: [failure]
    on_bad_request: next_provider
    hedge: {after_seconds: 5, share: 0.05}
    mirror: {to: my-vllm/llama-3.3-70b, share: 0.01, max_in_flight: 16}
    strict: false
"""
_INTEGRATIONS = """\
  ## A bot that answers /ask; docs/discord.md goes from nothing to there.
  discord:
    application_id: "1199999999999999999"
    public_key: ${DISCORD_PUBLIC_KEY}
    ## For `anyport discord`; without it $DISCORD_BOT_TOKEN.
    bot_token: ${DISCORD_BOT_TOKEN}
    ## What answers, and what may be chosen instead.
    model: fast
    models: [fast, smart]
    ## Guilds that are answered: the name of the key under which each asks, and what answers there.
    guilds:
      "81384788765712384": {key: my-guild}
      "81384788765712385": {key: other-guild, model: smart}
    ## The same for all others, and for direct messages.
    elsewhere: {key: strangers}
"""
_PLUGINS = """\
  - anyport-example
"""
_SECTIONS: tuple[tuple[str, type[BaseModel] | str], ...] = (
    ("server", ServerSettings),
    ("providers", _PROVIDERS),
    ("routes", _ROUTES),
    ("upstream", UpstreamSettings),
    ("health", HealthSettings),
    ("credentials", CredentialsSettings),
    ("state", StateSettings),
    ("storage", StorageSettings),
    ("access", AccessSettings),
    ("admin", AdminSettings),
    ("discovery", DiscoverySettings),
    ("batches", BatchesSettings),
    ("integrations", _INTEGRATIONS),
    ("plugins", _PLUGINS),
)
_BOUNDS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "more than"),
    ("maximum", "at most"),
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
            yield from _prose(f"{field.description} Default: {json.dumps(_default(field))}.", "  ## ")
            yield f"  {name}: {json.dumps(field.examples[0])}"
        else:
            yield from _prose(field.description or "", "  ## ")
            default = _default(field)
            yield f"  {name}: {default if isinstance(default, str) else json.dumps(default)}"


def _default(field: FieldInfo) -> Any:
    # A default is no secret, even where the setting's value may be one.
    default = field.get_default(call_default_factory=True)
    return default.reveal() if isinstance(default, Secret) else default


def settings_schema() -> str:
    """Returns config/schema/anyport.schema.json, for editors and other tools."""
    schema = _or_variable(Settings.model_json_schema())
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Settings of Anyport"}
    return json.dumps({**schema, **head}, indent=2, sort_keys=True) + "\n"


def _or_variable(node: Any) -> Any:
    """Allows `${VARIABLE}` wherever something else than a text is wanted; a section's defaults are its settings'."""
    if isinstance(node, list):
        return [_or_variable(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return {key: value for key, value in node.items() if key != "default"}
    node = {key: _or_variable(value) if key != "default" else value for key, value in node.items()}
    if node.get("type") not in ("integer", "number", "boolean") and "enum" not in node:
        return node
    kept = {key: node.pop(key) for key in ("title", "description", "default", "examples") if key in node}
    return {**kept, "anyOf": [node, {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-.*)?\}"}]}


def settings_table() -> str:
    """Returns the tables of all settings, one per section; rows of providers have a schema of their own."""
    sections = ((name, field) for name, field in Settings.model_fields.items() if name != "providers")
    return "\n".join(each for name, field in sections for each in _tables(name, field))


def _tables(name: str, field: FieldInfo) -> Iterator[str]:
    inner = list(_inner(name, field.annotation))
    if not inner:
        row = _row(name, field, Settings.model_json_schema()["properties"][name])
        yield f"### `{name}`\n\n{_COLUMNS}{row}"
    for section, model in inner:
        yield _table(section, model)


def _inner(path: str, annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yields every section at and below a setting: its path as the page writes it, and what it may say."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield path, annotation
        for name, field in annotation.model_fields.items():
            yield from _inner(f"{path}.{name}", field.annotation)
        return
    suffix = {dict: ".NAME", list: "[]"}.get(get_origin(annotation), "")
    for each in get_args(annotation):
        yield from _inner(f"{path}{suffix}", each)


def _table(section: str, model: type[BaseModel]) -> str:
    properties: Json = model.model_json_schema()["properties"]
    rows = "".join(_row(name, field, properties[name]) for name, field in model.model_fields.items())
    doc = (model.__doc__ or "").splitlines()[0]
    return f"### `{section}`\n\n{doc}\n\n{_COLUMNS}{rows}"


def _row(name: str, field: FieldInfo, schema: Json) -> str:
    if field.is_required():
        default = "required"
    else:
        default = "its own" if isinstance(_default(field), BaseModel) else f"`{json.dumps(_default(field))}`"
    return f"| `{name}` | {_type(schema)} | {default} | {field.description} |\n"


def _type(schema: Json) -> str:
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(each) for each in alternatives)
    if "$ref" in schema:
        return "mapping"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    bounds = "".join(f", {words} {_plain(schema[key])}" for key, words in _BOUNDS if key in schema)
    if schema["type"] == "array":
        return f"list of {_types(schema['items'])}" + (" (not empty)" if schema.get("minItems") else "")
    if schema["type"] == "object":
        return f"mapping of {_types(schema['additionalProperties'])}"
    return _TYPES[schema["type"]] + bounds


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def _types(schema: Json) -> str:
    """Returns what a list or a mapping holds several of."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    return " or ".join(f"{_type(each)}s" for each in schema.get("oneOf", [schema]))


def configuration_page() -> str:
    """Returns docs/configuration.md: its own text, with the tables between the two markers made anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{settings_table()}\n{END}{after}"
