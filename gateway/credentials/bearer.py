"""Access tokens that a cloud gives out for an hour or so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapters.failures import Failure
from adapters.types import Headers, HttpRequest
from gateway.credentials.renewed import Renewed
from gateway.secret import Secret


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and the headers that go along with it."""

    secret: Secret
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class BearerSigner:
    """Sends the newest token, whatever the request is."""

    source: str
    token: Renewed[Token]
    known: tuple[Secret, ...] = ()
    """The secrets with which a token is asked for."""

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What a token is asked for with, and the token that is held now."""
        return (*self.known, *self.token.secrets)

    def watch(self, learn: Callable[[Secret], None]) -> None:
        """Calls `learn` with every token that comes from now on."""
        self.token.learn = learn

    async def sign(self, request: HttpRequest) -> Headers:
        """Returns the token's header; raises `CredentialUnavailable`."""
        return _headers(await self.token.get())

    def refused(self, headers: Headers, failure: Failure) -> bool:
        """Notes that a token was refused, which 401 means; returns whether another one can be had."""
        return failure.status == 401 and self.token.refuse(lambda token: _headers(token)[0] in headers)


def _headers(token: Token) -> Headers:
    return (("authorization", f"Bearer {token.secret.reveal()}"), *token.headers)
