"""What one deployment does wrong before its answer has begun, the next one mends, or one honest error says why."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio

from tests.faults.official import count, hear, replaced, sdk, settled
from tests.faults.shapes import FINISH, ROLE, WORDS, event, fine
from tests.faults.stage import Scene, Stage
from tests.faults.streaming import GOOD_BODY, stream_of
from tests.faults.trouble import ALL, CAP, WAIT_SECONDS, Trouble, said
from tests.upstreams.scripted import FIN, RESET, STALL, Recorded
from tests.upstreams.scripted import Answer as Played

pytestmark = pytest.mark.asyncio(loop_scope="module")
TOTAL_SECONDS = 6
SECRET = "key-that-nobody-must-see"
SETTINGS = {
    "upstream": {
        "head_seconds": WAIT_SECONDS,
        "answer_seconds": WAIT_SECONDS,
        "first_token_seconds": WAIT_SECONDS,
        "between_tokens_seconds": WAIT_SECONDS,
        "total_seconds": TOTAL_SECONDS,
        "max_response_bytes": CAP,
    },
}
ENVIRON = {"UPSTREAM_KEY": SECRET}
CASES = [
    pytest.param(name, stream, id=f"{name}-{'stream' if stream else 'json'}")
    for name, trouble in ALL.items()
    for stream in trouble.streams
]
every_trouble = pytest.mark.parametrize(("name", "stream"), CASES)
both = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
ACCOUNT = ("refused credential", "no money")
"""What puts a provider's key aside for all models."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(stage: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(stage) as made:
        yield made


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _no_secret_and_no_bug(stage: Stage) -> AsyncIterator[None]:
    yield
    for text in (stage.gateway.log, stage.gateway.access_path.read_text()):
        assert SECRET not in text
        assert "Traceback" not in text


def good(recorded: Recorded) -> Played:
    """Answers as the request asks for."""
    return stream_of(GOOD_BODY) if b'"stream":true' in recorded.body.replace(b" ", b"") else fine("Hello, wörld")


def troubled(stage: Stage, name: str) -> Scene:
    trouble = ALL[name]
    return stage.plays(lambda recorded: trouble.plays(), alone=name in ACCOUNT)


def within(trouble: Trouble) -> float:
    return WAIT_SECONDS * 2 if trouble.code == "upstream_timeout" else 1.0


def more(name: str, *scenes: Scene) -> int:
    """Returns how many requests were replaced at once, and so count for nothing."""
    return replaced(*scenes) if name in ("reset", "close") else 0


@every_trouble
async def test_a_trouble_of_the_only_deployment_is_one_error(
    stage: Stage, client: openai.AsyncOpenAI, name: str, stream: bool
) -> None:
    trouble = ALL[name]
    scene = troubled(stage, name)
    heard = await hear(client, scene.model, stream=stream)
    assert (heard.status, heard.code) == (trouble.status, trouble.code), heard.error
    assert SECRET not in str(heard.error)
    attempts = trouble.alone + more(name, scene)
    assert count(scene) == (attempts,)
    assert [deployment for deployment, _ in heard.attempts] == [scene.model] * attempts
    await settled(stage, heard, attempts=attempts, within=within(trouble))


@every_trouble
async def test_the_next_deployment_answers_what_the_first_could_not(
    stage: Stage, client: openai.AsyncOpenAI, name: str, stream: bool
) -> None:
    first = troubled(stage, name)
    second = stage.beside(first, good)
    heard = await hear(client, first.model, stream=stream)
    assert (heard.text, heard.error) == ("Hello, wörld", None)
    assert count(first, second) == (1 + more(name, first), 1)
    record = await settled(stage, heard, attempts=2 + more(name, first), within=within(ALL[name]))
    assert record["provider"] == "second"
    assert record["fallback"] is None


@every_trouble
async def test_a_fallback_answers_what_the_route_could_not(
    stage: Stage, client: openai.AsyncOpenAI, name: str, stream: bool
) -> None:
    first = troubled(stage, name)
    fallback = stage.behind(first, good)
    heard = await hear(client, first.model, stream=stream)
    assert (heard.text, heard.error) == ("Hello, wörld", None)
    assert count(first, fallback) == (1 + more(name, first), 1)
    record = await settled(stage, heard, attempts=2 + more(name, first), within=within(ALL[name]))
    assert (record["provider"], bool(record["fallback"])) == ("second", True)


