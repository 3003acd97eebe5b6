"""Providers that sign or fetch tokens: when they are ready, what is said of them, and that nothing of it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.types import HttpRequest
from gateway.cli.main import build_app
from gateway.credentials import extras
from gateway.registry.builtin import to_spec
from gateway.registry.catalogue import Catalogue
from gateway.registry.discovery import Discovery, Probe
from gateway.registry.provider import Provider
from gateway.registry.registry import Registry
from gateway.routing.deployment import Deployment
from gateway.runtime import Runtime
from gateway.secret import Secret
from gateway.settings.load import load_settings
from gateway.settings.provider import ProviderRow
from gateway.transport.control import ControlClient
from tests.unit.credentials.token_endpoint import TokenEndpoint, serving
from tests.upstreams.scripted import ScriptedUpstream, json_response

PAIR = "AWS_ACCESS_KEY_ID+AWS_SECRET_ACCESS_KEY"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/example"}
ADC = "GOOGLE_APPLICATION_CREDENTIALS"
SIGNED = {"base_url": "https://bedrock-runtime.eu-west-1.amazonaws.com", "auth": "sigv4", "credential_envs": [PAIR]}
FETCHED = {"base_url": "https://aiplatform.googleapis.com/v1", "auth": "google_adc", "credential_envs": [ADC]}
REQUEST = HttpRequest("POST", "https://aiplatform.googleapis.com/v1/chat/completions", ())


def catalogue(row: dict[str, Any], environ: dict[str, str], *, is_named: bool = False, **own: Any) -> Catalogue:
    spec = to_spec("cloud", ProviderRow.model_validate(row))
    rows = {"cloud": ProviderRow.model_validate(own)} if is_named else {}
    return Catalogue(Registry([spec]), rows, environ)


def only(made: Catalogue) -> Provider:
    (provider,) = made
    return provider


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    with serving(TokenEndpoint()) as running:
        yield running


@pytest.fixture
def login(tmp_path: Path, endpoint: TokenEndpoint) -> Path:
    path = tmp_path / "adc.json"
    user = {
        "type": "authorized_user",
        "client_id": "c",
        "client_secret": "client-s3cret",
        "refresh_token": "1//r3fresh",
    }
    path.write_text(json.dumps({**user, "token_uri": endpoint.url + "/token"}))
    return path


def test_a_pair_makes_its_provider_ready() -> None:
    made = catalogue(SIGNED, KEYS)
    provider = only(made)
    assert made.ready() == [provider]
    assert (provider.source, provider.is_ready) == (f"env {PAIR}", True)
    assert not provider.key_ring.is_static
    deployment = made.deploy("cloud/model")
    assert isinstance(deployment, Deployment)
    assert deployment.key_ring.signer is provider.key_ring.signer, "a token is fetched once for all models"
    assert not deployment.key_ring.is_static
    assert list(made.secrets()) == [Secret(KEYS["AWS_SECRET_ACCESS_KEY"])]


def test_without_any_credential_both_variables_are_named() -> None:
    made = catalogue(SIGNED, {})
    assert made.ready() == []
    assert made.deploy("cloud/model") == f"cloud has no credential; set {PAIR}"


def test_a_login_that_lacks_its_package_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    made = catalogue(SIGNED, {}, is_named=True)
    expected = (
        f"cloud has no credential; set {PAIR}; a login of this machine needs the extra `aws`: "
        "run `pip install -e '.[aws]'` in Anyport's folder"
    )
    assert made.deploy("cloud/model") == expected


def test_half_a_pair_is_a_problem_only_of_a_provider_that_the_file_names() -> None:
    half = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"}
    reason = "cloud: AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not; both are needed"
    made = catalogue(SIGNED, half)
    assert (made.problems, made.unusable) == ({}, {"cloud": reason})
    assert made.deploy("cloud/model") == reason
    assert catalogue(SIGNED, half, is_named=True).problems == {"cloud": reason}


def test_a_provider_that_the_file_names_may_use_what_the_machine_has() -> None:
    assert catalogue(SIGNED, {}).ready() == []
    (provider,) = catalogue(SIGNED, {}, is_named=True).ready()
    assert provider.source == "aws credential chain"


def test_keys_of_the_file_that_would_stay_here_are_worth_a_warning() -> None:
    row = {"base_url": "http://127.0.0.1:11434", "auth": "bearer_remote_only", "requires_credential": False}
    provider = only(catalogue(row, {}, is_named=True, credentials=["k3y"]))
    assert provider.key_ring.is_empty
    assert provider.warning == (
        "its credentials are not sent to http://127.0.0.1:11434: a server on this machine gets none"
    )


async def test_a_fetched_token_is_told_to_whoever_watches(login: Path) -> None:
    made = catalogue(FETCHED, {ADC: str(login)})
    learned: list[Secret] = []
    made.watch(learned.append, learned.append)
    await only(made).key_ring.sign(REQUEST)
    assert Secret("ya29.t1") in learned
    assert Secret("ya29.t1") in made.secrets()


async def test_the_model_list_is_asked_for_with_a_fetched_token(login: Path) -> None:
    async with ScriptedUpstream([json_response({"data": [{"id": "m"}]})]) as upstream:
        row = {**FETCHED, "base_url": f"{upstream.url}/v1", "headers": {"x-title": "anyport"}}
        probe = await asked(catalogue(row, {ADC: str(login)}))
        (request,) = upstream.requests
    assert (probe.status, probe.models) == ("ok", ("m",))
    assert (request.headers["authorization"], request.headers["x-title"]) == ("Bearer ya29.t1", "anyport")


async def test_a_provider_without_a_model_list_is_checked_by_its_credential(
    login: Path, endpoint: TokenEndpoint
) -> None:
    async with ScriptedUpstream([json_response({}, 404)]) as upstream:
        row = {**FETCHED, "protocol": "bedrock", "base_url": upstream.url}
        probe = await asked(catalogue(row, {ADC: str(login)}))
        assert "authorization" not in upstream.requests[0].headers
    assert (probe.status, probe.models) == ("ok", ())
    assert probe.detail.startswith("there, but without a list of models")
    assert (await asked(catalogue(row, {ADC: str(login)}))).status == "offline"
    endpoint.refusal = {"error": "invalid_grant"}
    probe = await asked(catalogue(row, {ADC: str(login)}))
    assert probe.status == "auth"
    assert "invalid_grant" in probe.detail
    assert "gcloud auth application-default login" in probe.detail


async def asked(made: Catalogue) -> Probe:
    client = ControlClient()
    try:
        discovery = Discovery(made, client, changed=lambda: None, ended=lambda probe: None)
        return await discovery.ask(only(made))
    finally:
        await client.aclose()


async def test_what_a_runtime_fetches_is_never_shown(tmp_path: Path, login: Path) -> None:
    path = tmp_path / "anyport.yaml"
    path.write_text(json.dumps({"providers": {"cloud": FETCHED}, "discovery": {"enabled": False}}))
    environ = {ADC: str(login)}
    runtime = Runtime(load_settings(path, environ), environ)
    try:
        deployment = runtime.catalogue.deploy("cloud/model")
        assert isinstance(deployment, Deployment)
        assert runtime.scrubber.text("said 1//r3fresh") == "said 1//r3fresh", "nobody has read the file yet"
        await deployment.key_ring.sign(REQUEST)
        assert runtime.scrubber.text("said 1//r3fresh client-s3cret") == "said *** ***"
    finally:
        await runtime.aclose()


def test_the_command_line_shows_where_a_signature_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("anyport.yaml").write_text(json.dumps({"providers": {"cloud": SIGNED}}))
    environ = {**KEYS, "AWS_SESSION_TOKEN": "s3ssion-token"}
    listed = CliRunner().invoke(build_app(), ["providers", "list", "--json"], env=environ)
    cloud = next(each for each in json.loads(listed.stdout) if each["id"] == "cloud")
    assert (cloud["state"], cloud["credential_source"]) == ("ready", f"env {PAIR}")
    checked = CliRunner().invoke(build_app(), ["check"], env=environ)
    assert f"1 from env {PAIR}" in checked.stdout
    shown = CliRunner().invoke(build_app(), ["providers", "show", "cloud", "--json"], env=environ)
    assert json.loads(shown.stdout)["credential_variables"] == [
        "ABI_AWS_ACCESS_KEY_ID+ABI_AWS_SECRET_ACCESS_KEY",
        PAIR,
    ]
    for result in (listed, checked, shown):
        assert not any(secret in result.output for secret in (KEYS["AWS_SECRET_ACCESS_KEY"], "s3ssion-token"))


def test_the_command_line_says_why_a_credential_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    unset = dict.fromkeys(("AWS_SECRET_ACCESS_KEY", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"))
    environ = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_REGION": "eu-west-1", **unset}
    listed = CliRunner().invoke(build_app(), ["providers", "list", "--json"], env=environ)
    bedrock = next(each for each in json.loads(listed.stdout) if each["id"] == "bedrock")
    assert bedrock["state"] == "bedrock: AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not; both are needed"
