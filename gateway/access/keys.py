"""Who may call: the keys of `server.api_keys`, known by digest only."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from gateway.credentials.secret import Secret
from gateway.errors import Unauthenticated
from gateway.settings.model import ClientKeySettings

_BEARER = b"bearer "
_MAX_KEY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ClientKey:
    """What is known of a key besides the key itself; a key without a name has none of it."""

    name: str = ""
    tags: frozenset[str] = frozenset()


ANONYMOUS = ClientKey()
"""Whoever calls with a key that has no name, or calls an open gateway."""


def client_keys(entries: Iterable[SecretStr | ClientKeySettings]) -> list[tuple[Secret, ClientKey]]:
    """Returns what `server.api_keys` says: each key, and whose it is."""
    return [
        (Secret(entry.key.get_secret_value()), ClientKey(entry.name, frozenset(entry.tags)))
        if isinstance(entry, ClientKeySettings)
        else (Secret(entry.get_secret_value()), ANONYMOUS)
        for entry in entries
    ]


class KeyCheck:
    """Checks the key that a client presents; with no keys configured everyone passes."""

    def __init__(self, keys: Iterable[tuple[Secret, ClientKey]]) -> None:
        self._owners = tuple((key.digest(), owner) for key, owner in keys)

    @property
    def is_open(self) -> bool:
        """True if no key is configured."""
        return not self._owners

    def check(self, headers: Mapping[bytes, bytes]) -> ClientKey:
        """Returns whose key the request carries, else raises Unauthenticated; header names in lower case.

        The time taken depends on how many keys there are, not on how much of one was guessed.
        """
        if not self._owners:
            return ANONYMOUS
        presented = _presented(headers)
        if presented is None:
            raise Unauthenticated("no API key; send it as `Authorization: Bearer <key>`")
        digest = hashlib.sha256(presented).digest()
        found: ClientKey | None = None
        for known, owner in self._owners:
            if hmac.compare_digest(known, digest):
                found = owner
        if found is None:
            raise Unauthenticated("this API key is not known here")
        return found


def _presented(headers: Mapping[bytes, bytes]) -> bytes | None:
    value = headers.get(b"authorization")
    if value is None:
        key = headers.get(b"x-api-key", b"")
    elif value[:7].lower() == _BEARER:
        key = value[7:].strip()
    else:
        return None
    return key if key and len(key) <= _MAX_KEY_BYTES and b" " not in key else None
