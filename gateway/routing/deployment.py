"""A deployment: one concrete thing that can be called."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.types import Adapter, Headers, Target
from gateway.credentials.secret import Secret
from gateway.credentials.sign import auth_headers
from gateway.domain import ProviderSpec


@dataclass(slots=True)
class KeyRing:
    """All credentials of one provider, used in turn; no credential at all is a ring, too."""

    spec: ProviderSpec
    secrets: tuple[Secret, ...] = ()
    _next: int = field(default=0, repr=False)

    def headers(self) -> Headers:
        """Returns the headers that authenticate the next attempt."""
        if not self.secrets:
            return auth_headers(self.spec.auth, None)
        secret = self.secrets[self._next % len(self.secrets)]
        self._next += 1
        return auth_headers(self.spec.auth, secret)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Provider, upstream model, base URL and key ring."""

    id: str
    """`provider/model`, shown to clients and in metrics; holds no secret."""
    provider: str
    target: Target
    adapter: Adapter
    key_ring: KeyRing


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered candidates for one request."""

    model: str
    """The public name that the client wrote, fit to be recorded."""
    candidates: tuple[Deployment, ...]
