"""Puts a credential on a request."""

from __future__ import annotations

from adapters.types import Headers
from gateway.credentials.secret import Secret
from gateway.domain import AuthScheme


def auth_headers(auth: AuthScheme | None, secret: Secret | None) -> Headers:
    """Returns the header that carries `secret`; none if the provider takes no credential or there is none.

    `secret` is header-safe: `resolve_credentials` refuses every other.
    """
    if auth is None or not secret:
        return ()
    return ((auth.header, auth.prefix + secret.reveal()),)
