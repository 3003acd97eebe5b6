"""The rows of config/providers.yaml, and how a row becomes a `ProviderSpec`.

Layers, later wins: baseline of the file <- built-in row <- the user's row. Dictionaries merge key by key,
lists replace, and `null` says nothing (except `probe: null`: there is none). Only the baseline differs: its
lists are added to a row's, and a field or role that a row maps to itself stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from pydantic import BaseModel, Field, ValidationError

import gateway
from adapters.failures import FailureRule
from adapters.options import Options
from adapters.rules import Addition, ModelRules, ParamRules
from adapters.types import Adapter, Operation
from gateway.domain import AuthScheme, Cloud, Connection, ProviderSpec
from gateway.errors import ConfigError
from gateway.registry.adapters import ADAPTERS
from gateway.settings.document import read_document
from gateway.settings.explain import explain
from gateway.settings.provider import AdditionRow, ModelRulesRow, OptionsRow, ProviderRow, RulesRow, Strict

PROVIDERS_FILE = "providers.yaml"
GENERIC = "openai-compatible"
"""The row whose rules serve a server that nobody described."""
_ADDED = ("drop", "message_drop", "tool_drop")
_AUTH: Final = MappingProxyType(
    {
        "none": None,
        "bearer": AuthScheme(),
        "bearer_remote_only": AuthScheme(is_remote_only=True),
        "sigv4": AuthScheme(cloud=Cloud.AWS),
        "google_adc": AuthScheme("x-goog-api-key", "", cloud=Cloud.GOOGLE),
        "entra": AuthScheme("api-key", "", cloud=Cloud.AZURE),
    }
)

Row = TypeVar("Row", bound=BaseModel)
Value = TypeVar("Value")


class Baseline(Strict):
    """Rules under every row that is not excepted."""

    excepted: list[str] = Field(default=[], alias="except")
    rules: RulesRow = RulesRow()


class ProvidersFile(Strict):
    """The whole of config/providers.yaml."""

    baseline: Baseline = Baseline()
    providers: dict[str, ProviderRow]


def config_directory() -> Path:
    """Returns where config/ is: inside the installed package, or beside it in a checkout."""
    package = Path(gateway.__file__).parent
    installed = package / "_config"
    return installed if installed.is_dir() else package.parent / "config"


@cache
def load_builtin() -> Mapping[str, ProviderRow]:
    """Returns the built-in rows by id, baseline applied; raises `ConfigError` naming every fault.

    They belong to the program and do not change while it runs: a start and each reload ask for them several times.
    """
    return MappingProxyType(parse_rows((config_directory() / PROVIDERS_FILE).read_text(encoding="utf-8")))


def parse_rows(text: str, file: str = PROVIDERS_FILE) -> dict[str, ProviderRow]:
    """Returns the rows of a providers file, baseline applied; raises `ConfigError` naming every fault."""
    content = parse_file(text, file)
    baseline = content.baseline
    return {
        name: _chats(row if name in baseline.excepted else _on_baseline(baseline.rules, row))
        for name, row in content.providers.items()
    }


def _chats(row: ProviderRow) -> ProviderRow:
    """Returns the row with chat as what it can do, if it speaks OpenAI's wire and says nothing of that."""
    is_silent = row.operations is None and row.protocol in (None, "openai")
    return row.model_copy(update={"operations": [Operation.CHAT]}) if is_silent else row


def parse_file(text: str, file: str = PROVIDERS_FILE) -> ProvidersFile:
    """Returns a providers file as it is written; raises `ConfigError` naming every fault and its place."""
    document = read_document(file, text.encode(), lambda _document, _path, value: value)
    content = None
    try:
        content = ProvidersFile.model_validate(document.root)
    except ValidationError as error:
        explain(document, error)
    if document.faults or content is None:
        raise ConfigError(document.faults)
    return content


def _on_baseline(baseline: RulesRow, row: ProviderRow) -> ProviderRow:
    own = row.rules or RulesRow()
    merged = _merge(baseline, own)
    known = {old for old, new in merged.rename.items() if old == new}
    lists = {name: [*getattr(baseline, name), *getattr(own, name)] for name in _ADDED}
    lists["drop"] = [name for name in lists["drop"] if name not in known]
    return row.model_copy(update={"rules": merged.model_copy(update=lists)})


