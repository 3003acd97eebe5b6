"""One deadline over all attempts, pauses and fallbacks of a request, and clients that set a shorter one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio

from tests.faults.official import count, hear, replaced, sdk, settled
from tests.faults.shapes import ROLE, WORDS, fine
from tests.faults.stage import Stage
from tests.faults.streaming import GOOD_BODY, stream_of
from tests.faults.trouble import said
from tests.upstreams.scripted import RESET, STALL, raw
from tests.upstreams.scripted import Answer as Played

pytestmark = pytest.mark.asyncio(loop_scope="module")
WAIT_SECONDS, TOTAL_SECONDS = 1.0, 1.6
SETTINGS = {
    "upstream": {
        "head_seconds": WAIT_SECONDS,
        "answer_seconds": WAIT_SECONDS,
        "first_token_seconds": WAIT_SECONDS,
        "between_tokens_seconds": WAIT_SECONDS,
        "total_seconds": TOTAL_SECONDS,
    },
}
both = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(stage: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(stage) as made:
        yield made


def good(stream: bool, text: str = "Hello, wörld") -> Played:
    return stream_of(GOOD_BODY) if stream else fine(text)


@both
@pytest.mark.parametrize("how", ["beside", "behind"])
async def test_all_attempts_together_end_with_the_total_deadline(
    stage: Stage, client: openai.AsyncOpenAI, stream: bool, how: str
) -> None:
    first = stage.plays(raw(STALL))
    other = getattr(stage, how)(first, raw(STALL))
    heard = await hear(client, first.model, stream=stream)
    assert (heard.status, heard.code) == (504, "upstream_timeout")
    assert "upstream.total_seconds" in str(heard.error)
    assert heard.seconds >= TOTAL_SECONDS - 0.05
    assert count(first, other) == (1, 1)
    await settled(stage, heard, attempts=2, within=TOTAL_SECONDS)
    await first.closed()
    await other.closed()


@both
async def test_a_client_that_waits_less_long_is_told_in_time_by_the_name_of_its_header(
    stage: Stage, client: openai.AsyncOpenAI, stream: bool
) -> None:
    first = stage.plays(raw(STALL))
    other = stage.beside(first, good(stream))
    heard = await hear(client, first.model, stream=stream, extra_headers={"x-request-timeout": "400ms"})
    assert (heard.status, heard.code) == (504, "upstream_timeout")
    assert "x-request-timeout" in str(heard.error)
    assert heard.seconds >= 0.35
    assert count(first, other) == (1, 0)
    await settled(stage, heard, attempts=1, within=0.4)
    await first.closed()


async def test_a_stream_that_has_begun_ends_with_the_clients_own_deadline(
    stage: Stage, client: openai.AsyncOpenAI
) -> None:
    scene = stage.plays(stream_of(ROLE, *WORDS, end=(STALL,)))
    heard = await hear(client, scene.model, stream=True, extra_headers={"x-request-timeout": "0.5"})
    assert (heard.text, heard.code) == ("Hello, wörld", "upstream_timeout")
    assert "x-request-timeout" in str(heard.error)
    await settled(stage, heard, attempts=1, within=0.5)


@pytest.mark.parametrize("value", ["", "0", "-1", "soon", "nan", "1e3", "inf", "5 m", "9" * 40])
async def test_a_deadline_that_is_none_says_nothing(stage: Stage, client: openai.AsyncOpenAI, value: str) -> None:
    scene = stage.plays(fine())
    heard = await hear(client, scene.model, stream=False, extra_headers={"x-request-timeout": value})
    assert (heard.text, heard.error) == ("fine", None)


@both
async def test_a_pause_that_ends_after_the_deadline_is_not_begun(
    stage: Stage, client: openai.AsyncOpenAI, stream: bool
) -> None:
    scene = stage.plays(said(429, ("retry-after", "5"))(), good(stream))
    heard = await hear(client, scene.model, stream=stream)
    assert (heard.status, heard.code, heard.headers["retry-after"]) == (429, "rate_limit_exceeded", "5")
    assert count(scene) == (1,)
    await settled(stage, heard, attempts=1, within=0.5)


@both
async def test_an_answer_that_comes_too_late_is_never_delivered(
    stage: Stage, client: openai.AsyncOpenAI, stream: bool
) -> None:
    late = [WAIT_SECONDS + 0.2, *good(stream, "late").steps]
    first = stage.plays(Played(late))
    second = stage.beside(first, stream_of(ROLE, *WORDS, GOOD_BODY[-200:]) if stream else fine("second"))
    heard = await hear(client, first.model, stream=stream)
    assert heard.error is None
    assert heard.text == ("Hello, wörld" if stream else "second")
    assert count(first, second) == (1, 1)
    await settled(stage, heard, attempts=2, within=WAIT_SECONDS)
    await first.closed()


@both
async def test_a_kept_connection_that_died_is_replaced_before_anybody_else_is_asked(
    stage: Stage, client: openai.AsyncOpenAI, stream: bool
) -> None:
    assert (await hear(client, stage.plays(fine()).model, stream=False)).error is None
    first = stage.plays(raw(RESET), good(stream))
    second = stage.beside(first, good(stream))
    heard = await hear(client, first.model, stream=stream)
    assert heard.error is None
    assert count(first, second) == (2, 0)
    await settled(stage, heard, attempts=2, within=0.5)


@both
async def test_a_request_that_breaks_whatever_it_meets_is_not_given_to_everybody(
    stage: Stage, client: openai.AsyncOpenAI, stream: bool
) -> None:
    first = stage.plays(raw(RESET))
    others = [stage.beside(first, raw(RESET), place=place) for place in (1, 2)]
    heard = await hear(client, first.model, stream=stream)
    assert (heard.status, heard.code) == (502, "upstream_disconnected")
    attempts = sum(count(first, *others))
    assert attempts - replaced(first, *others) <= 4
    assert count(others[1]) == (0,), "two deployments alike are enough"
    await settled(stage, heard, attempts=attempts, within=1)
