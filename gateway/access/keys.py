"""Who may call: the keys of `server.api_keys` and virtual keys, all known by digest only."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.access.guesses import Guesses
from gateway.access.picture import Holder, KeyPicture
from gateway.access.secrets import PREFIX
from gateway.errors import GatewayError, KeysUnavailable, TooManyBadKeys, Unauthenticated, UnknownModel
from gateway.records import Project, Team, VirtualKey
from gateway.secret import Secret
from gateway.settings.model import ClientKeySettings, Settings
from gateway.settings.provider import MIN_LONG_SECRET

Peer = tuple[str, int] | None
"""Host and port of a client; None if they are not known, or are not to be counted against."""
_BEARER = b"bearer "
_PREFIX = PREFIX.encode()
_UNKNOWN = "this API key is not known here"
_MAX_KEY_BYTES = 4096
_VIRTUAL = "virtual:"
_NAMED = "of-file:"
"""What the two kinds of owners begin with; both are of one length."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What is known of a key besides the key itself; a key of the file without a name has none of it."""

    name: str = ""
    tags: frozenset[str] = frozenset()
    key: VirtualKey | None = None
    project: Project | None = None
    team: Team | None = None

    @property
    def id(self) -> str:
        """The virtual key, or the name of a key of the file."""
        return self.key.id if self.key else self.name

    @property
    def owner(self) -> str:
        """Whom files and batches belong to; what a key without a name makes belongs to nobody in particular."""
        if self.key is not None:
            return f"{_VIRTUAL}{self.key.id}"
        return f"{_NAMED}{self.name}" if self.name else ""

    @property
    def is_restricted(self) -> bool:
        """Says whether there are models that its key is not for."""
        return self.key is not None and bool(self.key.routes)

    def may_use(self, model: str) -> bool:
        """Says whether its key is for a route, by public name."""
        if self.key is None or not self.key.routes:
            return True
        return any(model.startswith(route[:-1]) if route.endswith("*") else model == route for route in self.key.routes)


def not_served(shown: str) -> UnknownModel:
    """Returns what a restricted key hears of a model that it is not for, and of one that is not there.

    It is the same, or keys would find out by asking what they are not to know.
    """
    message = f"the model {shown!r} does not exist, or this API key is not for it; GET /v1/models lists what it is for"
    return UnknownModel(message, param="model")


ANONYMOUS = Caller()
"""Whoever calls with a key that has no name, or calls an open gateway."""


def client_keys(entries: Iterable[Secret | ClientKeySettings]) -> list[tuple[Secret, Caller]]:
    """Returns what `server.api_keys` says: each key, and whose it is."""
    return [
        (entry.key, Caller(entry.name, frozenset(entry.tags)))
        if isinstance(entry, ClientKeySettings)
        else (entry, ANONYMOUS)
        for entry in entries
    ]


def guessable(settings: Settings) -> list[str]:
    """Says which keys of the file are so short that somebody may find them by trying; shows none of them."""
    entries = settings.server.api_keys
    keys = {f"server.api_keys.{number}": key for number, (key, _) in enumerate(client_keys(entries))}
    if settings.admin.key is not None:
        keys["admin.key"] = settings.admin.key
    return [
        f"{name}: a key of {length} characters can be guessed; `openssl rand -hex 32` makes a better one"
        for name, key in keys.items()
        if (length := len(key.reveal())) < MIN_LONG_SECRET
    ]


