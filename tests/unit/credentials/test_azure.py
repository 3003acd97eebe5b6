"""Keys and Microsoft Entra tokens for Azure."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from adapters.types import HttpRequest
from gateway.credentials import extras
from gateway.credentials.azure import SCOPE
from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.resolve import Resolved, resolve_credentials
from gateway.credentials.sign import auth_headers
from gateway.registry.builtin import to_spec
from gateway.secret import Secret
from gateway.settings.provider import ProviderRow

from .token_endpoint import TokenEndpoint, serving

BASE_URL = "https://resource.openai.azure.com/openai/v1"
REQUEST = HttpRequest("POST", f"{BASE_URL}/chat/completions", ())
TENANT, CLIENT, SECRET = "11111111-2222-3333-4444-555555555555", "an-application", "s3cret~of.the-application"
APPLICATION = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": SECRET}
AZURE = to_spec(
    "azure",
    ProviderRow(
        base_url=BASE_URL,
        auth="entra",
        credential_envs=["AZURE_OPENAI_API_KEY", "AZURE_API_KEY", "AZURE_OPENAI_AD_TOKEN"],
        auth_by_env={"AZURE_OPENAI_AD_TOKEN": "bearer"},
    ),
)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenEndpoint]:
    """An authority of our own; the library wants TLS, and trusts whom this variable names."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with serving(TokenEndpoint(), context) as endpoint:
        yield endpoint


def resolved(environ: dict[str, str], *, is_named: bool = True) -> Resolved:
    return resolve_credentials(AZURE, environ, base_url=BASE_URL, is_named=is_named)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"AZURE_OPENAI_API_KEY": "k"}, ("api-key", "k")),
        ({"AZURE_API_KEY": "k", "AZURE_OPENAI_AD_TOKEN": "t"}, ("api-key", "k")),
        ({"AZURE_OPENAI_AD_TOKEN": "t"}, ("authorization", "Bearer t")),
        ({**APPLICATION, "AZURE_OPENAI_AD_TOKEN": "t"}, ("authorization", "Bearer t")),
    ],
)
def test_a_key_or_a_token_of_a_variable_comes_before_an_application(
    environ: dict[str, str], expected: tuple[str, str]
) -> None:
    found = resolved(environ)
    assert found.signer is None
    assert auth_headers(found.auth, found.secrets[0]) == (expected,)


def test_an_application_is_used_only_for_a_provider_that_is_named() -> None:
    assert resolved(APPLICATION, is_named=False).signer is None
    found = resolved(APPLICATION)
    assert found.source == "entra (env AZURE_CLIENT_ID)"
    assert found.signer is not None
    assert found.signer.secrets == (Secret(SECRET),)


@pytest.mark.parametrize("name", APPLICATION)
def test_two_of_the_three_variables_are_none(name: str) -> None:
    assert resolved({**APPLICATION, name: " "}).signer is None


async def test_an_application_gets_one_token_for_many_requests(authority: TokenEndpoint) -> None:
    signer = resolved({**APPLICATION, "AZURE_AUTHORITY_HOST": authority.url}).signer
    assert signer is not None
    assert authority.headers == [], "asked before anybody wanted it"
    learned: list[Secret] = []
    signer.watch(learned.append)
    made = await asyncio.gather(*(signer.sign(REQUEST) for _ in range(10)))
    assert set(made) == {(("authorization", "Bearer ya29.t1"),)}
    (form,) = authority.asked
    assert (form["grant_type"], form["scope"]) == ("client_credentials", SCOPE)
    assert (form["client_id"], form["client_secret"]) == (CLIENT, SECRET)
    assert learned == [Secret("ya29.t1")]


async def test_a_refusal_names_the_variables_and_shows_no_secret(
    authority: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    authority.refusal = {
        "error": "invalid_client",
        "error_description": f"AADSTS7000215: Invalid client secret provided: {SECRET}",
    }
    signer = resolved({**APPLICATION, "AZURE_AUTHORITY_HOST": authority.url}).signer
    assert signer is not None
    with pytest.raises(CredentialUnavailable, match="AADSTS7000215") as caught:
        await signer.sign(REQUEST)
    assert "check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET" in caught.value.message
    assert SECRET not in caught.value.message
    assert SECRET not in caplog.text


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(CredentialUnavailable, match=r"pip install -e '\.\[azure\]'"):
        resolved(APPLICATION)
