"""Providers to which no connection comes about, or none that can be trusted: told as such, and another one answers."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import openai
import pytest
import pytest_asyncio
import trustme

from tests.faults.official import count, hear, sdk, settled
from tests.faults.shapes import fine
from tests.faults.stage import Settings, Stage, closed_port, staged
from tests.upstreams.scripted import FIN, RESET, STALL, ScriptedUpstream, raw

pytestmark = pytest.mark.asyncio(loop_scope="module")
CONNECT_SECONDS = 1.0
UNREACHABLE = {
    "refused": (502, "upstream_connection_error", 2),
    "black-hole": (504, "upstream_timeout", 1),
    "no-such-name": (502, "upstream_dns_error", 2),
    "other-authority": (502, "upstream_tls_error", 1),
    "other-name": (502, "upstream_tls_error", 1),
    "expired": (502, "upstream_tls_error", 1),
    "not-tls": (502, "upstream_tls_error", 1),
    "silent-handshake": (504, "upstream_timeout", 1),
}
"""Provider -> status, code, and attempts where it is the only one."""
ENDED = ("reset", "closed")
"""Providers that end every connection at once, before or after it stands."""
every = pytest.mark.parametrize("name", UNREACHABLE)
both = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@contextmanager
def black_hole() -> Iterator[int]:
    """Yields a port that takes no connection and refuses none: its queue is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(8):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def context(authority: trustme.CA, name: str, *, until: datetime | None = None) -> ssl.SSLContext:
    """Returns what a server shows that is called `name`."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=until).configure_cert(made)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    trusted, strange = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(str(folder / "trusted.pem"))
    past = datetime.now(UTC) - timedelta(days=1)
    async with AsyncExitStack() as stack:

        async def serve(upstream: ScriptedUpstream) -> int:
            return (await stack.enter_async_context(upstream)).port

        never = [fine("never")]
        plain = {
            "refused": closed_port(),
            "reset": await serve(ScriptedUpstream(on_connect=raw(RESET))),
            "closed": await serve(ScriptedUpstream(on_connect=raw(FIN))),
            "black-hole": stack.enter_context(black_hole()),
        }
        secure = {
            "other-authority": await serve(ScriptedUpstream(never, ssl_context=context(strange, "127.0.0.1"))),
            "other-name": await serve(ScriptedUpstream(never, ssl_context=context(trusted, "example.org"))),
            "expired": await serve(ScriptedUpstream(never, ssl_context=context(trusted, "127.0.0.1", until=past))),
            "not-tls": await serve(ScriptedUpstream(on_connect=raw(b"HTTP/1.1 400 Bad Request\r\n\r\n", FIN))),
            "silent-handshake": await serve(ScriptedUpstream(on_connect=raw(STALL))),
        }
        urls = {name: f"http://127.0.0.1:{port}/v1" for name, port in plain.items()}
        urls |= {name: f"https://127.0.0.1:{port}/v1" for name, port in secure.items()}
        urls["no-such-name"] = "http://nowhere.invalid/v1"
        environ = {"SSL_CERT_FILE": str(folder / "trusted.pem")}
        yield await stack.enter_async_context(staged(folder, settings(urls), environ))


def settings(urls: dict[str, str]) -> Settings:
    deployments = {name: [{"model": f"{name}/*"}, {"model": "second/*"}] for name in urls}
    return {
        "upstream": {"connect_seconds": CONNECT_SECONDS},
        "providers": {name: {"base_url": url, "credentials": ["k"]} for name, url in urls.items()},
        "routes": {f"{name}-*": {"strategy": "ordered", "deployments": each} for name, each in deployments.items()},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(stage: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(stage) as made:
        yield made


@every
@both
async def test_a_provider_that_cannot_be_reached_is_told_as_such(
    stage: Stage, client: openai.AsyncOpenAI, name: str, stream: bool
) -> None:
    status, code, attempts = UNREACHABLE[name]
    heard = await hear(client, f"{name}/{stage.plays(fine()).name}", stream=stream)
    assert (heard.status, heard.code) == (status, code), heard.error
    if code == "upstream_timeout":
        assert "upstream.connect_seconds" in str(heard.error)
    await settled(stage, heard, attempts=attempts, within=CONNECT_SECONDS * 1.5)


@pytest.mark.parametrize("name", ENDED)
@both
async def test_a_provider_that_ends_every_connection_is_told_as_such(
    stage: Stage, client: openai.AsyncOpenAI, name: str, stream: bool
) -> None:
    heard = await hear(client, f"{name}/{stage.plays(fine()).name}", stream=stream)
    assert heard.status == 502
    assert heard.code in ("upstream_connection_error", "upstream_disconnected"), "before or after the connection stood"
    await settled(stage, heard, attempts=2, within=CONNECT_SECONDS)


@pytest.mark.parametrize("name", [*UNREACHABLE, *ENDED])
async def test_another_deployment_answers_for_one_that_cannot_be_reached(
    stage: Stage, client: openai.AsyncOpenAI, name: str
) -> None:
    scene = stage.plays(fine("never"))
    second = stage.beside(scene, fine("second"))
    heard = await hear(client, f"{name}-{scene.name}", stream=False)
    assert (heard.text, heard.error) == ("second", None)
    await settled(stage, heard, attempts=2, within=CONNECT_SECONDS * 1.5)
    assert count(scene, second) == (0, 1)


@pytest.mark.parametrize("name", ["refused", "black-hole", "other-authority"])
async def test_after_five_failures_nobody_waits_for_a_deployment_that_cannot_be_reached(
    stage: Stage, client: openai.AsyncOpenAI, name: str
) -> None:
    scene = stage.plays(fine("never"))
    second = stage.beside(scene, fine("second"))
    model = f"{name}-{scene.name}"
    early = await asyncio.gather(*(hear(client, model, stream=False) for _ in range(5)))
    later = [await hear(client, model, stream=False) for _ in range(2)]
    assert {one.text for one in (*early, *later)} == {"second"}
    assert [one.headers["x-anyport-attempts"] for one in early] == ["2"] * 5
    assert [one.headers["x-anyport-attempts"] for one in later] == ["1"] * 2
    assert count(second) == (7,)
    await stage.quiet()
