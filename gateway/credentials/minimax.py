"""MiniMax's logins: a refresh token becomes an access token, at the global address or at that of China.

Addresses, fields and variables are those of ZeroClaw's provider system (src/providers/mod.rs, lines 165 to 278, read
2026-11-21); MiniMax itself documents none of them. The id of the client is no secret: it stands in that source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from adapters.codec import JSON, as_object, as_text
from adapters.types import HttpRequest
from gateway.credentials.login import NOTHING, Tokens, form
from gateway.credentials.variables import header_secret, value_of
from gateway.secret import Secret
from gateway.settings.provider import LoginRow

REFRESH_VARIABLE: Final = "MINIMAX_OAUTH_REFRESH_TOKEN"
CLIENT_VARIABLE: Final = "MINIMAX_OAUTH_CLIENT_ID"
REGION_VARIABLE: Final = "MINIMAX_OAUTH_REGION"
PLACEHOLDERS: Final = frozenset({"minimax-oauth", "minimax-oauth-cn"})
"""What may stand in the place of a key, and means the login; never sent."""
_CLIENT: Final = "78257093-7e40-4613-99e0-527b14b39113"
_GLOBAL: Final = "https://api.minimax.io/oauth/token"
_CHINA: Final = "https://api.minimaxi.com/oauth/token"
_CHINESE: Final = frozenset({"cn", "china"})


@dataclass(frozen=True, slots=True)
class MiniMaxLogin:
    """A refresh token of the file or of a variable."""

    refresh: Secret
    client_id: str
    url: str
    remedy: str

    def found(self) -> Tokens:
        """Returns the refresh token; there is no access token before the first renewal."""
        return Tokens(NOTHING, self.refresh)

    def request(self, refresh: Secret) -> HttpRequest:
        """Returns the request that renews."""
        fields = ("grant_type", "refresh_token"), ("refresh_token", refresh.reveal()), ("client_id", self.client_id)
        return form(self.url, fields)

    def lack(self, answer: Mapping[str, JSON]) -> str:
        """Returns the reason under status 200: one without `status: success` is a refusal."""
        if as_text(answer.get("status")) == "success":
            return ""
        return as_text(as_object(answer.get("base_resp")).get("status_msg")) or "its status is not `success`"


def minimax_login(
    said: LoginRow, environ: Mapping[str, str], base_url: str, *, where: str, placeholder: str = ""
) -> MiniMaxLogin | None:
    """Returns the login that the file or a variable has, None if neither; `where` names it in the file.

    Raises `InvalidCredential`. `environ` is empty for a profile, whose tokens are its own.
    """
    if said.refresh_token is not None:
        refresh, remedy = said.refresh_token.reveal(), f"set {where}.refresh_token to a new one"
    else:
        refresh, remedy = value_of(environ, REFRESH_VARIABLE), f"log in again and set {REFRESH_VARIABLE}"
    if not refresh:
        return None
    region = value_of(environ, REGION_VARIABLE).lower()
    is_chinese = (
        placeholder.endswith("-cn") or urlsplit(base_url).hostname == urlsplit(_CHINA).hostname or region in _CHINESE
    )
    return MiniMaxLogin(
        header_secret(refresh, where if said.refresh_token else f"env {REFRESH_VARIABLE}"),
        said.client_id or value_of(environ, CLIENT_VARIABLE) or _CLIENT,
        said.token_url or (_CHINA if is_chinese else _GLOBAL),
        remedy,
    )
