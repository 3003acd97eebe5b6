"""Streams as an upstream may play them, and what a client must make of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import openai

from tests.faults.client import DONE, Answer
from tests.faults.shapes import (
    GOOD_STREAM,
    GOOD_TEXT,
    SSE_TYPE,
    event,
)
from tests.faults.stage import Scene, Stage
from tests.upstreams.scripted import Answer as Played
from tests.upstreams.scripted import Step, chunk, raw, response

CHUNKED = response(200, [SSE_TYPE, ("transfer-encoding", "chunked")], length=False)
CLOSING = response(200, [SSE_TYPE], length=False)
GOOD_BODY = b"".join(map(event, GOOD_STREAM)) + DONE


ONCE = frozenset({"upstream_timeout", "rate_limit_exceeded"})
"""Codes of what the same deployment is not asked again for, or only after a pause."""


def sized(length: int) -> bytes:
    return response(200, [SSE_TYPE, ("content-length", str(length))], length=False)


def stream_of(*parts: object, end: Iterable[Step] = (b"0\r\n\r\n",)) -> Played:
    """Returns a chunked stream; bytes are sent as they are, everything else as one event of JSON."""
    return raw(CHUNKED, *(chunk(part if isinstance(part, bytes) else event(part)) for part in parts), *end)


async def assert_refused(stage: Stage, played: Played, status: int, code: str) -> Answer:
    """Asserts that a stream which said nothing yet becomes an honest HTTP error, after every attempt that may help."""
    scene = stage.plays(played).hurries()
    attempts = 1 if code in ONCE else 2
    answer = await scene.ask(stream=True)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert len(scene.requests) == attempts
    record = await stage.settled(answer, error=code, attempts=attempts)
    assert record["stream"] is True
    return answer


async def assert_broken(stage: Stage, played: Played, code: str, text: str = "Hello, wörld") -> dict[str, Any]:
    """Asserts that a begun stream ends with exactly one error event, for raw clients and for the SDK."""
    scene = stage.plays(played)
    answer = await scene.ask(stream=True)
    assert answer.status == 200
    error = answer.event_error
    assert error is not None, answer.body
    assert error["code"] == code
    assert answer.text == text
    assert len(scene.requests) == 1
    await stage.settled(answer, error=code)
    again = stage.plays(played)
    assert await sdk_text(stage, again) == (text, error["message"].replace(scene.model, again.model))
    return error


async def assert_whole(stage: Stage, played: Played, text: str = GOOD_TEXT) -> Answer:
    """Asserts that a stream arrives whole and ends as it should."""
    scene = stage.plays(played)
    answer = await scene.ask(stream=True)
    assert answer.status == 200, answer
    assert answer.event_error is None
    assert answer.text == text
    assert len(scene.requests) == 1
    await stage.settled(answer)
    return answer


async def sdk_text(stage: Stage, scene: Scene) -> tuple[str, str | None]:
    """Returns what the official SDK says of a stream: its text and the message of the APIError that ended it."""
    client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{stage.port}/v1", api_key="k", max_retries=0)
    text = ""
    async with client:
        try:
            messages: Any = [{"role": "user", "content": "Hi"}]
            stream = await client.chat.completions.create(model=scene.model, messages=messages, stream=True)
            async for part in stream:
                text += part.choices[0].delta.content or "" if part.choices else ""
        except openai.APIError as error:
            assert type(error) is openai.APIError
            return text, error.message
    return text, None
