"""A provider that can be called, and what it lacks where it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from adapters.types import Operation
from gateway.credentials.clouds import login_needs
from gateway.credentials.keyring import KeyRing
from gateway.credentials.variables import ABI
from gateway.domain import AuthScheme, Connection, ProviderSpec

DEMO = "demo"
DEMO_MODEL = "demo/echo"
_HINTED: Final = 3
"""So many variables are named where none is set; of each built-in row the vendor's own is among them."""
DEMO_SPEC = ProviderSpec(
    id=DEMO,
    display_name="Built-in echo",
    protocol="openai",
    base_url="http://demo.invalid/v1",
    requires_credential=False,
    auth=AuthScheme(),
    connection=Connection.LOCAL,
    category="Local",
    probe=None,
    operations=frozenset({Operation.CHAT, Operation.COMPLETIONS}),
)


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that can be called: its spec at one place, with its credentials."""

    spec: ProviderSpec
    base_url: str
    key_ring: KeyRing
    source: str
    """Where the credential came from: `env NAME`, `config`, a cloud's own way, or `none`; never the credential."""
    base_url_source: str
    is_configured: bool
    """Named in the file, or told where it is by the environment."""
    warning: str | None = None
    profile: str = ""
    """Which of several accounts, "" for the usual one."""
    doubt: str | None = None
    """Why its key is hardly one of this vendor."""

    @property
    def base_url_port(self) -> int | None:
        """The port of the base URL, if it names one."""
        return urlsplit(self.base_url).port

    @property
    def is_ready(self) -> bool:
        """True if a call can be expected to be let in."""
        return not (self.key_ring.is_empty and self.spec.requires_credential)

    @property
    def lack(self) -> str:
        """What it needs before it can be called, "" if nothing."""
        if self.is_ready:
            return ""
        auth = self.spec.auth
        login = login_needs(auth.cloud if auth else None)
        said = f"{self.spec.id} has no credential" + (f" in the profile {self.profile!r}" if self.profile else "")
        said = f"{said}; {self._remedy()}"
        return said + (f"; a login of this machine needs {login}" if login else "")

    def _remedy(self) -> str:
        spec = self.spec
        if self.profile:
            return f"set providers.{spec.id}.profiles.{self.profile}.credentials"
        if spec.login and not spec.credential_envs and not self.is_configured:
            return f"put `{spec.id}: {{}}` under `providers`, which says that its login may be used"
        return f"set {credential_hint(spec)}"

    @property
    def accounts(self) -> set[str]:
        """The fingerprints of its keys."""
        return {key.account.fingerprint for key in self.key_ring.keys}


def credential_hint(spec: ProviderSpec) -> str:
    """Returns which variables to set for a credential."""
    names = [name for name in spec.credential_envs if not name.startswith(ABI)]
    return " or ".join((names or spec.credential_envs)[:_HINTED]) or f"providers.{spec.id}.credentials"
