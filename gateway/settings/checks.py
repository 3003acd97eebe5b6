"""Checks that need more than one value, or knowledge of the built-in providers.

They read the raw document, not the model, so that they run even where other values are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec

from gateway.settings.document import Document, Path, as_list, as_mapping, as_number
from gateway.settings.explain import nearest, quoted
from gateway.settings.key_checks import check_keys
from gateway.settings.model import HealthSettings, StorageSettings
from gateway.settings.name_checks import PROVIDER_AND_MODEL, ProviderNames, check_names, is_provider
from gateway.settings.route_checks import check_routes

_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")


def check(document: Document, known_providers: Mapping[str, str] | None) -> None:
    """Adds to the document's faults what is wrong between its values."""
    rows = {name: as_mapping(row) for name, row in as_mapping(document.root.get("providers")).items()}
    for name, row in rows.items():
        _check_base_url(document, name, row)
    if known_providers is not None:
        for name, row in rows.items():
            _check_name(document, name, row, known_providers)
            _check_aliases(document, name, row, known_providers)
    providers = ProviderNames(_ids(rows, known_providers or {}), is_complete=known_providers is not None)
    _check_deployments(document, providers)
    check_names(document, providers)
    check_routes(document, providers)
    check_keys(document)
    _check_health(document)
    _check_storage(document)
    _check_integrations(document)


def _ids(rows: Mapping[str, Mapping[str, object]], known: Mapping[str, str]) -> dict[str, str]:
    aliases = {alias: name for name, row in rows.items() for alias in _aliases(row)}
    return {**aliases, **{name: name for name in rows}, **known}


def _aliases(row: Mapping[str, object]) -> list[str]:
    return [str(alias).partition("@")[0] for alias in as_list(row.get("aliases"))]


def _check_base_url(document: Document, name: str, row: Mapping[str, object]) -> None:
    path: Path = ("providers", name, "base_url")
    url = row.get("base_url")
    if isinstance(url, str) and not _URL.fullmatch(url) and path not in document.broken:
        document.add(path, "must be an http:// or https:// URL without user name, query and blanks")


def _check_name(document: Document, name: str, row: Mapping[str, object], known: Mapping[str, str]) -> None:
    path: Path = ("providers", name)
    if path in document.broken or known.get(name) == name:
        return
    if name in known:
        document.add(path, f"{name!r} is another name of {known[name]!r}; write that here", at_key=True)
    elif row.get("base_url") is None:
        hint = nearest(name, known)
        own = " A provider of your own needs a base_url" if hint else "; a provider of your own needs a base_url"
        document.add(path, f"no built-in provider is called {name!r}{hint}{own}", at_key=True)


def _check_aliases(document: Document, name: str, row: Mapping[str, object], known: Mapping[str, str]) -> None:
    for index, alias in enumerate(_aliases(row)):
        owner = known.get(alias, name)
        if owner != name:
            document.add(("providers", name, "aliases", index), f"{alias!r} is already a name of {owner!r}")


def _check_deployments(document: Document, providers: ProviderNames) -> None:
    for name, route in as_mapping(document.root.get("routes")).items():
        for index, deployment in enumerate(as_list(as_mapping(route).get("deployments"))):
            path: Path = ("routes", name, "deployments", index)
            _check_deployment(document, path, as_mapping(deployment), providers)


def _check_deployment(
    document: Document, path: Path, deployment: Mapping[str, object], providers: ProviderNames
) -> None:
    provider, model = deployment.get("provider"), deployment.get("model")
    key = "model" if provider is None else "provider"
    if (*path, key) in document.broken:
        return
    if provider is None:
        if not isinstance(model, str):
            return
        if not PROVIDER_AND_MODEL.fullmatch(model):
            document.add((*path, key), f"must be 'provider/model', got {quoted(document, (*path, key), model)}")
            return
        provider = model.partition("/")[0]
    if isinstance(provider, str) and not is_provider(provider, providers):
        hint = nearest(provider.lower(), providers.ids)
        document.add((*path, key), f"unknown provider {quoted(document, (*path, key), provider)}{hint}")


def _check_health(document: Document) -> None:
    health = as_mapping(document.root.get("health"))
    names = ("ejection_seconds", "max_ejection_seconds")
    shortest, longest = (as_number(health.get(name, HealthSettings.model_fields[name].default)) for name in names)
    if shortest is None or longest is None or shortest <= longest:
        return
    if not any(("health", name) in document.broken for name in names):
        at = names[1] if names[1] in health else names[0]
        document.add(
            ("health", at),
            f"health.max_ejection_seconds ({longest:g}) must not be less than health.ejection_seconds ({shortest:g})",
        )


def _check_integrations(document: Document) -> None:
    path: Path = ("integrations", "discord")
    discord = as_mapping(as_mapping(document.root.get("integrations")).get("discord"))
    if not discord or path in document.broken:
        return
    if find_spec("cryptography") is None:
        message = "needs the package cryptography: run `pip install -e '.[discord]'` in Anyport's folder"
        document.add(path, message, at_key=True)
    elif not discord.get("guilds") and discord.get("elsewhere") is None:
        document.add(path, "would answer nobody; name a guild under `guilds`, or set `elsewhere`", at_key=True)
    elif as_mapping(document.root.get("server")).get("api_keys"):
        guilds = as_mapping(discord.get("guilds")).items()
        places: list[tuple[Path, object]] = [((*path, "guilds", id), place) for id, place in guilds]
        places.append(((*path, "elsewhere"), discord.get("elsewhere")))
        for at, place in places:
            if place is not None and as_mapping(place).get("key") is None and at not in document.broken:
                document.add(at, "needs the name of a `key`: with keys in server.api_keys nobody is served without one")


def _check_storage(document: Document) -> None:
    storage = as_mapping(document.root.get("storage"))
    if "content_days" not in storage or ("storage", "content_days") in document.broken:
        return
    content = as_number(storage["content_days"])
    records = as_number(storage.get("retention_days", StorageSettings.model_fields["retention_days"].default))
    if content is not None and records is not None and content > records:
        document.add(
            ("storage", "content_days"),
            f"storage.content_days ({content:g}) must not be more than storage.retention_days ({records:g})",
        )
