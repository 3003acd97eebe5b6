"""Environment variables: their other names, and which of several has a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.credentials.errors import InvalidCredential
from gateway.secret import Secret

ABI: Final = "ABI_"
PLUS: Final = "+"
"""Between the names of variables that are one credential together: `AWS_ACCESS_KEY_ID+AWS_SECRET_ACCESS_KEY`."""


def env_names(names: Sequence[str]) -> tuple[str, ...]:
    """Returns every variable to look at, in order: all `ABI_` forms, then the plain names."""
    return tuple(dict.fromkeys([*(_prefixed(name) for name in names), *names]))


def _prefixed(name: str) -> str:
    return PLUS.join(each if each.startswith(ABI) else ABI + each for each in name.split(PLUS))


def first(environ: Mapping[str, str], *names: str) -> tuple[str, str] | None:
    """Returns name and value of the first variable that is set to more than blanks, None if there is none."""
    for name in env_names(names):
        if value := environ.get(name, "").strip():
            return name, value
    return None


def value_of(environ: Mapping[str, str], *names: str) -> str:
    """Returns the value of the first variable that is set to more than blanks, "" if there is none."""
    found = first(environ, *names)
    return found[1] if found else ""


def header_secret(value: str, source: str) -> Secret:
    """Returns `value` as a secret that can stand in a header; raises `InvalidCredential` naming `source`."""
    if any(not "!" <= character <= "~" for character in value):
        raise InvalidCredential(
            f"the credential from {source} has a blank, a control character or a non-ASCII letter inside"
        )
    return Secret(value, source)
