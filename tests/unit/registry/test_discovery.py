"""Finding model servers on loopback sockets: whose answer it is, what they serve, and how it comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from adapters.types import Headers
from gateway.domain import AuthScheme, Connection, ProviderSpec
from gateway.registry.catalogue import Catalogue
from gateway.registry.discovery import Discovery, Probe, model_ids
from gateway.registry.registry import Registry
from gateway.settings.provider import ProviderRow
from gateway.transport.control import ControlClient, ControlReply
from tests.upstreams.scripted import Answer, Recorded, ScriptedUpstream, json_response, raw, response

MODELS = {"object": "list", "data": [{"id": "m1", "object": "model"}, {"id": "m2", "object": "model"}]}
NOT_FOUND = json_response({"error": "Not Found"}, 404)
NOWHERE = "http://127.0.0.1:1/v1"
Pages = Callable[[Recorded], Answer]


def pages(**answers: Answer) -> Pages:
    """Returns a server with these paths; `v1_models` stands for /v1/models."""
    table = {"/" + name.replace("_", "/"): answer for name, answer in answers.items()}
    return lambda request: table.get(request.path, NOT_FOUND)


LLAMA_CPP = pages(v1_models=json_response(MODELS), props=json_response({"chat_template": ""}))
TGI = pages(v1_models=json_response(MODELS), info=json_response({"model_id": "m1", "router": "x"}))
MLX = pages(v1_models=json_response(MODELS))


def local(id: str, base_url: str, **fields: Any) -> ProviderSpec:
    values = {"requires_credential": False, "connection": Connection.LOCAL, **fields}
    return ProviderSpec(id=id, display_name=id, protocol="openai", base_url=base_url, **values)


@dataclass
class World:
    """A discovery over these providers, and what it told."""

    catalogue: Catalogue
    client: ControlClient
    changes: int = 0
    ended: list[Probe] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.discovery = Discovery(self.catalogue, self.client, changed=self._changed, ended=self.ended.append)

    def _changed(self) -> None:
        self.changes += 1

    @property
    def models(self) -> dict[str, tuple[str, ...]]:
        return dict(self.catalogue.listing.models)


@asynccontextmanager
async def world(
    *specs: ProviderSpec,
    environ: dict[str, str] | None = None,
    rows: dict[str, ProviderRow] | None = None,
    client: ControlClient | None = None,
) -> AsyncIterator[World]:
    client = client or ControlClient()
    try:
        yield World(Catalogue(Registry(specs), rows or {}, environ or {}), client)
    finally:
        await client.aclose()


def three(place: str, second: str = NOWHERE) -> list[ProviderSpec]:
    """Returns the three rows that share a default port."""
    return [
        local("tgi", place, probe="/info"),
        local("mlx", place, regions={"alt": second}),
        local("llama-cpp", place, probe="/props"),
    ]


def statuses(probes: list[Probe]) -> dict[str, str]:
    return {probe.provider.spec.id: probe.status for probe in probes}


@pytest.mark.parametrize(("server", "owner"), [(LLAMA_CPP, "llama-cpp"), (TGI, "tgi"), (MLX, "mlx")])
async def test_a_shared_port_belongs_to_one_row(server: Pages, owner: str) -> None:
    async with ScriptedUpstream(server) as upstream, world(*three(upstream.url + "/v1")) as found:
        probes = await found.discovery.look_local()
    assert {id for id, status in statuses(probes).items() if status == "ok"} == {owner}
    assert found.models == {owner: ("m1", "m2")}
    assert found.changes == 1
    others = [probe for probe in probes if probe.provider.spec.id != owner and probe.base_url != NOWHERE]
    assert all(owner in probe.detail for probe in others)


async def test_llama_cpp_is_known_by_its_server_header_even_behind_a_key() -> None:
    def server(request: Recorded) -> Answer:
        if request.path == "/v1/models":
            return json_response(MODELS)
        return json_response({"error": {"message": "Invalid API Key"}}, 401, [("Server", "llama.cpp")])

    async with ScriptedUpstream(server) as upstream, world(*three(upstream.url + "/v1")) as found:
        await found.discovery.look_local()
    assert found.models == {"llama-cpp": ("m1", "m2")}


async def test_a_key_goes_to_the_server_that_it_was_made_for_and_to_no_other() -> None:
    """Three rows share a port: whoever listens there learns no key but its own."""
    async with ScriptedUpstream(LLAMA_CPP) as upstream:
        specs = [
            local("tgi", f"{upstream.url}/v1", probe="/info", credential_envs=("TGI_API_KEY",)),
            local("mlx", f"{upstream.url}/v1", credential_envs=("MLX_API_KEY",)),
            local("llama-cpp", f"{upstream.url}/v1", probe="/props", credential_envs=("LLAMA_API_KEY",)),
        ]
        keys = {"TGI_API_KEY": "of-tgi", "MLX_API_KEY": "of-mlx", "LLAMA_API_KEY": "of-llama"}
        async with world(*specs, environ=keys) as found:
            assert statuses(await found.discovery.look_local())["llama-cpp"] == "ok"
        told = {value for request in upstream.requests for value in request.headers.values() if "of-" in value}
        assert told == {"Bearer of-llama"}


async def test_a_server_on_its_second_port_is_found_and_called_there() -> None:
    async with ScriptedUpstream(MLX) as upstream:
        place = upstream.url + "/v1"
        async with world(*three(NOWHERE, second=place)) as found:
            probes = await found.discovery.look_local()
            deployment = found.catalogue.deploy("mlx/m1")
    assert statuses(probes) == {"tgi": "offline", "mlx": "ok", "llama-cpp": "offline"}
    assert not isinstance(deployment, str)
    assert deployment.target.base_url == place


async def test_two_servers_at_the_two_ports_are_both_found() -> None:
    async with (
        ScriptedUpstream(LLAMA_CPP) as first,
        ScriptedUpstream(MLX) as second,
        world(*three(first.url + "/v1", second=second.url + "/v1")) as found,
    ):
        probes = await found.discovery.look_local()
    assert statuses(probes) == {"tgi": "offline", "mlx": "ok", "llama-cpp": "ok"}


async def test_a_configured_place_is_the_only_one_asked() -> None:
    async with ScriptedUpstream(MLX) as upstream:
        row = ProviderRow(base_url=upstream.url + "/v1")
        async with world(*three(NOWHERE, second=NOWHERE), rows={"mlx": row}) as found:
            await found.discovery.look_local()
        assert {request.path for request in upstream.requests} == {"/v1/models"}
    assert found.models == {"mlx": ("m1", "m2")}


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (json_response({"error": "no"}, 401), "auth", "HTTP 401"),
        (json_response({"error": "no"}, 403), "auth", "HTTP 403"),
        (json_response({"error": "no"}, 500), "error", "HTTP 500"),
        (json_response({}, 404), "error", "HTTP 404"),
        (raw(response(302, [("location", "http://127.0.0.1:1/")])), "error", "HTTP 302"),
        (raw(response(200, [], b"<html>")), "error", "not a list of models"),
        (raw(response(200, [], b"")), "error", "not a list of models"),
        (json_response({"data": "x"}), "error", "not a list of models"),
        (json_response("ollama is running"), "error", "not a list of models"),
        (raw(response(200, [], b"[" * 100_000)), "error", "not a list of models"),
    ],
)
async def test_an_answer_that_is_no_list_is_told_as(answer: Answer, status: str, detail: str) -> None:
    async with ScriptedUpstream([answer]) as upstream, world(local("vllm", upstream.url + "/v1")) as found:
        (probe,) = await found.discovery.look_local()
    assert (probe.status, probe.detail, probe.models) == (status, detail, ())
    assert (found.models, found.changes) == ({}, 0)
    assert found.ended == [probe]


async def test_what_does_not_speak_http_is_no_server_of_ours() -> None:
    ssh = [raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")]
    async with ScriptedUpstream(ssh) as upstream, world(local("vllm", upstream.url + "/v1")) as found:
        (probe,) = await found.discovery.look_local()
    assert probe.status == "offline"
    assert probe.detail


async def test_nobody_there_is_offline() -> None:
    async with world(local("vllm", NOWHERE)) as found:
        (probe,) = await found.discovery.look_local()
    assert (probe.status, found.models) == ("offline", {})


async def test_models_come_and_go() -> None:
    state: dict[str, Answer] = {"/v1/models": json_response({"data": [{"id": "m1"}]})}
    server = ScriptedUpstream(lambda request: state[request.path])
    async with server as upstream, world(local("vllm", upstream.url + "/v1")) as found:
        await found.discovery.look_local()
        assert (found.models, found.changes) == ({"vllm": ("m1",)}, 1)
        await found.discovery.look_local()
        assert found.changes == 1, "nothing changed"
        state["/v1/models"] = json_response({"data": [{"id": "m2"}, {"id": "m3"}]})
        await found.discovery.look_local()
        assert (found.models, found.changes) == ({"vllm": ("m2", "m3")}, 2)
        state["/v1/models"] = json_response({}, 500)
        await found.discovery.look_local()
        assert (found.models, found.changes) == ({}, 3)


HOSTED = ProviderSpec(
    id="together",
    display_name="Together",
    protocol="openai",
    base_url="https://together.test/v1",
    credential_envs=("TOGETHER_API_KEY",),
    auth=AuthScheme(),
    headers=(("x-title", "anyport"),),
)
KEY = {"TOGETHER_API_KEY": "tk-1"}


class Rerouted(ControlClient):
    """Brings what is meant for a host on the internet to a server on loopback."""

    def __init__(self, to: ScriptedUpstream) -> None:
        super().__init__()
        self._to = to

    async def get(self, url: str, *, headers: Headers = (), timeout_seconds: float) -> ControlReply:
        assert url.startswith("https://together.test/")
        url = url.replace("https://together.test", self._to.url)
        return await super().get(url, headers=headers, timeout_seconds=timeout_seconds)


async def test_a_hosted_provider_with_a_key_is_asked_with_it() -> None:
    async with ScriptedUpstream([json_response([{"id": "a/b"}, {"id": "c/d"}])]) as upstream:
        async with world(HOSTED, environ=KEY, client=Rerouted(upstream)) as found:
            assert await found.discovery.look_local() == []
            (probe,) = await found.discovery.look_hosted()
        (request,) = upstream.requests
    assert (probe.status, probe.models) == ("ok", ("a/b", "c/d")), "a bare array is Together's list"
    assert (request.method, request.path) == ("GET", "/v1/models")
    assert (request.headers["authorization"], request.headers["x-title"]) == ("Bearer tk-1", "anyport")
    assert found.models == {"together": ("a/b", "c/d")}


async def test_a_hosted_provider_without_a_key_is_not_asked() -> None:
    async with ScriptedUpstream([json_response([])]) as upstream:
        async with world(HOSTED, client=Rerouted(upstream)) as found:
            assert await found.discovery.look_hosted() == []
        assert upstream.requests == []


async def test_a_hosted_list_outlives_an_outage() -> None:
    answers = [json_response([{"id": "a"}]), json_response({}, 500)]
    server = ScriptedUpstream(answers)
    async with server as upstream, world(HOSTED, environ=KEY, client=Rerouted(upstream)) as found:
        assert statuses(await found.discovery.look_hosted()) == {"together": "ok"}
        assert statuses(await found.discovery.look_hosted()) == {"together": "error"}
    assert found.models == {"together": ("a",)}


async def test_it_keeps_looking_until_it_is_cancelled() -> None:
    async with ScriptedUpstream(MLX) as upstream, world(local("vllm", upstream.url + "/v1")) as found:
        task = asyncio.create_task(found.discovery.run(0.01))
        async with asyncio.timeout(30):
            await found.discovery.first_done.wait()
            await upstream.wait_for_requests(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert found.models == {"vllm": ("m1", "m2")}


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        (b'{"data":[{"id":"a"},{"id":"b"},{"id":"a"}]}', ("a", "b")),
        (b'{"object":"list","data":[]}', ()),
        (b"[]", ()),
        (b'[{"id":"a"}]', ("a",)),
        (b'{"models":[{"name":"a"},{"name":"b","id":"c"}]}', ("a", "c")),
        (b'{"data":[{"id":5},{"id":""},{},null,"x",{"id":"a"}]}', ("a",)),
        (b'{"models":[{"name":"models/gemini-2.5-pro","version":"001"}]}', ("gemini-2.5-pro",)),
        (b'{"data":null}', None),
        (b'{"data":{}}', None),
        (b"{}", None),
        (b"5", None),
        (b"null", None),
        (b'"x"', None),
        (b"<html>", None),
        (b"", None),
        (b'{"data":[{"id":"\xff"}]}', None),
        (b"[" * 100_000, None),
    ],
)
def test_model_lists_in_any_of_their_shapes(body: bytes, ids: tuple[str, ...] | None) -> None:
    assert model_ids(body) == ids


def test_a_list_is_cut_at_its_cap() -> None:
    body = ("[" + ",".join(f'{{"id":"m{number}"}}' for number in range(6_000)) + "]").encode()
    assert len(model_ids(body) or ()) == 5_000
