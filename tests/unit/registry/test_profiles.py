"""Several accounts of one provider, and logins in the place of keys, from the file to what goes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.registry.assembly import build_catalogue
from gateway.registry.catalogue import Catalogue
from gateway.runtime import Runtime
from gateway.settings.load import load_settings
from tests.unit.registry.test_catalogue import deployed

WORK = {"credentials": ["sk-work-0123456789"]}


def settings_of(
    directory: Path, environ: dict[str, str], routes: dict[str, Any] | None = None, **providers: Any
) -> Any:
    path = directory / "anyport.yaml"
    storage = {"directory": str(directory / "data")}
    path.write_text(json.dumps({"providers": providers, "routes": routes or {}, "storage": storage}))
    return load_settings(path, environ, {name: name for name in ("openai", "minimax", "gemini-cli", "anthropic")})


def made(directory: Path, environ: dict[str, str] | None = None, **providers: Any) -> Catalogue:
    environ = {"HOME": str(directory), **(environ or {})}
    return build_catalogue(settings_of(directory, environ, **providers), environ)


def bearer(catalogue: Catalogue, profile: str = "") -> str:
    found = deployed(catalogue.deploy("openai/gpt-4o", profile=profile))
    return dict(found.key_ring.headers())["authorization"]


def test_a_profile_has_credentials_of_its_own(tmp_path: Path) -> None:
    catalogue = made(tmp_path, {"OPENAI_API_KEY": "sk-usual-0123456789"}, openai={"profiles": {"work": WORK}})
    assert bearer(catalogue) == "Bearer sk-usual-0123456789"
    assert bearer(catalogue, "work") == "Bearer sk-work-0123456789"
    assert {secret.reveal() for secret in catalogue.secrets()} == {"sk-usual-0123456789", "sk-work-0123456789"}


def test_no_other_credential_takes_the_place_of_a_profiles_own(tmp_path: Path) -> None:
    catalogue = made(tmp_path, {"OPENAI_API_KEY": "sk-usual-0123456789"}, openai={"profiles": {"work": {}}})
    lack = catalogue.deploy("openai/gpt-4o", profile="work")
    assert isinstance(lack, str) and "openai has no credential in the profile 'work'" in lack
    unknown = catalogue.deploy("openai/gpt-4o", profile="home")
    assert unknown == "openai has no profile 'home'; put it under providers.openai.profiles"


def test_what_is_held_against_one_account_is_not_held_against_another(tmp_path: Path) -> None:
    login = {"refresh_token": "r-1", "token_url": "http://127.0.0.1:9/token"}
    catalogue = made(tmp_path, minimax={"profiles": {"a": {"login": login}, "b": {"login": login}}})
    rings = [deployed(catalogue.deploy("minimax/m", profile=name)).key_ring for name in ("a", "b")]
    assert rings[0].keys[0].account is not rings[1].keys[0].account
    assert rings[0].keys[0].state is not rings[1].keys[0].state


ROUTE = {"fast": {"deployments": [{"model": "openai/gpt-4o", "profile": "wrk"}]}}


@pytest.mark.parametrize(
    ("deployment", "said"),
    [
        ({"profile": "wrk"}, "providers.openai.profiles has no 'wrk'; did you mean 'work'?"),
        ({"profile": "work", "keys": ["k"]}, "`keys` and `profile` are two answers to one question"),
    ],
)
def test_a_profile_that_is_not_there_is_a_fault_with_its_line(
    deployment: dict[str, Any], said: str, tmp_path: Path
) -> None:
    routes = {"fast": {"deployments": [{"model": "openai/gpt-4o", **deployment}]}}
    with pytest.raises(ConfigError) as caught:
        settings_of(tmp_path, {}, routes, openai={"profiles": {"work": WORK}})
    assert said in str(caught.value)


async def test_a_route_calls_with_the_account_that_it_names(tmp_path: Path) -> None:
    routes = {
        "fast": {
            "deployments": [
                {"model": "openai/gpt-4o"},
                {"model": "openai/gpt-4o", "profile": "work", "name": "of-work"},
                {"model": "gpt-4o-mini", "provider": "openai", "profile": "work"},
            ]
        }
    }
    environ = {"OPENAI_API_KEY": "sk-usual-0123456789"}
    runtime = Runtime(settings_of(tmp_path, environ, routes, openai={"profiles": {"work": WORK}}), environ)
    try:
        route = runtime.routes.route("fast", "")
        assert not isinstance(route, str)
        sent = [dict(each.key_ring.headers())["authorization"][7:14] for each in route.deployments]
        assert sent == ["sk-usua", "sk-work", "sk-work"]
        assert runtime.scrubber.text("it said sk-work-0123456789") == "it said ***"
    finally:
        await runtime.aclose()


async def test_a_key_of_the_environment_for_a_place_that_a_route_names_is_shown_nowhere(tmp_path: Path) -> None:
    at = "anthropic-custom:https://proxy.example"
    environ = {"ANTHROPIC_COMPATIBLE_API_KEY": "canary-of-the-place"}
    for name in ("fast", "every-*"):
        routes = {name: {"deployments": [{"provider": at, "model": "m"}]}}
        runtime = Runtime(settings_of(tmp_path, environ, routes), environ)
        try:
            route = runtime.routes.route(name, "")
            assert not isinstance(route, str)
            assert ("x-api-key", "canary-of-the-place") in route.deployments[0].key_ring.headers()
            assert runtime.scrubber.text("it said canary-of-the-place") == "it said ***"
        finally:
            await runtime.aclose()


@pytest.mark.parametrize("placeholder", ["minimax-oauth", "MiniMax-OAuth-CN"])
def test_the_word_for_a_login_is_never_sent(placeholder: str, tmp_path: Path) -> None:
    catalogue = made(tmp_path, minimax={"credentials": [placeholder]})
    lack = catalogue.deploy("minimax/m")
    assert isinstance(lack, str) and "minimax has no credential" in lack
    catalogue = made(tmp_path, {"MINIMAX_API_KEY": "k-1"}, minimax={"credentials": [placeholder]})
    assert deployed(catalogue.deploy("minimax/m")).key_ring.headers() == (("authorization", "Bearer k-1"),)
    catalogue = made(tmp_path, {"MINIMAX_OAUTH_REFRESH_TOKEN": "r-1"}, minimax={"credentials": [placeholder]})
    ring = deployed(catalogue.deploy("minimax/m")).key_ring
    assert ring.secrets == () and ring.signer is not None
    assert ring.signer.source == "login (minimax)"
    assert catalogue.find("minimax") not in (None, "") and not getattr(catalogue.find("minimax"), "warning", "")


def test_a_variable_comes_before_a_login(tmp_path: Path) -> None:
    environ = {"MINIMAX_OAUTH_REFRESH_TOKEN": "r-1", "MINIMAX_OAUTH_TOKEN": "access-1"}
    assert deployed(made(tmp_path, environ).deploy("minimax/m")).key_ring.signer is None
    del environ["MINIMAX_OAUTH_TOKEN"]
    assert deployed(made(tmp_path, environ).deploy("minimax/m")).key_ring.signer is not None


def test_a_subscriptions_token_is_used_with_a_warning_at_the_start(tmp_path: Path) -> None:
    catalogue = made(tmp_path, {"ANTHROPIC_OAUTH_TOKEN": "sk-ant-oat01-x"})
    (warning,) = [each.warning for each in catalogue.ready() if each.warning]
    assert "Anthropic's terms may forbid" in warning and "sk-ant-oat01-x" not in warning
    assert not [each for each in made(tmp_path, {"ANTHROPIC_API_KEY": "sk-ant-api03-x"}).ready() if each.warning]


@pytest.mark.parametrize("url", ["http://tokens.example/t", "ftp://127.0.0.1/t", "https//x"])
def test_tokens_go_nowhere_in_the_clear(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must begin with https://"):
        made(tmp_path, minimax={"login": {"refresh_token": "r", "token_url": url}})