@both
@pytest.mark.parametrize("name", ["reset", "silence", "internal error", "too many requests for an hour", "redirect"])
async def test_where_both_fail_the_client_hears_one_error_that_names_every_attempt(
    stage: Stage, client: openai.AsyncOpenAI, name: str, stream: bool
) -> None:
    first = troubled(stage, name)
    second = stage.beside(first, lambda recorded: ALL[name].plays())
    heard = await hear(client, first.model, stream=stream)
    assert (heard.status, heard.code) == (ALL[name].status, ALL[name].code)
    attempts = sum(count(first, second))
    assert 2 <= attempts - more(name, first, second) <= 4
    assert len(heard.attempts) == attempts
    assert {deployment for deployment, _ in heard.attempts} == {f"up/{first.name}", f"second/{first.name}"}
    await settled(stage, heard, attempts=attempts, within=WAIT_SECONDS * 4)


# What no other deployment would mend


OWN = {
    "bad request": (said(400, code="unsupported_value", param="temperature"), 400, "unsupported_value", True),
    "unprocessable": (said(422), 400, "invalid_request", True),
    "too large": (said(413), 413, "invalid_request", True),
    "context length": (said(400, code="context_length_exceeded"), 400, "context_length_exceeded", False),
    "content filter": (said(400, code="content_filter"), 400, "content_filter", False),
}


@both
@pytest.mark.parametrize("name", OWN)
async def test_a_fault_of_the_request_is_told_at_once_and_tried_nowhere_else_in_its_route(
    stage: Stage, client: openai.AsyncOpenAI, name: str, stream: bool
) -> None:
    plays, status, code, _ = OWN[name]
    first = stage.plays(lambda recorded: plays())
    second = stage.beside(first, good)
    heard = await hear(client, first.model, stream=stream)
    assert (heard.status, heard.code) == (status, code)
    assert count(first, second) == (1, 0)
    await settled(stage, heard, attempts=1, within=1)


@both
@pytest.mark.parametrize("name", OWN)
async def test_only_a_request_that_one_provider_calls_wrong_is_tried_at_a_fallback_of_another(
    stage: Stage, client: openai.AsyncOpenAI, name: str, stream: bool
) -> None:
    plays, status, code, is_tried = OWN[name]
    first = stage.plays(lambda recorded: plays())
    fallback = stage.behind(first, good)
    heard = await hear(client, first.model, stream=stream)
    assert (heard.status, heard.code) == ((200, None) if is_tried else (status, code))
    assert count(first, fallback) == (1, int(is_tried))
    await settled(stage, heard, attempts=1 + is_tried, within=1)


@both
async def test_a_request_that_two_providers_call_wrong_is_told_as_the_first_said(
    stage: Stage, client: openai.AsyncOpenAI, stream: bool
) -> None:
    first = stage.plays(said(400, code="unsupported_value", param="temperature")())
    fallback = stage.behind(first, said(422)())
    heard = await hear(client, first.model, stream=stream)
    assert (heard.status, heard.code) == (400, "unsupported_value")
    assert count(first, fallback) == (1, 1)
    await settled(stage, heard, attempts=2, within=1)


# After the first content


BROKEN = {
    "reset": ((RESET,), "upstream_disconnected"),
    "close": ((FIN,), "upstream_disconnected"),
    "an end without a finish": ((b"0\r\n\r\n",), "upstream_truncated"),
    "silence": ((STALL,), "upstream_timeout"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_nobody_else_goes_on_with_an_answer_that_has_begun(
    stage: Stage, client: openai.AsyncOpenAI, name: str
) -> None:
    end, code = BROKEN[name]
    for put in (stage.beside, stage.behind):
        first = stage.plays(stream_of(ROLE, *WORDS, end=end))
        other = put(first, good)
        heard = await hear(client, first.model, stream=True)
        assert (heard.text, heard.code) == ("Hello, wörld", code)
        assert count(first, other) == (1, 0)
        await settled(stage, heard, attempts=1, within=WAIT_SECONDS)


@pytest.mark.parametrize(
    "data",
    [event({"error": {"message": "boom", "type": "server_error"}}), b"data: {\n\n"],
    ids=["error", "not json"],
)
async def test_an_error_within_an_answer_that_has_begun_is_its_end(
    stage: Stage, client: openai.AsyncOpenAI, data: bytes
) -> None:
    first = stage.plays(stream_of(ROLE, *WORDS, data, FINISH, b"data: [DONE]\n\n"))
    other = stage.beside(first, good)
    heard = await hear(client, first.model, stream=True)
    assert heard.text == "Hello, wörld"
    assert heard.code in ("upstream_error", "upstream_invalid_event")
    assert count(first, other) == (1, 0)
    await settled(stage, heard, attempts=1, within=1)
