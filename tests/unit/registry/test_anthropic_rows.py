"""The rows that speak Anthropic's Messages API."""

from __future__ import annotations

import pytest

from adapters.types import Operation
from gateway.credentials.resolve import probe_url
from gateway.domain import Connection
from gateway.registry.builtin import load_builtin, to_spec
from gateway.registry.catalogue import Catalogue
from gateway.registry.registry import Registry
from gateway.routing.deployment import Deployment
from tests.unit.registry.test_catalogue import catalogue, deployed


def headers(made: Catalogue, name: str = "anthropic/claude-sonnet-4-5") -> dict[str, str]:
    found: Deployment = deployed(made.deploy(name))
    return dict((*found.target.headers, *found.key_ring.headers()))


def test_a_key_goes_in_its_own_header_beside_the_version() -> None:
    made = headers(catalogue({"ANTHROPIC_API_KEY": "sk-ant-api03-x"}))
    assert made == {"anthropic-version": "2023-06-01", "x-api-key": "sk-ant-api03-x"}


def test_a_token_of_a_login_is_a_bearer_and_comes_first() -> None:
    made = headers(catalogue({"ANTHROPIC_OAUTH_TOKEN": "sk-ant-oat01-x", "ANTHROPIC_API_KEY": "sk-ant-api03-y"}))
    assert made["authorization"] == "Bearer sk-ant-oat01-x"
    assert made["anthropic-beta"] == "oauth-2025-04-20"
    assert "x-api-key" not in made


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://proxy.example.com", "https://proxy.example.com/v1/messages"),
        ("https://proxy.example.com/v1", "https://proxy.example.com/v1/messages"),
        ("https://proxy.example.com/anthropic", "https://proxy.example.com/anthropic/v1/messages"),
        ("https://proxy.example.com/v1/messages", "https://proxy.example.com/v1/messages"),
    ],
)
def test_the_path_is_joined_to_any_base(base: str, url: str) -> None:
    made = catalogue({"ANTHROPIC_COMPATIBLE_BASE_URL": base})
    assert deployed(made.deploy("anthropic-compatible/m")).target.paths[Operation.CHAT] == url


def test_a_compatible_server_needs_its_url_and_no_key() -> None:
    lacking = catalogue().deploy("anthropic-compatible/m")
    assert isinstance(lacking, str) and "ANTHROPIC_COMPATIBLE" in lacking
    assert headers(catalogue({"ANTHROPIC_COMPATIBLE_BASE_URL": "https://h"}), "anthropic_compatible/m") == {
        "anthropic-version": "2023-06-01"
    }


def test_a_url_of_the_file_may_speak_the_messages_api() -> None:
    made = catalogue({"ANTHROPIC_COMPATIBLE_API_KEY": "k-1"})
    found = deployed(made.custom("anthropic-custom:http://127.0.0.1:9/Api", "m/x"))
    assert found.adapter.protocol == "anthropic"
    assert found.target.paths[Operation.CHAT] == "http://127.0.0.1:9/Api/v1/messages"
    assert dict(found.key_ring.headers()) == {"x-api-key": "k-1"}
    assert "127.0.0.1" not in found.id, "clients see the id"
    refused = made.deploy("anthropic-custom:http://169.254.169.254/m")
    assert isinstance(refused, str) and "configuration file" in refused


def test_the_names_mean_these_rows(registry: Registry) -> None:
    claude = registry.get("Claude")
    assert claude is not None and claude.spec.id == "anthropic"
    split = registry.split_model("anthropic/claude-sonnet-4")
    assert split is not None and (split.spec.id, split.model) == ("anthropic", "claude-sonnet-4")
    custom = registry.get("anthropic-custom:http://localhost:1")
    assert custom is not None and custom.spec.connection is Connection.LOCAL
    assert probe_url(claude.spec, claude.spec.base_url) == "https://api.anthropic.com/v1/models?limit=1000"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(to_spec(name, row) for name, row in load_builtin().items())
