"""How long the client itself will wait, as its headers say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct

from gateway.routing.deployment import Limit
from gateway.settings.scalars import MAX_SECONDS

_WHOLE: Final = b"x-request-timeout"
_READ: Final = b"x-stainless-read-timeout"
_NUMBER: Final = re.compile(rb"(\d{1,9}(?:\.\d{0,9})?)(ms|s)?", re.ASCII)
_MAX_BYTES: Final = 32
_SHARE: Final = 0.05
_MOST_SECONDS: Final = 0.25
"""So much earlier than the client gives up it is told why: a connection that it closes itself says nothing."""


class Hints(Struct, frozen=True):
    """Limits that the client sets; None where it sets none."""

    whole: Limit | None = None
    """The request from beginning to end (`x-request-timeout`, in seconds, or with `s` or `ms`)."""
    begin: Limit | None = None
    """Until the answer begins, for an answer in one piece until it ends (`x-stainless-read-timeout`, seconds).

    The official SDKs send their read timeout there, which in a stream counts between two pieces, not for all of it.
    """


NO_HINTS: Final = Hints()


def read_hints(headers: Mapping[bytes, bytes]) -> Hints:
    """Returns what the headers say; what is no time, or none that anybody would wait, says nothing."""
    whole, begin = headers.get(_WHOLE), headers.get(_READ)
    if whole is None and begin is None:
        return NO_HINTS
    return _read((whole or b"")[:_MAX_BYTES], (begin or b"")[:_MAX_BYTES])


@lru_cache(maxsize=256)  # an SDK says the same every time
def _read(whole: bytes, begin: bytes) -> Hints:
    return Hints(_limit(whole, _WHOLE, "the request did not end"), _limit(begin, _READ, "the answer did not come"))


def _limit(text: bytes, name: bytes, missed: str) -> Limit | None:
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return None
    seconds = float(match[1]) / (1000 if match[2] == b"ms" else 1)
    if not 0 < seconds <= MAX_SECONDS:
        return None
    return Limit(seconds - min(_MOST_SECONDS, seconds * _SHARE), f"the client's header {name.decode()}", missed)
