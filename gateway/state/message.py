"""Cool-downs as bytes. What comes from a shared server may be anything, so that only what is certain is believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec

from adapters.failures import FailureKind
from gateway.state.base import CoolDown, Scope, is_believable

MAX_BYTES: Final = 4096
"""A message is this long at most; longer ones are not read."""
KEYS: Final = "anyport:cool:"
"""What the names of all keys of cool-downs begin with."""


class _Message(msgspec.Struct):
    replica: str
    scope: Scope
    id: str
    seconds: float
    reason: str


def key_of(cool_down: CoolDown) -> str:
    """Returns the name under which a cool-down is kept."""
    return f"{KEYS}{cool_down.scope}:{cool_down.id}"


def written(cool_down: CoolDown, replica: str) -> bytes:
    """Returns a message that says who it is from."""
    reason = cool_down.reason.value
    return msgspec.json.encode(_Message(replica, cool_down.scope, cool_down.id, cool_down.seconds, reason))


def read(message: bytes, own: str) -> CoolDown | None:
    """Returns what another replica than `own` said, None if it was not another one or is not to be believed."""
    said = _decoded(message)
    if said is None or said.replica == own:
        return None
    cool_down = CoolDown(said.scope, said.id, said.seconds, _reason(said.reason))
    return cool_down if is_believable(cool_down) else None


def read_kept(key: bytes, message: bytes, left_ms: int, own: str) -> CoolDown | None:
    """Returns what another replica left under a key, with the time that is left of it, None as of `read`."""
    said = read(message, own)
    if said is None or key_of(said).encode() != key:
        return None
    cool_down = replace(said, seconds=left_ms / 1000)
    return cool_down if is_believable(cool_down) else None


def _decoded(message: bytes) -> _Message | None:
    if len(message) > MAX_BYTES:
        return None
    try:
        return msgspec.json.decode(message, type=_Message)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _reason(text: str) -> FailureKind:
    """Returns the kind; a newer replica may know kinds that this one does not, and its key has to rest all the same."""
    try:
        return FailureKind(text)
    except ValueError:
        return FailureKind.UNKNOWN