class KeyCheck:
    """Checks the key that a client presents; where it is certain that there are no keys, everyone passes."""

    def __init__(
        self,
        keys: Iterable[tuple[Secret, Caller]],
        picture: KeyPicture | None = None,
        guesses: Guesses | None = None,
        *,
        is_demanding: bool = False,
    ) -> None:
        """`picture` has the virtual keys; `guesses` counts the wrong ones.

        One that is demanding lets nobody pass without a key.
        """
        self._owners = tuple((key.digest(), owner) for key, owner in keys)
        self._picture = picture
        self.guesses = guesses
        self._is_demanding = is_demanding

    @property
    def is_open(self) -> bool:
        """True if it is certain that there is no key, and none is demanded."""
        if self._is_demanding:
            return False
        return not self._owners and (self._picture is None or self._picture.is_empty)

    def check(self, headers: Mapping[bytes, bytes], peer: Peer = None) -> Caller:
        """Returns whose key the request carries, else raises Unauthenticated; header names in lower case.

        Raises KeysUnavailable if storage had to be asked and does not answer, TooManyBadKeys if `peer`, the client's
        host and port, has tried too many. The time taken depends on how many keys of the file there are, not on how
        much of one was guessed.
        """
        if self.is_open:
            return ANONYMOUS
        presented = _presented(headers)
        if presented is None:
            if not self._owners and self._picture is not None and not self._picture.is_trusted:
                raise _unavailable()  # nobody knows whether a key is needed
            raise Unauthenticated("no API key; send it as `Authorization: Bearer <key>`")
        digest = hashlib.sha256(presented).digest()
        found: Caller | None = None
        for known, owner in self._owners:
            if hmac.compare_digest(known, digest):
                found = owner
        if found is not None:
            return found
        picture = self._picture
        if picture is not None and (presented.startswith(_PREFIX) or not (self._owners or picture.is_trusted)):
            holder = picture.find(presented) if picture.is_trusted else None
            if holder is not None:
                return _virtual(holder, picture.now_ms())
            if picture.trouble:
                raise _unavailable()
        raise self._unknown(peer)

    def caller(self, owner: str) -> Caller:
        """Returns who stands behind `Caller.owner` now; raises what somebody would hear who came with that key."""
        caller = self.known(owner)
        if caller.key is not None and self._picture is not None:
            _refuse(caller.key, self._picture.now_ms())
        return caller

    def known(self, owner: str) -> Caller:
        """Returns who stands behind `Caller.owner`, even if their key is not served any more; raises GatewayError."""
        if not owner and self.is_open:
            return ANONYMOUS
        kind, id = owner[: len(_VIRTUAL)], owner[len(_VIRTUAL) :]
        picture = self._picture
        if kind == _VIRTUAL and picture is not None:
            holder = picture.holder(id) if picture.is_trusted else None
            if holder is not None:
                return _caller(holder)
            raise _unavailable()  # keys never go, so that it is one made elsewhere that is not known here yet
        if kind == _NAMED:
            for _, known in self._owners:
                if known.name == id:
                    return known
        raise Unauthenticated(_UNKNOWN)

    def called(self, name: str) -> Caller:
        """Returns who has the key of a name, of the file or a virtual one; raises as `caller` does."""
        for _, known in self._owners:
            if name and known.name == name:
                return known
        if not name:
            return self.caller("")
        id = self._picture.id_of(name) if self._picture is not None else ""
        if id or (self._picture is not None and self._picture.trouble):
            return self.caller(f"{_VIRTUAL}{id}")
        raise Unauthenticated(_UNKNOWN)

    def _unknown(self, peer: Peer) -> GatewayError:
        seconds = self.guesses.wait(peer[0]) if self.guesses is not None and peer else 0.0
        if not seconds:
            return Unauthenticated(_UNKNOWN)
        message = "too many unknown API keys came from your address (server.bad_keys_per_minute); send the right one"
        return TooManyBadKeys(message, headers=(("retry-after", str(math.ceil(seconds))),))


def _virtual(holder: Holder, now_ms: int) -> Caller:
    key = holder.key
    _refuse(key, now_ms)
    if holder.is_former and now_ms >= (key.former_until_ms or 0):
        raise Unauthenticated("this API key was replaced by another one; use that", code="key_revoked")
    return _caller(holder)


def _refuse(key: VirtualKey, now_ms: int) -> None:
    if key.disabled_at_ms is not None:
        raise Unauthenticated("this API key was revoked; ask whoever gave it to you", code="key_revoked")
    if key.expires_at_ms is not None and now_ms >= key.expires_at_ms:
        raise Unauthenticated("this API key has expired; ask whoever gave it to you", code="key_expired")


def _caller(holder: Holder) -> Caller:
    key = holder.key
    return Caller(key.name, frozenset(key.tags), key, holder.project, holder.team)


def _unavailable() -> KeysUnavailable:
    return KeysUnavailable("API keys cannot be checked now; try again in a moment")


def _presented(headers: Mapping[bytes, bytes]) -> bytes | None:
    value = headers.get(b"authorization")
    if value is None:
        key = headers.get(b"x-api-key", b"")
    elif value[:7].lower() == _BEARER:
        key = value[7:].strip()
    else:
        return None
    return key if key and len(key) <= _MAX_KEY_BYTES and key.find(b" ") < 0 else None
