"""Embeddings and lists of models through the official SDK."""

from __future__ import annotations

import base64
import struct
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, NotFoundError, OpenAI

from tests.e2e.answers import completion, vectors
from tests.e2e.conftest import StartGateway
from tests.e2e.stage import Stage
from tests.upstreams.scripted import Answer, Recorded, json_response

VECTORS = [[0.5, -0.25, 1.0], [0.125, 2.0, -3.5]]
"""Numbers that are exact in 32 bits."""


def _text(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _only_floats(request: Recorded) -> Answer:
    return vectors(VECTORS)


def _only_base64(request: Recorded) -> Answer:
    return vectors(_text(vector) for vector in VECTORS)


def _as_asked(request: Recorded) -> Answer:
    body: Any = request.json()
    return _only_base64(request) if body.get("encoding_format") == "base64" else _only_floats(request)


ROLES = pytest.mark.parametrize(
    "role", [_as_asked, _only_floats, _only_base64], ids=["as asked", "floats only", "base64 only"]
)


@ROLES
def test_embeddings_without_an_encoding_come_as_numbers(client: OpenAI, scripted: Stage, role: Any) -> None:
    scripted.play(role)
    answer = client.embeddings.create(model="stub/embed", input=["a", "b"])
    assert [item.embedding for item in answer.data] == VECTORS
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.usage.total_tokens == 4


@ROLES
async def test_embeddings_as_floats_come_as_numbers(async_client: AsyncOpenAI, scripted: Stage, role: Any) -> None:
    scripted.play(role)
    answer = await async_client.embeddings.create(model="stub/embed", input=["a", "b"], encoding_format="float")
    assert [item.embedding for item in answer.data] == VECTORS


@ROLES
def test_embeddings_as_base64_are_little_endian_floats_on_the_wire(anyport: str, scripted: Stage, role: Any) -> None:
    scripted.play(role)
    body = {"model": "stub/embed", "input": ["a", "b"], "encoding_format": "base64"}
    answer = httpx2.post(f"{anyport}/v1/embeddings", json=body).json()
    assert [item["embedding"] for item in answer["data"]] == [_text(vector) for vector in VECTORS]


@ROLES
def test_embeddings_without_an_encoding_on_the_wire_are_numbers(anyport: str, scripted: Stage, role: Any) -> None:
    scripted.play(role)
    answer = httpx2.post(f"{anyport}/v1/embeddings", json={"model": "stub/embed", "input": "a"}).json()
    assert answer["data"][0]["embedding"] == VECTORS[0]


def test_token_ids_and_dimensions_reach_the_upstream_as_they_are(client: OpenAI, scripted: Stage) -> None:
    scripted.play(_as_asked)
    client.embeddings.create(model="stub/embed", input=[[1, 2], [3]], dimensions=3, user="u1")
    sent: Any = scripted.last.json()
    assert sent["input"] == [[1, 2], [3]]
    assert sent["dimensions"] == 3
    assert sent["model"] == "embed"


@pytest.fixture(scope="module")
def listing(gateway: StartGateway, stage: Stage) -> str:
    """A gateway with routes, one of them with slashes and a colon in its name."""
    row = {"protocol": "openai", "base_url": f"{stage.url}/v1", "requires_credential": False}
    return gateway(
        {
            "server": {"access_log": "off"},
            "discovery": {"enabled": False},
            "providers": {"stub": row},
            "routes": {
                "fast": {"deployments": [{"model": "stub/quick"}]},
                "team/large:v2": {"deployments": [{"model": "stub/org/large:v2"}]},
            },
        }
    )


def test_models_are_listed(listing: str) -> None:
    with OpenAI(base_url=f"{listing}/v1", api_key="any") as client:
        models = list(client.models.list())
    assert {"fast", "team/large:v2"} <= {model.id for model in models}
    assert all(model.object == "model" and model.created > 0 and model.owned_by for model in models)


@pytest.mark.parametrize("name", ["fast", "team/large:v2", "stub/org/anything:q4"])
def test_a_model_is_retrieved_whatever_its_name_holds(listing: str, name: str) -> None:
    with OpenAI(base_url=f"{listing}/v1", api_key="any") as client:
        assert client.models.retrieve(name).id == name


@pytest.mark.parametrize("path", ["team%2Flarge%3Av2", "team/large:v2", "team%2flarge:v2"])
def test_a_slash_in_a_models_path_may_be_escaped_or_not(listing: str, path: str) -> None:
    answer = httpx2.get(f"{listing}/v1/models/{path}")
    assert answer.status_code == 200
    assert answer.json()["id"] == "team/large:v2"


def test_an_unknown_model_is_not_retrieved(listing: str) -> None:
    with OpenAI(base_url=f"{listing}/v1", api_key="any") as client, pytest.raises(NotFoundError) as caught:
        client.models.retrieve("nobody/knows")
    assert caught.value.code == "model_not_found"


def test_a_route_with_a_slash_is_called(listing: str, scripted: Stage) -> None:
    scripted.play(json_response(completion()))
    with OpenAI(base_url=f"{listing}/v1", api_key="any") as client:
        client.chat.completions.create(model="team/large:v2", messages=[{"role": "user", "content": "Hi"}])
    sent: Any = scripted.last.json()
    assert sent["model"] == "org/large:v2"
