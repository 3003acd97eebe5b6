"""Packages that only some providers need: looked for when such a provider is set up, imported at its first request."""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from gateway.credentials.errors import CredentialUnavailable


def install(extra: str) -> str:
    """Returns the command that adds an extra; by path, since a name on an index may be anybody's."""
    return f"run `pip install -e '.[{extra}]'` in Anyport's folder"


def has_package(name: str) -> bool:
    """Returns whether a package is installed, without importing it."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def need_package(name: str, extra: str, purpose: str) -> None:
    """Raises `CredentialUnavailable` that names the extra if a package is not installed."""
    if not has_package(name):
        raise CredentialUnavailable(f"{purpose} needs the package {name}: {install(extra)}")


def silence(*names: str) -> None:
    """Lets these packages log nothing: they quote answers that may hold secrets, and we tell of every failure."""
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def package(name: str) -> Any:
    """Returns a module of a package that `need_package` found; the first time takes a third of a second.

    Their types are not known to a checker that runs without them: what is used of them stands in protocols.
    """
    return import_module(name)
