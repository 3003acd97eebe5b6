"""Where a provider's key comes from."""

from __future__ import annotations

import pytest

from gateway.credentials.errors import InvalidCredential
from gateway.credentials.resolve import Resolved, key_warning, resolve_credentials
from gateway.credentials.sign import auth_headers
from gateway.domain import AuthScheme, ProviderSpec
from gateway.registry.builtin import load_builtin, to_spec
from gateway.secret import Secret


def spec(name: str) -> ProviderSpec:
    return to_spec(name, load_builtin()[name])


def found(resolved: Resolved) -> tuple[list[str], str]:
    return [secret.reveal() for secret in resolved.secrets], resolved.source


def test_the_prefixed_variable_comes_before_the_plain_one() -> None:
    environ = {"ABI_MISTRAL_API_KEY": "a", "MISTRAL_API_KEY": "b"}
    assert found(resolve_credentials(spec("mistral"), environ)) == (["a"], "env ABI_MISTRAL_API_KEY")


def test_every_variable_has_a_prefixed_form_even_if_the_row_does_not_list_it() -> None:
    environ = {"ABI_GROQ_API_KEY": "a", "GROQ_API_KEY": "b"}
    assert found(resolve_credentials(spec("groq"), environ)) == (["a"], "env ABI_GROQ_API_KEY")


def test_the_settings_come_before_the_environment() -> None:
    resolved = resolve_credentials(spec("groq"), {"GROQ_API_KEY": "b"}, [Secret("a", "config"), Secret("c", "file c")])
    assert found(resolved) == (["a", "c"], "config, file c")


@pytest.mark.parametrize("blank", ["", "  ", "\t\n"])
def test_a_blank_value_is_absent_wherever_it_stands(blank: str) -> None:
    environ = {"ABI_GROQ_API_KEY": blank, "GROQ_API_KEY": "b"}
    assert found(resolve_credentials(spec("groq"), environ)) == (["b"], "env GROQ_API_KEY")


def test_the_second_variable_serves_if_the_first_is_unset() -> None:
    assert found(resolve_credentials(spec("moonshot"), {"KIMI_API_KEY": "k"})) == (["k"], "env KIMI_API_KEY")
    resolved = resolve_credentials(spec("together"), {"TOGETHERAI_API_KEY": "t"})
    assert found(resolved) == (["t"], "env TOGETHERAI_API_KEY")


def test_the_first_of_two_set_variables_wins() -> None:
    environ = {"KIMI_API_KEY": "b", "KIMI_CODE_API_KEY": "a"}
    assert found(resolve_credentials(spec("kimi-code"), environ)) == (["a"], "env KIMI_CODE_API_KEY")


@pytest.mark.parametrize("provider", ["vllm", "tgi", "groq"])
def test_a_generic_variable_is_nobodys_key(provider: str) -> None:
    assert found(resolve_credentials(spec(provider), {"API_KEY": "x"})) == ([], "none")


def test_local_ollama_never_gets_the_key_of_the_cloud() -> None:
    ollama = spec("ollama")
    resolved = resolve_credentials(ollama, {"OLLAMA_API_KEY": "k"}, base_url=ollama.base_url)
    assert (resolved.secrets, resolved.auth) == ((), None)
    assert found(resolve_credentials(ollama, {"OLLAMA_API_KEY": "k"}, base_url="https://ollama.com"))[0] == ["k"]
    assert found(resolve_credentials(spec("ollama-cloud"), {"OLLAMA_API_KEY": "k"}))[0] == ["k"]


@pytest.mark.parametrize("value", ["se cret", "se\ncret", "se\x00cret", "schlüssel", "se\x7fcret"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(InvalidCredential) as caught:
        resolve_credentials(spec("groq"), {"GROQ_API_KEY": value})
    message = str(caught.value)
    assert "env GROQ_API_KEY" in message
    assert "cret" not in message
    assert "schl" not in message


def test_what_was_found_shows_no_value() -> None:
    resolved = resolve_credentials(spec("groq"), {"GROQ_API_KEY": "gsk_verysecret"})
    assert "verysecret" not in repr(resolved)


def test_a_key_of_another_vendor_is_worth_a_warning_on_the_vendors_own_host() -> None:
    warning = key_warning(spec("openai"), "https://api.openai.com/v1", Secret("abc-secret"))
    assert warning == "keys of OpenAI begin with `sk-`; the configured one does not"


def test_a_proxy_has_keys_of_its_own() -> None:
    assert key_warning(spec("openai"), "https://my-proxy.example.com/v1", Secret("abc")) is None
    assert key_warning(spec("openai"), "https://api.openai.com.evil.example/v1", Secret("abc")) is None


def test_a_key_that_looks_right_gives_no_warning() -> None:
    assert key_warning(spec("moonshot"), "https://api.moonshot.cn/v1", Secret("sk-1")) is None
    assert key_warning(spec("moonshot"), "https://api.moonshot.cn/v1", Secret("1")) is not None


def test_the_scheme_says_how_a_key_goes_on_the_wire() -> None:
    key = Secret("k")
    assert auth_headers(AuthScheme(), key) == (("authorization", "Bearer k"),)
    assert auth_headers(AuthScheme("x-api-key", ""), key) == (("x-api-key", "k"),)
    assert auth_headers(None, key) == ()
    assert auth_headers(AuthScheme(), None) == ()
    assert auth_headers(AuthScheme(), Secret("")) == ()
