"""The login of OpenAI's Codex: its file is read, and renewed with the client that it was made with.

`$CODEX_HOME/auth.json` (`~/.codex`) has `tokens` with `access_token`, `refresh_token`, `id_token` and `account_id`; the
tokens are JSON Web Tokens, whose `exp` is their end and whose claim `https://api.openai.com/auth` names the account
(openai/codex, codex-rs/login/src/auth/storage.rs and token_data.rs, read 2026-11-21). A refresh token serves once: a
login that Codex itself goes on using must not be renewed here as well.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from adapters.codec import JSON, as_object, as_text, decode
from adapters.types import Headers, HttpRequest
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.login import Tokens, form
from gateway.credentials.login_file import at_home, read_object
from gateway.credentials.renewed import EARLY_SECONDS
from gateway.secret import Secret
from gateway.settings.provider import LoginRow

_TOKEN_URL: Final = "https://auth.openai.com/oauth/token"  # noqa: S105 - where tokens are, not one
_CLIENT: Final = "app_EMoamEEZ73f0CkXaXp7hrann"
_CLAIM: Final = "https://api.openai.com/auth"
_REMEDY: Final = "run `codex login`, best into a directory of its own (CODEX_HOME)"


@dataclass(frozen=True, slots=True)
class CodexLogin:
    """A file of Codex."""

    file: Path
    client_id: str
    url: str
    remedy: str = _REMEDY

    def found(self) -> Tokens:
        """Returns what the file says now; raises `CredentialUnavailable`."""
        tokens = as_object(read_object(self.file, self.remedy).get("tokens"))
        access, refresh = as_text(tokens.get("access_token")), as_text(tokens.get("refresh_token"))
        if not access and not refresh:
            raise CredentialUnavailable(f"{self.file.name} has no tokens of a ChatGPT login; {self.remedy}")
        claims = _claims(access)
        ends_at = claims.get("exp")
        seconds = float(ends_at) if isinstance(ends_at, int | float) and not isinstance(ends_at, bool) else 0.0
        account = (
            as_text(tokens.get("account_id")) or _account(claims) or _account(_claims(as_text(tokens.get("id_token"))))
        )
        headers: Headers = (
            (("chatgpt-account-id", account),) if account.isascii() and account.isprintable() and account else ()
        )
        return Tokens(Secret(access), Secret(refresh), seconds - EARLY_SECONDS, seconds, headers)

    def request(self, refresh: Secret) -> HttpRequest:
        """Returns the request that renews."""
        fields = ("grant_type", "refresh_token"), ("refresh_token", refresh.reveal()), ("client_id", self.client_id)
        return form(self.url, fields)

    def lack(self, answer: Mapping[str, JSON]) -> str:
        """Returns "": the status says whether there is a token."""
        return ""


def codex_login(said: LoginRow, environ: Mapping[str, str]) -> CodexLogin:
    """Returns the login of the file that the settings name, or else of Codex's own."""
    home = environ.get("CODEX_HOME", "").strip() or "~/.codex"
    file = at_home(said.file, environ) if said.file else at_home(home, environ) / "auth.json"
    return CodexLogin(file, said.client_id or _CLIENT, said.token_url or _TOKEN_URL)


def _claims(token: str) -> Mapping[str, JSON]:
    """Returns what a JSON Web Token says; nobody here relies on it, so its signature is not looked at."""
    part = token.partition(".")[2].partition(".")[0]
    try:
        return as_object(decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
        return {}


def _account(claims: Mapping[str, JSON]) -> str:
    return as_text(as_object(claims.get(_CLAIM)).get("chatgpt_account_id"))
