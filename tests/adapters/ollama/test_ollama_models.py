"""Where a model runs: the marks at the end of an id."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.errors import Unsupported
from adapters.hosts import is_local_host
from adapters.ollama.models import read_mark
from gateway.registry.builtin import layer, load_builtin, to_spec
from gateway.registry.catalogue import Catalogue
from gateway.registry.registry import Registry
from gateway.routing.deployment import Deployment
from gateway.settings.provider import ProviderRow
from tests.adapters.ollama.asking import ADAPTER, asked, body, call, target

CLOUD = "https://ollama.com"


@pytest.mark.parametrize(
    ("model", "name", "mark"),
    [
        ("qwen3:cloud", "qwen3", "cloud"),
        ("gpt-oss:120b-cloud", "gpt-oss:120b", "cloud"),
        ("gpt-oss:20b:cloud", "gpt-oss:20b", "cloud"),
        ("QWEN3:Cloud", "QWEN3", "cloud"),
        ("my-cloud", "my-cloud", ""),
        ("localhost:5000/ns/m-cloud", "localhost:5000/ns/m-cloud", ""),
        ("m:local", "m", "local"),
        ("llama3.2:3b", "llama3.2:3b", ""),
        ("m:-cloud", "m:-cloud", ""),
        (":cloud", ":cloud", ""),
    ],
)
def test_a_mark_is_read_as_the_server_reads_it(model: str, name: str, mark: str) -> None:
    assert read_mark(model) == (name, mark)


@pytest.mark.parametrize("model", ["gpt-oss:120b-cloud", "gpt-oss:120b:cloud"])
def test_a_remote_server_is_sent_the_model_without_the_mark(model: str) -> None:
    assert body(target(model, CLOUD))["model"] == "gpt-oss:120b"


@pytest.mark.parametrize("base_url", ["http://localhost:11434", "http://127.9.9.9:1", "http://[::1]:11434"])
def test_a_cloud_model_at_a_local_endpoint_is_refused_before_anything_is_sent(base_url: str) -> None:
    with pytest.raises(Unsupported, match="local endpoint") as refused:
        asked(target("qwen3:cloud", base_url))
    assert refused.value.param == "model"
    assert "OLLAMA_API_KEY" in refused.value.message


def test_a_server_that_is_signed_in_is_sent_the_mark() -> None:
    kept = target("qwen3:cloud", "http://127.0.0.1:11434", cloud_suffix="keep")
    assert body(kept)["model"] == "qwen3:cloud"


def test_two_marks_are_refused() -> None:
    for model in ("m:local:cloud", "m:cloud:local"):
        with pytest.raises(Unsupported, match="not both"):
            asked(target(model, CLOUD))


@pytest.mark.parametrize("model", ["llama3.2:3b", "hf.co/a/b:Q4_K_M", "m:local", "registry:5000/ns/m-cloud"])
def test_any_other_id_is_sent_as_it_is(model: str) -> None:
    assert body(target(model, "http://127.0.0.1:11434"))["model"] == model


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://localhost:1", True),
        ("http://a.localhost.", True),
        ("http://0.0.0.0", True),
        ("http://[::]", True),
        ("http://[::ffff:127.0.0.1]", True),
        ("http://192.168.1.100:11434", False),
        ("http://localhost.example.com", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_this_machine_is_known_by_its_names_and_addresses(url: str, is_local: bool) -> None:
    assert is_local_host(url) is is_local


def test_a_cloud_model_without_a_credential_is_refused_before_anything_is_sent() -> None:
    keyless = replace(target("qwen3:cloud", CLOUD), has_credential=False)
    with pytest.raises(Unsupported, match="OLLAMA_API_KEY"):
        asked(keyless)
    assert body(replace(keyless, model="llama3"))["model"] == "llama3"


def deployed(model: str, base_url: str) -> Deployment:
    """Returns a deployment of a provider whose key and base URL stand in the operator's file."""
    row = ProviderRow.model_validate({"base_url": base_url, "credentials": ["k"]})
    spec = to_spec("ollama", layer(load_builtin()["ollama"], row))
    found = Catalogue(Registry([spec]), {"ollama": row}, {}).deploy(f"ollama/{model}")
    assert isinstance(found, Deployment)
    return found


def test_a_server_on_this_machine_gets_no_key_even_if_the_operators_file_has_one() -> None:
    found = deployed("llama3.2:3b", "http://localhost:11434")
    sent = ADAPTER.request(call(), found.target)
    assert sent.url == "http://localhost:11434/api/chat"
    assert b'"model":"llama3.2:3b"' in sent.body
    assert (*sent.headers, *found.key_ring.headers()) == (("content-type", "application/json"),)


def test_the_cloud_is_asked_at_its_own_api_with_the_key_and_without_the_mark() -> None:
    found = deployed("gpt-oss:120b-cloud", "https://ollama.com/api")
    sent = ADAPTER.request(call(), found.target)
    assert sent.url == "https://ollama.com/api/chat"
    assert b'"model":"gpt-oss:120b"' in sent.body
    assert found.key_ring.headers() == (("authorization", "Bearer k"),)
