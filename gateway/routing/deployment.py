"""A deployment: one concrete thing that can be called."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.types import Adapter, Headers, HttpRequest, Operation, Target
from gateway.credentials.secret import Secret
from gateway.credentials.sign import Signer, auth_headers
from gateway.domain import AuthScheme, ProviderSpec


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one provider is waited for, where the general settings do not say it."""

    seconds: float
    """For the head of a response, and between two pieces of it."""
    setting: str
    """Where it came from, for the message: `providers.ollama.timeout_seconds`, `env OLLAMA_HTTP_TIMEOUT`."""


@dataclass(slots=True)
class KeyRing:
    """All credentials of one provider, used in turn; no credential at all is a ring, too.

    `sign.signed` puts what `headers` or `sign` returns on the request.
    """

    spec: ProviderSpec
    secrets: tuple[Secret, ...] = ()
    signer: Signer | None = None
    """Takes the place of the secrets where the credential depends on the request or has to be fetched."""
    also: tuple[tuple[AuthScheme, Secret], ...] = ()
    """Second credentials, which go along with whichever is used."""
    _next: int = field(default=0, repr=False)

    @property
    def is_empty(self) -> bool:
        """True if there is no credential at all."""
        return not self.secrets and not self.also and self.signer is None

    @property
    def is_static(self) -> bool:
        """True if `headers` authenticates every request; else `sign` has to be awaited."""
        return self.signer is None

    def headers(self) -> Headers:
        """Returns the headers that authenticate the next attempt, none if there is no secret."""
        headers: Headers = ()
        if self.secrets:
            headers = auth_headers(self.spec.auth, self.secrets[self._next % len(self.secrets)])
            self._next += 1
        for scheme, secret in self.also:
            headers += auth_headers(scheme, secret)
        return headers

    async def sign(self, request: HttpRequest) -> Headers:
        """Returns the headers that authenticate exactly this request; raises `CredentialUnavailable`."""
        headers = self.headers()
        return headers if self.signer is None else headers + await self.signer.sign(request)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Provider, upstream model, base URL and key ring."""

    id: str
    """`provider/model`, shown to clients and in metrics; holds no secret."""
    provider: str
    target: Target
    adapter: Adapter
    key_ring: KeyRing
    patience: Patience | None = None

    def offers(self, operation: Operation) -> bool:
        """True unless the protocol has no such operation, or this provider no path for it."""
        adapter = self.adapter
        return operation in adapter.operations and (operation in self.target.paths or operation not in adapter.paths)


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered candidates for one request."""

    model: str
    """The public name that the client wrote, fit to be recorded."""
    candidates: tuple[Deployment, ...]
    is_strict: bool = False
    """What would lose a field of the request is refused."""