def layer(base: ProviderRow | None, user: ProviderRow) -> ProviderRow:
    """Returns `user` laid over `base`: dictionaries merge key by key, everything else replaces."""
    return user if base is None else _merge(base, user)


def _merge(base: Row, over: Row) -> Row:
    update: dict[str, object] = {}
    for name in over.model_fields_set:
        old, new = getattr(base, name), getattr(over, name)
        if isinstance(old, BaseModel) and isinstance(new, BaseModel):
            update[name] = _merge(old, new)
        elif isinstance(old, dict) and isinstance(new, dict):
            update[name] = {**old, **new}
        elif new is not None or name == "probe":
            update[name] = new
    return base.model_copy(update=update)


def starting_row(rows: Mapping[str, ProviderRow], name: str) -> ProviderRow:
    """Returns what the user's row `name` is laid over: its built-in row, or the generic rules."""
    if row := rows.get(name):
        return row
    generic = rows[GENERIC]
    return ProviderRow(protocol=generic.protocol, rules=generic.rules)


def to_spec(id: str, row: ProviderRow, adapters: Mapping[str, Adapter] = ADAPTERS) -> ProviderSpec:
    """Returns what the row means, of protocols that `adapters` speak; raises `ValueError` for no base URL or region."""
    adapter = adapters[row.protocol or "openai"]
    return ProviderSpec(
        id=id,
        display_name=row.display_name or id,
        protocol=adapter.protocol,
        base_url=_base_url(id, row),
        base_url_envs=tuple(row.base_url_envs or ()),
        base_url_variables=_frozen(row.base_url_variables or {}),
        credential_envs=tuple(row.credential_envs or ()),
        requires_credential=row.requires_credential is not False,
        auth=_auth(id, row),
        key_prefix=row.key_prefix or "",
        connection=row.connection or Connection.BYOK,
        category=row.category or "Other Labs",
        docs_url=row.docs_url or "",
        aliases=_frozen(_aliases(id, row.aliases or [], row.regions or {})),
        regions=_frozen(row.regions or {}),
        probe=row.probe if "probe" in row.model_fields_set else "/v1/models",
        headers=tuple((name.lower(), value) for name, value in (row.headers or {}).items()),
        paths=_frozen(row.paths or {}),
        operations=frozenset(row.operations or adapter.operations),
        keep_ids=tuple(row.keep_ids or ()),
        keyless_models=tuple(row.keyless_models or ()),
        default_model=row.default_model or "",
        model_envs=tuple(row.model_envs or ()),
        example_models=tuple(row.example_models or ()),
        rules=_param_rules(row.rules or RulesRow()),
        options=Options(**(row.options or OptionsRow()).model_dump(exclude_none=True)),
        failure_rules=tuple(FailureRule(**rule.model_dump()) for rule in row.failure_rules or ()),
        timeout_seconds=row.timeout_seconds,
        timeout_envs=tuple(row.timeout_envs or ()),
        login=row.login.kind if row.login else None,
        has_batches=bool(row.provider_batch),
        label=row.label or id,
        adapter=None if adapter.protocol in ADAPTERS else adapter,
    )


def auth_scheme(text: str) -> AuthScheme | None:
    """Returns what a word for `auth` means.

    `x-api-key`, `api-key` and `header:NAME` are the header of a bare key, `bearer:NAME` that of a bearer token.

    The three of clouds say two things: how a key is sent if there is one (Bedrock's as a bearer token, Vertex's as
    `x-goog-api-key`, Azure's as `api-key`), and whose signature or token serves if there is none.
    """
    if text in _AUTH:
        return _AUTH[text]
    if text.startswith("bearer:"):
        return AuthScheme(text.removeprefix("bearer:").lower())
    return AuthScheme(text.removeprefix("header:").lower(), "")


