"""A deployment with several keys: what one is refused, the next gets at once, and refused keys rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import openai
import pytest
import pytest_asyncio

from tests.faults.official import Heard, count, hear, sdk, settled
from tests.faults.shapes import fine
from tests.faults.stage import Scene, Settings, Stage
from tests.faults.trouble import said
from tests.upstreams.scripted import Answer as Played
from tests.upstreams.scripted import Recorded

pytestmark = pytest.mark.asyncio(loop_scope="module")
REFUSALS: dict[str, tuple[Callable[[], Played], int, str]] = {
    "unauthorized": (said(401, code="invalid_api_key"), 502, "upstream_auth_error"),
    "no money": (said(402), 429, "insufficient_quota"),
    "forbidden": (said(403), 502, "upstream_auth_error"),
    "limited": (said(429, ("retry-after", "60")), 429, "rate_limit_exceeded"),
    "used up": (said(429, code="insufficient_quota"), 429, "insufficient_quota"),
}
USES = ("one", "both", "elsewhere")
each = pytest.mark.parametrize("name", REFUSALS)


def keys_of(name: str, use: str) -> list[str]:
    return [f"key-{number}-for-{name.replace(' ', '-')}-{use}" for number in (1, 2)]


def route_of(name: str, use: str) -> str:
    return f"{name.replace(' ', '-')}-{use}"


def routes() -> Settings:
    made: Settings = {}
    for name in REFUSALS:
        for use in USES:
            keyed = {"model": "up/*", "name": route_of(name, use), "keys": keys_of(name, use)}
            deployments = [keyed, *([{"model": "second/*"}] if use == "elsewhere" else [])]
            made[f"{route_of(name, use)}-*"] = {"strategy": "ordered", "deployments": deployments}
    return made


SETTINGS = {"routes": routes()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(stage: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(stage) as made:
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _no_key_is_anywhere(stage: Stage) -> AsyncIterator[None]:
    yield
    for text in (stage.gateway.log, stage.gateway.access_path.read_text()):
        assert "key-1-for" not in text
        assert "key-2-for" not in text


def used(scene: Scene) -> list[str]:
    """Returns the number of the key of every request."""
    return [request.headers["authorization"].removeprefix("Bearer key-")[0] for request in scene.requests]


async def ask(client: openai.AsyncOpenAI, scene: Scene, name: str, use: str) -> Heard:
    return await hear(client, f"{route_of(name, use)}-{scene.name}", stream=False)


@each
async def test_the_next_key_is_used_at_once_and_the_refused_one_rests(
    stage: Stage, client: openai.AsyncOpenAI, name: str
) -> None:
    refusal = REFUSALS[name][0]

    def plays(recorded: Recorded) -> Played:
        return refusal() if "key-1-" in recorded.headers["authorization"] else fine()

    scene = stage.plays(plays)
    heard = await ask(client, scene, name, "one")
    assert (heard.text, heard.error) == ("fine", None)
    await settled(stage, heard, attempts=2, within=0.5)
    for _ in range(4):
        assert (await ask(client, scene, name, "one")).headers["x-anyport-attempts"] == "1"
    assert used(scene) == ["1", *"22222"]


@each
async def test_where_all_keys_are_refused_the_client_hears_why_and_later_requests_at_once(
    stage: Stage, client: openai.AsyncOpenAI, name: str
) -> None:
    refusal, status, code = REFUSALS[name]
    scene = stage.plays(refusal())
    heard = await ask(client, scene, name, "both")
    assert (heard.status, heard.code) == (status, code)
    assert sorted(used(scene)) == ["1", "2"]
    await settled(stage, heard, attempts=2, within=0.5)
    again = await ask(client, scene, name, "both")
    assert (again.status, again.code) == (status, code)
    seconds = int(again.headers["retry-after"])
    assert seconds > 30 if name == "limited" else 1 <= seconds <= 5, "what we guess is tried again sooner"
    assert count(scene) == (2,), "keys that were refused rest"
    await settled(stage, again, attempts=0, within=0.5)


@each
async def test_where_all_keys_are_refused_another_deployment_answers(
    stage: Stage, client: openai.AsyncOpenAI, name: str
) -> None:
    scene = stage.plays(REFUSALS[name][0]())
    second = stage.beside(scene, fine("second"))
    for attempts in (3, 1, 1):
        heard = await ask(client, scene, name, "elsewhere")
        assert (heard.text, heard.error) == ("second", None)
        await settled(stage, heard, attempts=attempts, within=0.5)
    assert count(scene, second) == (2, 3)
