"""What the end-to-end tests share: gateways by configuration, the scripted upstream, the real llama.cpp server."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.llama import LlamaServer, make_model, start_llama
from tests.e2e.process import GatewayProcess, start_gateway
from tests.e2e.stage import Stage

StartGateway = Callable[[Mapping[str, Any]], str]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartGateway]:
    """Returns the URL of a gateway with the given configuration; equal configurations share one process."""
    running: dict[str, GatewayProcess] = {}

    def start(config: Mapping[str, Any]) -> str:
        name = json.dumps(config, sort_keys=True)
        if name not in running:
            running[name] = start_gateway(tmp_path_factory.mktemp("gateway"), config=config)
            running[name].wait_until_ready()
        return running[name].url

    yield start
    ends = [(process.stop(), process.errors) for process in running.values()]
    assert [(code, errors) for code, errors in ends if code or "Traceback" in errors] == []


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with Stage() as upstream:
        yield upstream


@pytest.fixture
def scripted(stage: Stage) -> Stage:
    """The scripted upstream, with nothing played yet."""
    return stage.play()


@pytest.fixture(scope="session")
def anyport(gateway: StartGateway, stage: Stage) -> str:
    """The gateway that most tests share: providers at the scripted upstream, no key demanded."""
    return gateway(scripted_config(stage.url))


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model of `stub` that no other test asks for: what is held against a deployment outlives a test."""
    return "stub/" + re.sub(r"[^a-z0-9]+", "-", request.node.name).strip("-")


@pytest.fixture
def client(anyport: str) -> Iterator[OpenAI]:
    """The official SDK, which does not try again."""
    with OpenAI(base_url=f"{anyport}/v1", api_key="any", max_retries=0, timeout=20) as made:
        yield made


@pytest.fixture
async def async_client(anyport: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{anyport}/v1", api_key="any", max_retries=0, timeout=20) as made:
        yield made


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the model that llama.cpp serves."""
    if sys.platform != "linux" or sys.version_info >= (3, 14):
        pytest.skip("xllamacpp is asked for on Linux and up to Python 3.13 only (pyproject.toml)")
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def llama(tiny_model: Path) -> Iterator[LlamaServer]:
    """llama.cpp's server for chats."""
    server = start_llama(tiny_model)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def llama_embeddings(tiny_model: Path) -> Iterator[LlamaServer]:
    """llama.cpp's server for embeddings, which it serves only if it serves nothing else."""
    server = start_llama(tiny_model, embeddings=True)
    yield server
    server.stop()


def scripted_config(url: str) -> dict[str, Any]:
    """Returns a configuration whose provider `stub` (and some rows with rules) is the scripted upstream."""
    plain = {"base_url": f"{url}/v1", "requires_credential": False}
    return {
        "server": {"access_log": "off"},
        "discovery": {"enabled": False},
        "providers": {
            "stub": {**plain, "protocol": "openai", "headers": {"x-stub": "yes"}},
            "openai": {**plain, "credentials": ["sk-upstream-secret-0001"]},
            "cerebras": {"base_url": f"{url}/v1", "credentials": ["csk-upstream-secret-0002"]},
        },
        "routes": {"fast": {"deployments": [{"model": "stub/quick"}]}},
    }
