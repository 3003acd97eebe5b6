"""Tokens of Google Cloud: from a file, from gcloud's login, from the metadata server."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.auth.compute_engine import _metadata

from adapters.types import HttpRequest
from gateway.credentials import extras
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.google import signer_of_file
from gateway.credentials.resolve import Resolved, resolve_credentials
from gateway.credentials.sign import Signer, auth_headers
from gateway.registry.builtin import to_spec
from gateway.secret import Secret
from gateway.settings.provider import ProviderRow

from .token_endpoint import TokenEndpoint, serving

BASE_URL = "https://aiplatform.googleapis.com"
REQUEST = HttpRequest("POST", f"{BASE_URL}/v1/x:generateContent", ())
ADC = "GOOGLE_APPLICATION_CREDENTIALS"
REFRESH, CLIENT_SECRET = "1//refresh-token-of-a-user", "GOCSPX-secret-of-a-client"
USER = {"type": "authorized_user", "client_id": "c", "client_secret": CLIENT_SECRET, "refresh_token": REFRESH}
VERTEX = to_spec(
    "vertex",
    ProviderRow(base_url=BASE_URL, auth="google_adc", credential_envs=[ADC, "GOOGLE_VERTEX_API_KEY"]),
)


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with serving(TokenEndpoint()) as running:
        yield running


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def account(tmp_path: Path, endpoint: TokenEndpoint, key: rsa.RSAPrivateKey) -> Path:
    """A service account's file whose tokens come from the endpoint."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {
        "type": "service_account",
        "client_email": "robot@project.iam.example",
        "private_key": pem,
        "private_key_id": "1",
        "token_uri": endpoint.url + "/token",
        "project_id": "project",
    }
    return written(tmp_path / "account.json", account)


