"""Which login a provider may use: by the kind that its row names, and what the operator's file says of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from adapters.types import HttpRequest, Prelude
from gateway.credentials.asked import Asked
from gateway.credentials.bearer import BearerSigner, Token
from gateway.credentials.codex import codex_login
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.gemini_cli import gemini_cli_login
from gateway.credentials.login import Client, Login, Vendor
from gateway.credentials.minimax import PLACEHOLDERS, minimax_login
from gateway.credentials.renewed import Clock, Renewed
from gateway.credentials.sign import Signer
from gateway.credentials.vault import Kept, Vault
from gateway.domain import LoginKind
from gateway.secret import Secret
from gateway.settings.provider import LoginRow
from gateway.transport.control import ControlClient

_PRIVATE: Final[Mapping[LoginKind, str]] = MappingProxyType(
    {LoginKind.GEMINI_CLI: "the Gemini CLI's login", LoginKind.CODEX: "the login of Codex"}
)
"""Logins that were made for the vendor's own program: used only if the file names the provider."""
_SUBSCRIPTION: Final = "sk-ant-oat01-"
_LAST_SECONDS: Final = 3.0
"""How long the end of a configuration, or of the process, waits for renewals."""
_UNSAID: Final = LoginRow()


@dataclass(frozen=True, slots=True)
class Place:
    """Whose login is wanted, and where it would be sent."""

    provider: str
    kind: LoginKind | None
    base_url: str
    profile: str = ""
    region: str = ""

    @property
    def account(self) -> str:
        """Names it among the logins of all providers, also as a file."""
        # An id may hold dots, and neither of these.
        return self.provider + (f"+{self.profile}" if self.profile else "") + (f"@{self.region}" if self.region else "")

    @property
    def setting(self) -> str:
        """The path of its settings in the file."""
        profile = f".profiles.{self.profile}" if self.profile else ""
        return f"providers.{self.provider}{profile}.login"


class Logins:
    """Makes the signers of logins."""

    def __init__(
        self,
        environ: Mapping[str, str],
        directory: Path,
        client: Client = ControlClient,
        *,
        clock: Clock = time.time,
        before: Logins | None = None,
    ) -> None:
        """`directory` is the data directory; `client` gives what tokens are asked for with, when one is.

        What those of the configuration `before` have renewed is known here as well.
        """
        self._environ = environ
        self._vault = Vault(directory, environ)
        self._client = client
        self._clock = clock
        self._held: dict[str, Kept] = before._held if before else {}
        self._renewing: set[asyncio.Task[Any]] = set()

    def signer(
        self, place: Place, said: LoginRow | None, *, is_named: bool, placeholder: str = ""
    ) -> BearerSigner | None:
        """Returns what serves where no key is, None if nobody asked for it or there is nothing.

        Raises `CredentialUnavailable` and `InvalidCredential` if what was asked for cannot be used.
        """
        if place.kind is None or (place.kind in _PRIVATE and not is_named) or (place.profile and said is None):
            return None
        vendor = self._vendor(place, place.kind, said or _UNSAID, placeholder)
        if vendor is None:
            return None
        self._vault.check()
        login = Login(
            place.account, place.provider, vendor, self._vault, self._client, self._clock, self._held, self._renewing
        )
        known = getattr(vendor, "refresh", None)
        token: Renewed[Token] = Renewed(login.fetch, self._clock)
        source = f"login ({place.kind})" if not place.profile else f"login ({place.kind}, profile {place.profile})"
        return BearerSigner(source, token, (known,) if isinstance(known, Secret) else ())

    def asked(self, provider: str, prelude: Prelude, question: HttpRequest, signer: Signer) -> Asked:
        """Returns what asks the account of a login for what its requests need."""
        return Asked(provider, prelude, question, signer, self._client, self._clock)

    async def finish(self) -> None:
        """Lets renewals end that are under way: what the vendor is about to answer may be the only refresh token."""
        if self._renewing:
            await asyncio.wait(tuple(self._renewing), timeout=_LAST_SECONDS)

    def _vendor(self, place: Place, kind: LoginKind, said: LoginRow, placeholder: str) -> Vendor | None:
        own = {"HOME": self._environ.get("HOME", "/")} if place.profile else self._environ
        if place.profile and kind in _PRIVATE and said.file is None:
            raise CredentialUnavailable(f"{place.setting}.file is missing: a profile has a file of its own")
        match kind:
            case LoginKind.MINIMAX:
                return minimax_login(said, own, place.base_url, where=place.setting, placeholder=placeholder)
            case LoginKind.GEMINI_CLI:
                return gemini_cli_login(said, own, where=place.setting)
            case LoginKind.CODEX:
                return codex_login(said, own)


def placeholder_in(kind: LoginKind | None, keys: Iterable[Secret]) -> str:
    """Returns what stands among the keys for a login, in lower case; "" if nothing does."""
    found = (key.reveal().strip().lower() for key in keys) if kind is LoginKind.MINIMAX else ()
    return next((key for key in found if key in PLACEHOLDERS), "")


def terms_warning(provider: str, kind: LoginKind | None, secrets: tuple[Secret, ...], signer: object) -> str | None:
    """Returns what an operator has to know who uses a login that was made for the vendor's own program."""
    what = _PRIVATE.get(kind) if kind is not None and signer is not None else None
    if what is None and any(secret.reveal().startswith(_SUBSCRIPTION) for secret in secrets):
        what = "a token of a subscription"
    if what is None:
        return None
    return (
        f"it is called with {what}, by a private way that {provider}'s terms may forbid to other programs and that may "
        "end any day; the account can be suspended. Anyport calls under its own name"
    )
