"""Microsoft Entra tokens for Azure through azure-identity, for an application with a client secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from gateway.credentials.bearer import BearerSigner, Token
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.extras import need_package, package, silence
from gateway.credentials.renewed import CALL_SECONDS, Clock, Lease, Renewed, in_thread, lease_until
from gateway.credentials.scrub import Scrubber
from gateway.credentials.variables import value_of
from gateway.secret import Secret

SCOPE: Final = "https://cognitiveservices.azure.com/.default"
"""learn.microsoft.com/azure/ai-foundry, 2026-11-21."""
_TENANT, _CLIENT, _SECRET = "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"


class _AccessToken(Protocol):
    token: str
    expires_on: int
    """Seconds since the epoch."""


class _Credential(Protocol):
    def get_token(self, *scopes: str) -> _AccessToken: ...


def entra_signer(provider: str, environ: Mapping[str, str], clock: Clock) -> BearerSigner | None:
    """Returns a signer for the application that three variables name, None if one of them is not set.

    Raises `CredentialUnavailable` without azure-identity.
    """
    tenant, client, secret = value_of(environ, _TENANT), value_of(environ, _CLIENT), Secret(value_of(environ, _SECRET))
    if not (tenant and client and secret):
        return None
    need_package("azure.identity", "azure", f"{provider}: {_CLIENT}")
    authority = value_of(environ, "AZURE_AUTHORITY_HOST")

    def opened() -> _Credential:
        silence("azure", "msal", "urllib3")
        # An authority that the operator names is not looked up at Microsoft's public one first.
        own: dict[str, Any] = {"authority": authority, "disable_instance_discovery": True} if authority else {}
        limits = {"connection_timeout": CALL_SECONDS, "read_timeout": CALL_SECONDS, "retry_total": 1}
        return package("azure.identity").ClientSecretCredential(tenant, client, secret.reveal(), **limits, **own)

    token = Renewed(in_thread(_fetcher(provider, opened, secret)), clock)
    return BearerSigner(f"entra (env {_CLIENT})", token, (secret,))


def _fetcher(provider: str, opened: Callable[[], _Credential], known: Secret) -> Callable[[], Lease[Token]]:
    held: list[_Credential] = []

    def fetch() -> Lease[Token]:
        errors = package("azure.core.exceptions")
        try:
            if not held:
                held.append(opened())
            token = held[0].get_token(SCOPE)
        except (errors.AzureError, ValueError, OSError) as error:
            raise CredentialUnavailable(
                f"{provider}: Entra gave no token: {Scrubber((known,)).text(str(error))}; "
                f"check {_TENANT}, {_CLIENT} and {_SECRET}"
            ) from None
        secret = Secret(token.token)
        return lease_until(float(token.expires_on), Token(secret), (secret,))

    return fetch
