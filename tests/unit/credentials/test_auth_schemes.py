"""How a credential goes on the wire, and when it does not go at all."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from adapters.types import HttpRequest
from gateway.credentials.errors import InvalidCredential
from gateway.credentials.keyring import KeyRing
from gateway.credentials.resolve import resolve_credentials
from gateway.credentials.sign import auth_headers, signed
from gateway.domain import AuthScheme, Cloud, ProviderSpec
from gateway.registry.builtin import auth_scheme, load_builtin, to_spec
from gateway.secret import Secret
from gateway.settings.provider import ProviderRow

OAUTH = {"sk-ant-oat01-": {"auth": "bearer", "headers": {"Anthropic-Beta": "oauth-2025-04-20"}}}


def spec(**row: object) -> ProviderSpec:
    return to_spec("acme", ProviderRow.model_validate({"base_url": "https://acme.example/v1", **row}))


def sent(of: ProviderSpec, environ: dict[str, str], base_url: str = "https://acme.example/v1") -> dict[str, str]:
    found = resolve_credentials(of, environ, base_url=base_url)
    return dict(auth_headers(found.auth, found.secrets[0] if found.secrets else None))


def test_the_words_of_clouds_say_how_a_key_goes_and_whose_way_serves_without_one() -> None:
    assert auth_scheme("sigv4") == AuthScheme("authorization", "Bearer ", cloud=Cloud.AWS)
    assert auth_scheme("google_adc") == AuthScheme("x-goog-api-key", "", cloud=Cloud.GOOGLE)
    assert auth_scheme("entra") == AuthScheme("api-key", "", cloud=Cloud.AZURE)


@pytest.mark.parametrize("word", ["query:key", "Bearer", "header:", "header:x y", "bot", "basic"])
def test_a_word_that_means_nothing_is_refused(word: str) -> None:
    with pytest.raises(ValidationError):
        ProviderRow(auth=word)


def test_a_key_is_known_by_its_beginning() -> None:
    anthropic = spec(auth="x-api-key", credential_envs=["KEY"], auth_by_prefix=OAUTH)
    assert sent(anthropic, {"KEY": "sk-ant-api03-y"}) == {"x-api-key": "sk-ant-api03-y"}
    assert sent(anthropic, {"KEY": "sk-ant-oat01-x"}) == {
        "authorization": "Bearer sk-ant-oat01-x",
        "anthropic-beta": "oauth-2025-04-20",
    }


def test_a_key_is_known_by_the_variable_that_it_comes_from() -> None:
    azure = spec(auth="api-key", credential_envs=["AZ_KEY", "AZ_TOKEN"], auth_by_env={"AZ_TOKEN": "bearer"})
    assert sent(azure, {"AZ_KEY": "k", "AZ_TOKEN": "t"}) == {"api-key": "k"}
    assert sent(azure, {"AZ_TOKEN": "t"}) == {"authorization": "Bearer t"}
    assert sent(azure, {"ABI_AZ_TOKEN": "t", "AZ_KEY": "k"}) == {"authorization": "Bearer t"}


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:11434", "http://localhost:1/v1", "http://[::1]:2", "http://0.0.0.0"]
)
def test_a_server_on_this_machine_gets_no_key_that_is_for_others(base_url: str) -> None:
    ollama = spec(auth="bearer_remote_only", credential_envs=["KEY"])
    found = resolve_credentials(ollama, {"KEY": "k"}, ["explicit"], base_url=base_url)
    assert (found.secrets, found.source) == ((), "none")
    assert auth_headers(found.auth, Secret("k")) == ()


@pytest.mark.parametrize(
    "base_url", ["http://gpu-box:11434", "https://localhost.evil.example", "http://127.0.0.1.nip.example"]
)
def test_a_server_elsewhere_gets_it(base_url: str) -> None:
    ollama = spec(auth="bearer_remote_only", credential_envs=["KEY"])
    assert sent(ollama, {"KEY": "k"}, base_url) == {"authorization": "Bearer k"}


def test_only_signing_takes_two_variables_for_one_credential() -> None:
    with pytest.raises(ValueError, match="only `auth: sigv4` takes two"):
        spec(credential_envs=["ID+SECRET"])


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ((), "oauth-2025-04-20"),
        (("context-1m-2025-08-07",), "context-1m-2025-08-07,oauth-2025-04-20"),
        (("a, b",), "a,b,oauth-2025-04-20"),
        (("oauth-2025-04-20,a",), "oauth-2025-04-20,a"),
    ],
)
def test_a_list_that_the_request_has_already_is_continued(own: tuple[str, ...], expected: str) -> None:
    headers = tuple(("anthropic-beta", value) for value in own)
    request = HttpRequest("POST", "https://a.example", (("accept", "*/*"), *headers), b"{}", ("seed",))
    made = signed(request, (("authorization", "Bearer t"), ("anthropic-beta", "oauth-2025-04-20")))
    assert [value for name, value in made.headers if name == "anthropic-beta"] == [expected]
    assert dict(made.headers)["authorization"] == "Bearer t"
    assert (made.method, made.url, made.body, made.dropped) == ("POST", "https://a.example", b"{}", ("seed",))


def test_an_ordinary_credential_is_put_behind_the_headers_of_the_request() -> None:
    request = HttpRequest("POST", "https://a.example", (("accept", "*/*"),))
    assert signed(request, (("authorization", "Bearer t"),)).headers == (
        ("accept", "*/*"),
        ("authorization", "Bearer t"),
    )


def test_a_second_credential_goes_along_if_it_is_set() -> None:
    cloudflare = spec(credential_envs=["TOKEN"], auth_also={"AIG_TOKEN": "bearer:Cf-Aig-Authorization"})
    second = ("cf-aig-authorization", "Bearer a")
    assert ring(cloudflare, {"TOKEN": "t", "AIG_TOKEN": "a"}).headers() == (("authorization", "Bearer t"), second)
    assert ring(cloudflare, {"TOKEN": "t"}).headers() == (("authorization", "Bearer t"),)
    alone = ring(cloudflare, {"ABI_AIG_TOKEN": "a"})
    assert (alone.headers(), alone.is_empty) == ((second,), False)
    with pytest.raises(InvalidCredential, match="env AIG_TOKEN"):
        ring(cloudflare, {"AIG_TOKEN": "a b"})


def ring(of: ProviderSpec, environ: dict[str, str]) -> KeyRing:
    found = resolve_credentials(of, environ)
    return KeyRing(of, found.secrets, found.signer, found.also)


def test_cloudflares_token_for_its_gateway_goes_beside_the_key() -> None:
    cloudflare = to_spec("cloudflare", load_builtin()["cloudflare"])
    assert dict(ring(cloudflare, {"CLOUDFLARE_API_TOKEN": "t", "CF_AIG_TOKEN": "a"}).headers()) == {
        "authorization": "Bearer t",
        "cf-aig-authorization": "Bearer a",
    }


def test_a_login_of_anthropic_comes_before_its_key_and_goes_as_a_bearer_token() -> None:
    anthropic = to_spec("anthropic", load_builtin()["anthropic"])
    environ = {"ANTHROPIC_OAUTH_TOKEN": "sk-ant-oat01-x", "ANTHROPIC_API_KEY": "sk-ant-api03-y"}
    assert dict(ring(anthropic, environ).headers()) == {
        "authorization": "Bearer sk-ant-oat01-x",
        "anthropic-beta": "oauth-2025-04-20",
    }
    assert ring(anthropic, {"ANTHROPIC_API_KEY": "sk-ant-api03-y"}).headers() == (("x-api-key", "sk-ant-api03-y"),)


def test_vertex_takes_a_key_as_google_does() -> None:
    vertex = to_spec("vertex", load_builtin()["vertex"])
    assert ring(vertex, {"GOOGLE_VERTEX_API_KEY": "AIzaX"}).headers() == (("x-goog-api-key", "AIzaX"),)
