"""A login: an access token that is renewed by a refresh token, which the vendor may replace each time.

Where the tokens come from first is the vendor's business (`Vendor`): variables, or the file of another program, which
is read again before every renewal and never written. A refresh token that stands there no more, because the vendor has
replaced it, is kept in the vault.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlencode, urlsplit

import msgspec

from adapters.codec import JSON, as_object, as_text, decode
from adapters.types import Headers, HttpRequest
from gateway.credentials.bearer import Token
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.renewed import CALL_SECONDS, MARGIN_SECONDS, Clock, Lease, renewal_of
from gateway.credentials.scrub import Scrubber
from gateway.credentials.vault import Kept, Vault
from gateway.secret import Secret
from gateway.transport.base import TransportError
from gateway.transport.control import ControlClient, ControlReply

Client = Callable[[], ControlClient]
NOTHING: Final = Secret("")
_UNTOLD_SECONDS: Final = 3600.0
"""How long a token is taken to be good of which nobody says it; a 401 renews it before that."""
_LONGEST_SECONDS: Final = 400 * 86_400.0
_SAID_CHARACTERS: Final = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login consists of at one moment; times are seconds since the epoch."""

    access: Secret
    refresh: Secret
    renew_at: float = 0.0
    ends_at: float = 0.0
    headers: Headers = ()
    """What goes along with the access token."""


class Vendor(Protocol):
    """How the logins of one vendor are found and renewed."""

    @property
    def remedy(self) -> str:
        """What to do when the login itself has ended."""
        ...

    def found(self) -> Tokens:
        """Returns what variables or a file say now; may block; raises `CredentialUnavailable`."""
        ...

    def request(self, refresh: Secret) -> HttpRequest:
        """Returns the request that renews."""
        ...

    def lack(self, answer: Mapping[str, JSON]) -> str:
        """Returns why an answer under status 200 is none, "" if it is one."""
        ...


@dataclass(slots=True)
class Login:
    """Gets tokens for `Renewed`: those that somebody else has renewed meanwhile, else new ones."""

    name: str
    """Of its file in the vault."""
    provider: str
    vendor: Vendor
    vault: Vault
    client: Client
    clock: Clock
    held: dict[str, Kept] = field(default_factory=dict[str, Kept], repr=False)
    """What was renewed last, by name, also where it cannot be written down; outlives a configuration."""
    renewing: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]], repr=False)
    """Tasks that hold, or are given, what stands nowhere else yet."""

    async def fetch(self, refused: Token | None) -> Lease[Token]:
        """Returns tokens that serve for a while; raises `CredentialUnavailable`."""
        tokens, _ = await asyncio.to_thread(self._newest)
        is_new = False
        if not self._serves(tokens, refused):
            async with self.vault.alone(self.name):
                tokens, origin = await asyncio.to_thread(self._newest)
                if not self._serves(tokens, refused):
                    before, tokens = tokens, await self._renewed(tokens, origin, refused)
                    is_new = tokens is not before
        ends_at = tokens.ends_at - MARGIN_SECONDS
        return Lease(Token(tokens.access, tokens.headers), _secrets(tokens), tokens.renew_at, ends_at, is_new)

    def _newest(self) -> tuple[Tokens, Tokens]:
        """Returns the tokens that were renewed last, and what they began with."""
        first = self.vendor.found()
        origin = _origin(first)
        known = [
            kept for kept in (self.vault.read(self.name), self.held.get(self.name)) if kept and kept.origin == origin
        ]
        last = max(known, key=lambda kept: kept.ends_at, default=None)
        if last is None:
            return first, first
        tokens = Tokens(Secret(last.access), Secret(last.refresh), last.renew_at, last.ends_at, first.headers)
        # A refresh token that was replaced is spent, whatever end the access token beside it has.
        is_newer = last.ends_at > first.ends_at or tokens.refresh != first.refresh
        return tokens if is_newer else first, first

    def _serves(self, tokens: Tokens, refused: Token | None) -> bool:
        return self.clock() < tokens.renew_at and self._is_good(tokens, refused)

    def _is_good(self, tokens: Tokens, refused: Token | None) -> bool:
        is_refused = refused is not None and hmac.compare_digest(refused.secret.digest(), tokens.access.digest())
        return bool(tokens.access) and not is_refused and self.clock() < tokens.ends_at - MARGIN_SECONDS

    async def _renewed(self, tokens: Tokens, first: Tokens, refused: Token | None) -> Tokens:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self.renewing.add(task)
        try:
            return await self._renew(tokens, first, refused)
        finally:
            self.renewing.discard(task)

    async def _renew(self, tokens: Tokens, first: Tokens, refused: Token | None) -> Tokens:
        # Before the vendor is asked: a reload may wipe meanwhile what this began with, and the answer must be kept.
        origin, given = _origin(first), first.refresh.digest()
        try:
            made = await self._asked(tokens)
        except CredentialUnavailable:
            if self._is_good(tokens, refused):
                return tokens
            raise
        kept = Kept(origin, made.access.reveal(), made.refresh.reveal(), made.renew_at, made.ends_at)
        self.held[self.name] = kept
        if made.refresh.digest() != given:
            try:
                await asyncio.to_thread(self.vault.write, self.name, kept)
            except CredentialUnavailable as error:  # this process goes on; the next one will need another login
                _log.warning("%s: its new refresh token is lost with this process: %s", self.provider, error.message)
        return made

    async def _asked(self, tokens: Tokens) -> Tokens:
        if not tokens.refresh:
            raise CredentialUnavailable(f"{self.provider}: the token of its login has ended; {self.vendor.remedy}")
        request = self.vendor.request(tokens.refresh)
        host = urlsplit(request.url).netloc
        try:
            reply = await self.client().send(request, timeout_seconds=CALL_SECONDS)
        except TransportError as error:
            raise CredentialUnavailable(f"{self.provider}: {host} gave no token: {error.message}") from None
        answer = _members(reply)
        is_answered = reply.status == 200 and not self.vendor.lack(answer) and bool(as_text(answer.get("access_token")))
        if not is_answered:
            raise CredentialUnavailable(self._said(host, reply, answer, tokens))
        return _read(answer, tokens, self.clock())

    def _said(self, host: str, reply: ControlReply, answer: Mapping[str, JSON], tokens: Tokens) -> str:
        """Says why there is no token; only a refusal speaks against the login."""
        words = self.vendor.lack(answer) if reply.status == 200 else _error(answer)
        said = Scrubber(_secrets(tokens)).text(words or "no reason is given")[:_SAID_CHARACTERS]
        text = f"{self.provider}: {host} gave no token (HTTP {reply.status}): {said}"
        return text + (f"; {self.vendor.remedy}" if reply.status in (200, 400, 401, 403) else "; it is asked again")


