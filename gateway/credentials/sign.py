"""Puts a credential on a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from adapters.failures import Failure
from adapters.types import Headers, HttpRequest
from gateway.domain import AuthScheme
from gateway.secret import Secret

_LISTS: Final = frozenset({"anthropic-beta"})
"""Headers that hold a list which adapter and credential both add to."""


class Signer(Protocol):
    """Authenticates requests with what no variable holds: a signature, or a token that has to be fetched."""

    @property
    def source(self) -> str:
        """Where the credential comes from, in words for people."""
        ...

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets that are known now."""
        ...

    def watch(self, learn: Callable[[Secret], None]) -> None:
        """Calls `learn` with every secret that comes from now on, before it is used."""
        ...

    async def sign(self, request: HttpRequest) -> Headers:
        """Returns the headers that authenticate `request` as it is; raises `CredentialUnavailable`."""
        ...

    def refused(self, headers: Headers, failure: Failure) -> bool:
        """Notes that the upstream refused a request with these headers; returns whether others may be let in."""
        ...


def auth_headers(auth: AuthScheme | None, secret: Secret | None) -> Headers:
    """Returns the header that carries `secret`; none if the provider takes no credential or there is none.

    `secret` is header-safe: `resolve_credentials` refuses every other.
    """
    if auth is None or not secret:
        return ()
    if auth.by_prefix:
        value = secret.reveal()
        auth = next((special for beginning, special in auth.by_prefix if value.startswith(beginning)), auth)
    return ((auth.header, secret.reveal_after(auth.prefix)), *auth.headers)


def signed(request: HttpRequest, headers: Headers) -> HttpRequest:
    """Returns `request` with the headers of a credential; of a header that is a list, both parts go out as one."""
    own = request.headers
    if _LISTS.isdisjoint(name for name, _ in headers):
        return HttpRequest(request.method, request.url, own + headers, request.body, request.dropped)
    lists = {name: value for name, value in headers if name in _LISTS}
    merged = tuple((name, _joined(value, lists.pop(name)) if name in lists else value) for name, value in own)
    rest = tuple((name, value) for name, value in headers if name not in _LISTS or name in lists)
    return HttpRequest(request.method, request.url, merged + rest, request.body, request.dropped)


def _joined(*lists: str) -> str:
    return ",".join(dict.fromkeys(item.strip() for items in lists for item in items.split(",")))
