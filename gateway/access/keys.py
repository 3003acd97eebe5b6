"""Who may call: the keys of `server.api_keys`, known by digest only."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from gateway.credentials.secret import Secret
from gateway.errors import Unauthenticated

_BEARER = b"bearer "
_MAX_KEY_BYTES = 4096


class KeyCheck:
    """Checks the key that a client presents; with no keys configured everyone passes."""

    def __init__(self, keys: Iterable[Secret]) -> None:
        self._digests = tuple(key.digest() for key in keys)

    @property
    def is_open(self) -> bool:
        """True if no key is configured."""
        return not self._digests

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises Unauthenticated unless the request carries one of the keys; header names in lower case.

        The time taken depends on how many keys there are, not on how much of one was guessed.
        """
        if not self._digests:
            return
        presented = _presented(headers)
        if presented is None:
            raise Unauthenticated("no API key; send it as `Authorization: Bearer <key>`")
        digest = hashlib.sha256(presented).digest()
        is_known = False
        for known in self._digests:
            is_known |= hmac.compare_digest(known, digest)
        if not is_known:
            raise Unauthenticated("this API key is not known here")


def _presented(headers: Mapping[bytes, bytes]) -> bytes | None:
    value = headers.get(b"authorization")
    if value is None:
        key = headers.get(b"x-api-key", b"")
    elif value[:7].lower() == _BEARER:
        key = value[7:].strip()
    else:
        return None
    return key if key and len(key) <= _MAX_KEY_BYTES and b" " not in key else None