def written(path: Path, content: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def resolved(environ: dict[str, str], *, is_named: bool = False) -> Resolved:
    return resolve_credentials(VERTEX, environ, base_url=BASE_URL, is_named=is_named)


def signer(environ: dict[str, str], *, is_named: bool = False) -> Signer:
    found = resolved(environ, is_named=is_named).signer
    assert found is not None
    return found


async def test_a_service_account_asks_with_a_signed_assertion(
    account: Path, endpoint: TokenEndpoint, key: rsa.RSAPrivateKey
) -> None:
    found = signer({ADC: str(account)})
    assert endpoint.asked == [], "asked before anybody wanted it"
    assert await found.sign(REQUEST) == (("authorization", "Bearer ya29.t1"),)
    (form,) = endpoint.asked
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    head, claims, signature = form["assertion"].split(".")
    key.public_key().verify(decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    claimed = json.loads(decoded(claims))
    assert claimed["iss"] == "robot@project.iam.example"
    assert claimed["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert claimed["exp"] - claimed["iat"] <= 3600


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def test_many_requests_share_one_token(account: Path, endpoint: TokenEndpoint) -> None:
    found = signer({ADC: str(account)})
    made = await asyncio.gather(*(found.sign(REQUEST) for _ in range(20)))
    assert set(made) == {(("authorization", "Bearer ya29.t1"),)}
    assert len(endpoint.asked) == 1


async def test_a_token_is_renewed_five_minutes_early_without_anybody_waiting(
    account: Path, endpoint: TokenEndpoint
) -> None:
    now = [time.time()]
    found = signer_of_file(ADC, "vertex", {ADC: str(account)}, lambda: now[0])
    assert found is not None
    assert dict(await found.sign(REQUEST))["authorization"] == "Bearer ya29.t1"
    now[0] += endpoint.seconds - 290
    assert dict(await found.sign(REQUEST))["authorization"] == "Bearer ya29.t1"
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "credential"))
    assert dict(await found.sign(REQUEST))["authorization"] == "Bearer ya29.t2"
    assert len(endpoint.asked) == 2


async def test_a_users_login_is_refreshed_and_billed_to_its_project(tmp_path: Path, endpoint: TokenEndpoint) -> None:
    login = {**USER, "token_uri": endpoint.url + "/token", "quota_project_id": "billed"}
    found = signer({ADC: str(written(tmp_path / "user.json", login))})
    assert dict(await found.sign(REQUEST)) == {"authorization": "Bearer ya29.t1", "x-goog-user-project": "billed"}
    assert endpoint.asked[0]["refresh_token"] == REFRESH
    other = signer({ADC: str(tmp_path / "user.json"), "GOOGLE_CLOUD_QUOTA_PROJECT": "other"})
    assert dict(await other.sign(REQUEST))["x-goog-user-project"] == "other"


async def test_gclouds_login_serves_if_somebody_means_google(tmp_path: Path, endpoint: TokenEndpoint) -> None:
    name = "application_default_credentials.json"
    written(tmp_path / ".config" / "gcloud" / name, {**USER, "token_uri": endpoint.url + "/token"})
    home = {"HOME": str(tmp_path)}
    assert resolved(home).signer is None
    assert resolved({**home, "GOOGLE_VERTEX_PROJECT": "p"}).source == "google adc (gcloud)"
    assert dict(await signer(home, is_named=True).sign(REQUEST))["authorization"] == "Bearer ya29.t1"
    elsewhere = {"HOME": "/nowhere", "CLOUDSDK_CONFIG": str(tmp_path / ".config" / "gcloud")}
    assert resolved(elsewhere, is_named=True).source == "google adc (gcloud)"


async def test_the_metadata_server_is_asked_only_if_nothing_else_is_there(
    tmp_path: Path, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", endpoint.url.partition("//")[2])
    assert resolved({"HOME": str(tmp_path)}).signer is None
    found = resolved({"HOME": str(tmp_path)}, is_named=True)
    assert found.source == "google adc (metadata)"
    assert endpoint.headers == [], "asked before anybody wanted it"
    assert found.signer is not None
    assert dict(await found.signer.sign(REQUEST))["authorization"].startswith("Bearer ya29.t")
    assert {headers["metadata-flavor"] for headers in endpoint.headers} == {"Google"}


def test_a_key_is_for_express_mode_unless_a_file_is_named(account: Path) -> None:
    found = resolved({"GOOGLE_VERTEX_API_KEY": "AIzaX", "GOOGLE_VERTEX_PROJECT": "p"})
    assert found.signer is None
    assert auth_headers(found.auth, found.secrets[0]) == (("x-goog-api-key", "AIzaX"),)
    assert resolved({"GOOGLE_VERTEX_API_KEY": "AIzaX", ADC: str(account)}).source == "google adc (file)"


def test_the_name_of_a_file_is_never_sent_as_a_key(account: Path) -> None:
    assert resolved({ADC: str(account)}).secrets == ()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialUnavailable, match=f"{ADC} names a file that is not there"):
        resolved({ADC: str(tmp_path / "missing.json")})


def test_without_the_package_the_extra_is_named(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(CredentialUnavailable, match=r"pip install -e '\.\[google\]'"):
        resolved({ADC: str(account)})
    assert resolved({}, is_named=True).signer is None


async def test_a_refusal_says_what_to_do_and_shows_no_secret(
    tmp_path: Path, endpoint: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    endpoint.refusal = {"error": "invalid_grant", "error_description": f"{REFRESH} has expired or been revoked."}
    login = written(tmp_path / "user.json", {**USER, "token_uri": endpoint.url + "/token"})
    found = signer({ADC: str(login)})
    with pytest.raises(CredentialUnavailable) as caught:
        await found.sign(REQUEST)
    said = caught.value.message
    assert "invalid_grant" in said
    assert "check GOOGLE_APPLICATION_CREDENTIALS or log in with `gcloud auth application-default login`" in said
    assert REFRESH not in said
    assert REFRESH not in caplog.text
    endpoint.refusal = None
    assert await found.sign(REQUEST) == (("authorization", "Bearer ya29.t1"),)


async def test_a_redirect_of_the_token_endpoint_is_not_followed(tmp_path: Path, endpoint: TokenEndpoint) -> None:
    with serving(TokenEndpoint()) as other:
        endpoint.status, endpoint.location = 307, other.url + "/token"
        endpoint.refusal = {"error": "moved"}
        login = written(tmp_path / "user.json", {**USER, "token_uri": endpoint.url + "/token"})
        with pytest.raises(CredentialUnavailable):
            await signer({ADC: str(login)}).sign(REQUEST)
        assert other.asked == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"type": "authorized_user"}',
        '{"type": "external_account"}',
        '{"type": "service_account"}',
        "\xff",
    ],
)
async def test_a_file_that_cannot_be_used_is_a_failure_with_a_reason(tmp_path: Path, content: str) -> None:
    path = tmp_path / "adc.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CredentialUnavailable, match="no token"):
        await signer({ADC: str(path)}).sign(REQUEST)


async def test_everything_secret_of_a_login_is_made_known(tmp_path: Path, endpoint: TokenEndpoint) -> None:
    found = signer({ADC: str(written(tmp_path / "user.json", {**USER, "token_uri": endpoint.url + "/token"}))})
    learned: list[Secret] = []
    found.watch(learned.append)
    await found.sign(REQUEST)
    assert set(learned) == {Secret("ya29.t1"), Secret(REFRESH), Secret(CLIENT_SECRET)}
    assert found.secrets == tuple(learned)
