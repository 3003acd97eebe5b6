"""The login of Google's Gemini CLI: its file is read, and renewed with its client if the operator names that.

The file is `~/.gemini/oauth_creds.json` with `expiry_date` in milliseconds, and is renewed at Google's token endpoint,
which mostly gives no new refresh token (google-gemini/gemini-cli, packages/core/src/code_assist/oauth2.ts, read
2026-11-21). The id and the secret of its client are no part of Anyport: whoever uses them says so in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.codec import JSON, as_text
from adapters.types import HttpRequest
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.login import NOTHING, Tokens, form
from gateway.credentials.login_file import at_home, read_object
from gateway.credentials.renewed import EARLY_SECONDS
from gateway.secret import Secret
from gateway.settings.provider import LoginRow

_FILE: Final = Path(".gemini") / "oauth_creds.json"
_TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - where tokens are, not one


@dataclass(frozen=True, slots=True)
class GeminiCliLogin:
    """A file of the Gemini CLI."""

    file: Path
    client_id: str
    client_secret: Secret
    url: str
    remedy: str

    def found(self) -> Tokens:
        """Returns what the file says now; raises `CredentialUnavailable`."""
        members = read_object(self.file, self.remedy)
        access, refresh = as_text(members.get("access_token")), as_text(members.get("refresh_token"))
        ends_at = members.get("expiry_date")
        seconds = ends_at / 1000 if isinstance(ends_at, int | float) and not isinstance(ends_at, bool) else 0.0
        if not access and not refresh:
            raise CredentialUnavailable(f"{self.file.name} has no tokens; {self.remedy}")
        known = Secret(refresh) if self.client_id else NOTHING
        return Tokens(Secret(access), known, seconds - EARLY_SECONDS, seconds)

    def request(self, refresh: Secret) -> HttpRequest:
        """Returns the request that renews."""
        fields = [("grant_type", "refresh_token"), ("refresh_token", refresh.reveal()), ("client_id", self.client_id)]
        if self.client_secret:
            fields.append(("client_secret", self.client_secret.reveal()))
        return form(self.url, fields)

    def lack(self, answer: Mapping[str, JSON]) -> str:
        """Returns "": Google says by the status whether it gives a token."""
        return ""


def gemini_cli_login(said: LoginRow, environ: Mapping[str, str], *, where: str) -> GeminiCliLogin:
    """Returns the login of the file that the settings name, or else of the CLI's own; `where` names it there."""
    secret = said.client_secret.reveal() if said.client_secret else ""
    remedy = "run `gemini` and sign in with Google"
    if not said.client_id:
        remedy += f", which renews its file; with {where}.client_id and client_secret it is renewed here"
    file = at_home(said.file, environ) if said.file else at_home("~", environ) / _FILE
    return GeminiCliLogin(file, said.client_id or "", Secret(secret), said.token_url or _TOKEN_URL, remedy)
