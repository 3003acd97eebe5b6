"""Ollama among the providers: where it is, what it lists, how long it is waited for."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.ollama import OllamaAdapter
from adapters.types import Operation
from gateway.domain import ProviderSpec
from gateway.registry.builtin import layer, load_builtin, to_spec
from gateway.registry.catalogue import Catalogue
from gateway.registry.discovery import Discovery, Probe
from gateway.registry.registry import Registry
from gateway.registry.waits import Patience
from gateway.routing.deployment import Deployment
from gateway.settings.provider import ProviderRow
from gateway.transport.control import ControlClient
from tests.upstreams.scripted import ScriptedUpstream, json_response

ROWS = load_builtin()
CLOUD = to_spec("ollama-cloud", ROWS["ollama-cloud"])
KEY = {"OLLAMA_API_KEY": "k"}
TAGS = {
    "models": [
        {"name": "llama3.2:3b", "model": "llama3.2:3b", "size": 1, "details": {"family": "llama"}},
        {"name": "gpt-oss:120b-cloud", "model": "gpt-oss:120b-cloud", "remote_host": "https://ollama.com:443"},
    ]
}


def catalogue(environ: dict[str, str], **fields: Any) -> Catalogue:
    row = ProviderRow.model_validate(fields)
    specs: list[ProviderSpec] = [to_spec("ollama", layer(ROWS["ollama"], row)), CLOUD]
    return Catalogue(Registry(specs), {"ollama": row} if fields else {}, environ)


def deployed(name: str, environ: dict[str, str], **fields: Any) -> Deployment:
    found = catalogue(environ, **fields).deploy(name)
    assert isinstance(found, Deployment), found
    return found


def test_it_is_called_over_its_own_protocol() -> None:
    found = deployed("ollama/llama3.2:3b", {})
    assert isinstance(found.adapter, OllamaAdapter)
    assert found.target.model == "llama3.2:3b"
    assert found.target.paths == {
        Operation.CHAT: "http://127.0.0.1:11434/api/chat",
        Operation.COMPLETIONS: "http://127.0.0.1:11434/api/generate",
        Operation.EMBEDDINGS: "http://127.0.0.1:11434/api/embed",
    }


@pytest.mark.parametrize("host", ["", "0.0.0.0", "localhost:1", "http://127.0.0.1:11434/v1", ":1234", "[::]"])
def test_a_server_on_this_machine_gets_no_key(host: str) -> None:
    found = deployed("ollama/m", KEY | {"OLLAMA_HOST": host})
    assert found.key_ring.headers() == ()
    assert not found.target.has_credential


@pytest.mark.parametrize("host", ["https://ollama.com", "ollama.com", "192.168.1.100"])
def test_a_server_elsewhere_gets_the_key(host: str) -> None:
    found = deployed("ollama/m", KEY | {"OLLAMA_HOST": host})
    assert found.key_ring.headers() == (("authorization", "Bearer k"),)
    assert found.target.has_credential


def test_a_base_url_with_its_api_in_it_means_the_server() -> None:
    found = deployed("ollama-cloud/gpt-oss:120b-cloud", KEY | {"OLLAMA_CLOUD_HOST": "https://ollama.com/api"})
    assert found.target.paths[Operation.CHAT] == "https://ollama.com/api/chat"
    assert found.key_ring.headers() == (("authorization", "Bearer k"),)


def test_a_base_url_of_the_file_may_be_that_of_its_other_api() -> None:
    found = deployed("ollama/m", {}, base_url="http://127.0.0.1:7/v1")
    assert found.target.paths[Operation.CHAT] == "http://127.0.0.1:7/api/chat"


def test_the_cloud_needs_a_key() -> None:
    assert "OLLAMA_API_KEY" in str(catalogue({}).deploy("ollama-cloud/qwen3:cloud"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30),
        (" 7 ", 7),
        ("0.5", 0.5),
        ("abc", 120),
        ("0", 120),
        ("-5", 120),
        ("", 120),
        ("nan", 120),
        ("inf", 120),
    ],
)
def test_the_environment_says_how_long_to_wait_if_it_makes_sense(value: str, seconds: float) -> None:
    patience = catalogue({"OLLAMA_HTTP_TIMEOUT": value}).patience("ollama")
    assert patience is not None
    assert patience.seconds == seconds


def test_what_is_waited_for_names_where_it_is_set() -> None:
    env = {"OLLAMA_HTTP_TIMEOUT": "30"}
    row = "providers.ollama.timeout_seconds"
    assert catalogue(env).patience("ollama") == Patience(30, "env OLLAMA_HTTP_TIMEOUT")
    assert catalogue({}).patience("ollama") == Patience(120, row)
    assert catalogue(env, timeout_seconds=9).patience("ollama") == Patience(9, row)
    assert catalogue(env | KEY).patience("ollama-cloud") is None


@pytest.mark.parametrize(
    ("fields", "models"),
    [({}, ("llama3.2:3b",)), ({"options": {"cloud_suffix": "keep"}}, ("llama3.2:3b", "gpt-oss:120b-cloud"))],
)
async def test_its_own_list_is_read_and_models_that_it_would_not_be_sent_are_left_out(
    fields: dict[str, Any], models: tuple[str, ...]
) -> None:
    ended: list[Probe] = []
    client = ControlClient()
    async with ScriptedUpstream([json_response(TAGS)]) as upstream:
        found = catalogue({"OLLAMA_HOST": upstream.url + "/v1"} | KEY, **fields)
        await Discovery(found, client, changed=lambda: None, ended=ended.append).look_local()
        assert [request.path for request in upstream.requests] == ["/api/tags"]
        assert all("authorization" not in dict(request.headers) for request in upstream.requests)
    await client.aclose()
    assert [probe.models for probe in ended] == [models]