def _auth(id: str, row: ProviderRow) -> AuthScheme | None:
    scheme = auth_scheme(row.auth or "bearer")
    pairs = [name for name in row.credential_envs or () if "+" in name]
    if pairs and (scheme is None or scheme.cloud is None):
        raise ValueError(f"provider `{id}` has `{pairs[0]}` in credential_envs: only `auth: sigv4` takes two at once")
    if scheme is None:
        return None
    special = {prefix: (auth_scheme(each.auth), each.headers) for prefix, each in (row.auth_by_prefix or {}).items()}
    return replace(
        scheme,
        by_env=_schemes(row.auth_by_env),
        also=_schemes(row.auth_also),
        by_prefix=tuple(
            (prefix, replace(found, headers=tuple((name.lower(), value) for name, value in headers.items())))
            for prefix, (found, headers) in special.items()
            if found
        ),
    )


def _schemes(words: Mapping[str, str] | None) -> tuple[tuple[str, AuthScheme], ...]:
    return tuple((name, scheme) for name, text in (words or {}).items() if (scheme := auth_scheme(text)))


def _base_url(id: str, row: ProviderRow) -> str:
    url = _region_url(id, row.regions or {}, row.region) if row.region else row.base_url
    if not url:
        raise ValueError(f"provider `{id}` has no base_url")
    return url


def _region_url(id: str, regions: Mapping[str, str], region: str) -> str:
    if region not in regions:
        known = ", ".join(regions) or "none"
        raise ValueError(f"provider `{id}` has no region `{region}`; its regions: {known}")
    return regions[region]


def _aliases(id: str, texts: Sequence[str], regions: Mapping[str, str]) -> dict[str, str | None]:
    aliases: dict[str, str | None] = {}
    for text in texts:
        name, _, region = text.partition("@")
        if region:
            _region_url(id, regions, region)
        if name in aliases:
            raise ValueError(f"provider `{id}` has the alias `{name}` twice")
        aliases[name] = region or None
    return aliases


def _param_rules(row: RulesRow) -> ParamRules:
    return ParamRules(
        rename=_changes(row.rename),
        drop=frozenset(row.drop),
        drop_values=_frozen({name: tuple(values) for name, values in row.drop_values.items()}),
        clamp=_frozen(row.clamp),
        values=_words(row.values),
        limit_chars=_frozen(row.limit_chars),
        limit_items=_frozen(row.limit_items),
        reject_above=_frozen(row.reject_above),
        defaults=_frozen(row.defaults),
        additions=tuple(_addition(each) for each in row.additions),
        roles=_changes(row.roles),
        message_drop=frozenset(row.message_drop),
        one_system=row.one_system,
        string_content=row.string_content,
        strip_nulls=row.strip_nulls,
        wrap_functions=row.wrap_functions,
        tool_choice=_frozen(row.tool_choice),
        tool_drop=frozenset(row.tool_drop),
        tool_schema=row.tool_schema,
        logprobs=row.logprobs,
        json_schema=row.json_schema,
        json_object=row.json_object,
        reasoning_out=row.reasoning_out,
        reasoning_in=row.reasoning_in,
        stream_usage=row.stream_usage,
        reasoning_excluded=row.reasoning_excluded,
        vector_bytes=row.vector_bytes,
        model_prefix=row.model_prefix,
        by_model=tuple(_model_rules(each) for each in row.by_model),
    )


def _model_rules(row: ModelRulesRow) -> ModelRules:
    return ModelRules(
        match=tuple(row.match),
        drop=frozenset(row.drop),
        rename=_changes(row.rename),
        clamp=_frozen(row.clamp),
        tool_choice=_frozen(row.tool_choice),
        values=_words(row.values),
    )


def _addition(row: AdditionRow) -> Addition:
    return Addition(_frozen(row.fields), row.given, tuple(row.match), row.stream)


def _words(values: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    return _frozen({name: _frozen(words) for name, words in values.items()})


def _changes(names: Mapping[str, str]) -> Mapping[str, str]:
    return _frozen({old: new for old, new in names.items() if old != new})


def _frozen(values: Mapping[Any, Value]) -> Mapping[Any, Value]:
    return MappingProxyType(dict(values))