def form(url: str, fields: Sequence[tuple[str, str]]) -> HttpRequest:
    """Returns a request of OAuth's token endpoint (RFC 6749, section 6)."""
    headers = (
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "application/json"),
        ("user-agent", "Anyport"),  # whoever else's client it is, this is who asks
    )
    return HttpRequest("POST", url, headers, urlencode(fields).encode())


def _read(answer: Mapping[str, JSON], asked: Tokens, now: float) -> Tokens:
    told = answer.get("expires_in")
    is_told = isinstance(told, int | float) and not isinstance(told, bool) and 0 < told <= _LONGEST_SECONDS
    ends_at = now + (float(told) if is_told and isinstance(told, int | float) else _UNTOLD_SECONDS)
    refresh = as_text(answer.get("refresh_token"))
    return Tokens(
        access=Secret(as_text(answer.get("access_token"))),
        refresh=Secret(refresh) if refresh else asked.refresh,
        renew_at=renewal_of(now, ends_at),
        ends_at=ends_at,
        headers=asked.headers,
    )


def _members(reply: ControlReply) -> Mapping[str, JSON]:
    try:
        return as_object(decode(reply.body))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}


def _error(answer: Mapping[str, JSON]) -> str:
    """Returns OAuth's words for a refusal (RFC 6749, section 5.2), or those of OpenAI's kind of error."""
    error = answer.get("error")
    words = (as_text(error), as_text(answer.get("error_description")), as_text(as_object(error).get("message")))
    return ": ".join(filter(None, words))


def _origin(tokens: Tokens) -> str:
    """Returns what names a refresh token, from which it cannot be worked out."""
    value = tokens.refresh.reveal() or tokens.access.reveal()
    return hashlib.blake2b(value.encode(), digest_size=16, person=b"anyport-login").hexdigest()


def _secrets(tokens: Tokens) -> tuple[Secret, ...]:
    return tuple(secret for secret in (tokens.access, tokens.refresh) if secret)
