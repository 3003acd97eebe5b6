"""docs/providers.md and config/schema/providers.schema.json, from config/providers.yaml and its model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

import jsonschema
import yaml

from adapters.types import Operation
from docs.generate.quirks import rules_in_words
from gateway.domain import Connection
from gateway.registry.adapters import ADAPTERS
from gateway.registry.builtin import PROVIDERS_FILE, ProvidersFile, config_directory, parse_file
from gateway.settings.provider import ProviderRow

_OTHERWISE: Final = {
    "bearer_remote_only": "never sent to this machine",
    "sigv4": "or AWS's own chain",
    "google_adc": "or Google's default credentials",
    "entra": "or an Entra application",
}
_OPERATIONS = ", ".join(f"`{operation}`" for operation in Operation if operation is not Operation.MODELS)
_HEAD = """\
<!-- Made from config/providers.yaml by `make docs`; changes made here are lost. -->

# Providers

{count} providers are built in. A model is called `provider/model`, such as `groq/llama-3.3-70b-versatile`; the
provider may also be an alias. Names in front of a model are taken as written here, in lower case, because
`Qwen/...` is the name of an organisation in the ids of many hosts. An alias written `name@region` picks that region's
base URL.

Variables are read from left to right, and every one of them is first looked up with `ABI_` in front. A variable that
is empty counts as unset. A base URL may be given without its path (`http://gpu-box:8000`): the path of the default
is added. The settings win over the environment, and both over a region. Operations are {operations}.

Requests to every provider but {excepted} are changed in the same few ways:

{baseline}

The last column says how a provider differs from that, or from OpenAI.

| Id | Name | Aliases | Key variables | Base URL variables | Default base URL | Local | Operations | Differences |
|---|---|---|---|---|---|---|---|---|
"""


def providers_page() -> str:
    """Returns docs/providers.md."""
    content = _file()
    head = _HEAD.format(
        count=len(content.providers),
        operations=_OPERATIONS,
        excepted=_listed(content.baseline.excepted),
        baseline="\n".join(f"- {phrase}" for phrase in rules_in_words(content.baseline.rules)),
    )
    return head + "".join(_line(name, row) for name, row in sorted(content.providers.items()))


def _file() -> ProvidersFile:
    return parse_file(_text())


def _text() -> str:
    return (config_directory() / PROVIDERS_FILE).read_text(encoding="utf-8")


def _line(name: str, row: ProviderRow) -> str:
    cells = (
        f"`{name}`",
        f"[{row.display_name}]({row.docs_url})" if row.docs_url else row.display_name or name,
        _listed(row.aliases or []),
        _keys(row),
        _listed(row.base_url_envs or []),
        "<br>".join([f"`{row.base_url}`", *(f"{at}: `{url}`" for at, url in (row.regions or {}).items())]),
        "yes" if row.connection is Connection.LOCAL else "",
        ", ".join(_operations(row)),
        "; ".join(_differences(row)),
    )
    return f"| {' | '.join(cells)} |\n"


def _operations(row: ProviderRow) -> list[str]:
    """Returns what the row says, else what its protocol has; OpenAI's alone is no promise of more than chat."""
    if row.operations is None and row.protocol in (None, "openai"):
        return [Operation.CHAT]
    has = row.operations or ADAPTERS[row.protocol or "openai"].operations
    return [operation for operation in Operation if operation in has and operation is not Operation.MODELS]


def _keys(row: ProviderRow) -> str:
    if row.auth == "none":
        return "none, never sent"
    names = _listed(row.credential_envs or [])
    if row.auth in _OTHERWISE:
        names += f", {_OTHERWISE[row.auth]}"
    if row.auth_also:
        names += f"; also {_listed(row.auth_also)}"
    return f"{names} (optional)" if row.requires_credential is False else names


def _differences(row: ProviderRow) -> list[str]:
    paths = [f"{operation} at `{path}`" for operation, path in (row.paths or {}).items()]
    variables = [f"`{name}` is `{value}` if unset" for name, value in (row.base_url_variables or {}).items()]
    if row.timeout_seconds:
        variables.append(f"waited for up to {row.timeout_seconds:g} s, or as {_listed(row.timeout_envs or [])} says")
    return [*paths, *variables, *(rules_in_words(row.rules) if row.rules else ())]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def providers_schema() -> str:
    """Returns the JSON Schema of config/providers.yaml."""
    schema = ProvidersFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def providers_faults() -> list[str]:
    """Returns where config/providers.yaml breaks its schema."""
    validator = jsonschema.Draft202012Validator(json.loads(providers_schema()))
    errors = validator.iter_errors(yaml.safe_load(_text()))
    return [f"config/{PROVIDERS_FILE}: {error.json_path}: {error.message}" for error in errors]
