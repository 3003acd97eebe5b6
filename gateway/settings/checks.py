"""Checks that need more than one value, or knowledge of the built-in providers.

They read the raw document, not the model, so that they run even where other values are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import cast

from gateway.settings.document import Document, Path
from gateway.settings.explain import nearest

_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")


def check(document: Document, known_providers: Collection[str] | None) -> None:
    """Adds to the document's faults what is wrong between its values."""
    rows = _mapping(document.root.get("providers"))
    for name, row in rows.items():
        _check_base_url(document, name, _mapping(row), known_providers)
    if known_providers is not None:
        _check_deployments(document, {*known_providers, *rows, *_aliases(rows)})


def _mapping(value: object) -> Mapping[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _check_base_url(
    document: Document, name: str, row: Mapping[str, object], known_providers: Collection[str] | None
) -> None:
    path: Path = ("providers", name)
    url = row.get("base_url")
    if isinstance(url, str):
        if not _URL.fullmatch(url) and (*path, "base_url") not in document.broken:
            document.add((*path, "base_url"), "must be an http:// or https:// URL without user name, query and blanks")
    elif known_providers is not None and name not in known_providers and path not in document.broken:
        hint = nearest(name, known_providers) or "; a provider of your own needs a base_url"
        document.add(path, f"no built-in provider is called {name!r}{hint}", at_key=True)


def _aliases(rows: Mapping[str, object]) -> set[str]:
    aliases = (alias for row in rows.values() for alias in _list(_mapping(row).get("aliases")))
    return {alias.partition("@")[0] for alias in aliases if isinstance(alias, str)}


def _check_deployments(document: Document, known: Collection[str]) -> None:
    for name, route in _mapping(document.root.get("routes")).items():
        for index, deployment in enumerate(_list(_mapping(route).get("deployments"))):
            model = _mapping(deployment).get("model")
            path: Path = ("routes", name, "deployments", index, "model")
            if not isinstance(model, str) or "/" not in model or path in document.broken:
                continue
            provider = model.partition("/")[0]
            if provider not in known:
                document.add(path, f"unknown provider {provider!r}{nearest(provider.lower(), known)}")
