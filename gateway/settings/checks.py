"""Checks that need more than one value, or knowledge of the built-in providers.

They read the raw document, not the model, so that they run even where other values are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import cast

from gateway.settings.document import Document, Path
from gateway.settings.explain import nearest

_PROVIDER_AND_MODEL = re.compile(r"[^\s/]+/\S+")
_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")


def check(document: Document, known_providers: Mapping[str, str] | None) -> None:
    """Adds to the document's faults what is wrong between its values."""
    rows = {name: _mapping(row) for name, row in _mapping(document.root.get("providers")).items()}
    for name, row in rows.items():
        _check_base_url(document, name, row)
    if known_providers is not None:
        for name, row in rows.items():
            _check_name(document, name, row, known_providers)
            _check_aliases(document, name, row, known_providers)
    aliases = {alias for row in rows.values() for alias in _aliases(row)}
    _check_deployments(document, None if known_providers is None else {*known_providers, *rows, *aliases})


def _mapping(value: object) -> Mapping[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _aliases(row: Mapping[str, object]) -> list[str]:
    return [str(alias).partition("@")[0] for alias in _list(row.get("aliases"))]


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
        hint = nearest(name, known) or "; a provider of your own needs a base_url"
        document.add(path, f"no built-in provider is called {name!r}{hint}", at_key=True)


def _check_aliases(document: Document, name: str, row: Mapping[str, object], known: Mapping[str, str]) -> None:
    for index, alias in enumerate(_aliases(row)):
        owner = known.get(alias, name)
        if owner != name:
            document.add(("providers", name, "aliases", index), f"{alias!r} is already a name of {owner!r}")


def _check_deployments(document: Document, known: Collection[str] | None) -> None:
    for name, route in _mapping(document.root.get("routes")).items():
        for index, deployment in enumerate(_list(_mapping(route).get("deployments"))):
            path: Path = ("routes", name, "deployments", index)
            _check_deployment(document, path, _mapping(deployment), known)


def _check_deployment(
    document: Document, path: Path, deployment: Mapping[str, object], known: Collection[str] | None
) -> None:
    provider, model = deployment.get("provider"), deployment.get("model")
    key = "model" if provider is None else "provider"
    if (*path, key) in document.broken:
        return
    if provider is None:
        if not isinstance(model, str):
            return
        if not _PROVIDER_AND_MODEL.fullmatch(model):
            document.add((*path, key), f"must be 'provider/model', got {model!r}")
            return
        provider = model.partition("/")[0]
    if isinstance(provider, str) and known is not None and provider not in known and ":" not in provider:
        document.add((*path, key), f"unknown provider {provider!r}{nearest(provider.lower(), known)}")
