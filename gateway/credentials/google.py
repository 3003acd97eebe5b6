"""Google's Application Default Credentials through google-auth: a file, gcloud's login, or the metadata server.

The order and the places are Google's (cloud.google.com/docs/authentication/application-default-credentials,
2026-11-21); the library's own search is not used, because it also asks the metadata server unasked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from adapters.types import Headers
from gateway.credentials.bearer import BearerSigner, Token
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.extras import has_package, need_package, package, silence
from gateway.credentials.renewed import CALL_SECONDS, Clock, Lease, Renewed, in_thread, lease_until
from gateway.credentials.scrub import Scrubber
from gateway.credentials.variables import value_of
from gateway.secret import Secret

FILE_VARIABLE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
_WANTED: Final = "GOOGLE_VERTEX_PROJECT", "GOOGLE_CLOUD_PROJECT", "GOOGLE_VERTEX_LOCATION", "GOOGLE_CLOUD_LOCATION"
"""With one of these set, somebody means to use Google's cloud from here."""
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - where tokens are, not one
_LOGIN: Final = "log in with `gcloud auth application-default login`"


class _Credentials(Protocol):
    token: str
    expiry: datetime | None
    quota_project_id: str | None

    def refresh(self, request: object) -> None: ...


@dataclass(frozen=True, slots=True)
class _Login:
    credentials: _Credentials
    secrets: tuple[Secret, ...] = ()


Open = Callable[[], _Login]
_PACKAGES: Final = "google.auth", "requests"
_HIDDEN: Final = "private_key", "refresh_token", "client_secret"


def signer_of_file(name: str, provider: str, environ: Mapping[str, str], clock: Clock) -> BearerSigner | None:
    """Returns a signer with the file that the variable `name` names, None if it is not set.

    Raises `CredentialUnavailable` if there is no such file, or no google-auth.
    """
    path = environ.get(name, "").strip()
    if not path:
        return None
    for needed in _PACKAGES:
        need_package(needed, "google", f"{provider}: {name}")
    if not Path(path).is_file():
        raise CredentialUnavailable(f"{provider}: {name} names a file that is not there")
    return _signer("google adc (file)", f"{provider}: {name}", partial(_of_file, Path(path)), environ, clock)


def signer_by_itself(provider: str, environ: Mapping[str, str], clock: Clock, *, is_named: bool) -> BearerSigner | None:
    """Returns a signer with gcloud's login or else the metadata server, None if nobody said that they are meant."""
    is_wanted = is_named or bool(value_of(environ, *_WANTED))
    if not is_wanted or not all(has_package(needed) for needed in _PACKAGES):
        return None
    login = _gcloud_file(environ)
    if login.is_file():
        return _signer("google adc (gcloud)", f"{provider}: gcloud's login", partial(_of_file, login), environ, clock)
    return _signer("google adc (metadata)", f"{provider}: Google's metadata server", _of_metadata, environ, clock)


def _gcloud_file(environ: Mapping[str, str]) -> Path:
    home = environ.get("CLOUDSDK_CONFIG", "").strip()
    directory = Path(home) if home else Path(environ.get("HOME", "/")) / ".config" / "gcloud"
    return directory / "application_default_credentials.json"


def _of_file(path: Path) -> _Login:
    info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    secrets = tuple(Secret(str(info[name])) for name in _HIDDEN if info.get(name))
    match info.get("type"):
        case "service_account":
            kind = package("google.oauth2.service_account").Credentials
            return _Login(kind.from_service_account_info(info, scopes=_SCOPES), secrets)
        case "authorized_user":
            return _Login(_of_user(info), secrets)
        case other:
            raise ValueError(f"the file is of type {other!r}; service_account and authorized_user can be used")


def _of_user(info: dict[str, Any]) -> _Credentials:
    if missing := [name for name in ("client_id", "client_secret", "refresh_token") if not info.get(name)]:
        raise ValueError(f"the file has no {missing[0]}")
    # The library's own reader would not look at the file's `token_uri`.
    return package("google.oauth2.credentials").Credentials(
        None,
        refresh_token=info["refresh_token"],
        client_id=info["client_id"],
        client_secret=info["client_secret"],
        token_uri=info.get("token_uri") or _TOKEN_URL,
        quota_project_id=info.get("quota_project_id"),
        scopes=_SCOPES,
    )


def _of_metadata() -> _Login:
    return _Login(package("google.auth.compute_engine").Credentials(scopes=_SCOPES))


def _signer(source: str, what: str, opened: Open, environ: Mapping[str, str], clock: Clock) -> BearerSigner:
    quota = value_of(environ, "GOOGLE_CLOUD_QUOTA_PROJECT")
    return BearerSigner(source, Renewed(in_thread(_fetcher(what, opened, quota)), clock))


def _fetcher(what: str, opened: Open, quota: str) -> Callable[[], Lease[Token]]:
    held: list[_Login] = []  # a login may carry on with a refresh token that it was given later

    def fetch() -> Lease[Token]:
        silence("google", "urllib3")
        errors = package("google.auth.exceptions")
        login = held[0] if held else None
        try:
            login = login or opened()
            login.credentials.refresh(_request())
        except (errors.GoogleAuthError, OSError, ValueError, AttributeError, TypeError) as error:
            held.clear()  # the file may be mended meanwhile
            # An OSError's own words hold the path, which is nothing for the clients who hear of this.
            words = error.strerror or "it cannot be read" if isinstance(error, OSError) else str(error)
            said = Scrubber(login.secrets if login else ()).text(words)
            raise CredentialUnavailable(f"{what}: no token: {said}; check {FILE_VARIABLE} or {_LOGIN}") from None
        held[:] = [login]
        credentials = login.credentials
        secret = Secret(credentials.token)
        project = quota or credentials.quota_project_id
        headers: Headers = (("x-goog-user-project", project),) if project else ()
        ends = credentials.expiry.replace(tzinfo=UTC).timestamp() if credentials.expiry else 0.0
        return lease_until(ends, Token(secret, headers), (secret, *login.secrets))

    return fetch


def _request() -> object:
    """Returns google-auth's transport, without redirects and proxies of the environment, as everywhere here."""
    session = package("requests").Session()
    session.trust_env = False
    request = package("google.auth.transport.requests").Request(session)
    return partial(request, allow_redirects=False, timeout=CALL_SECONDS)
