"""What the official SDK makes of the gateway's answers: its one outcome, and what is left behind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import openai

from tests.faults.client import checked_error
from tests.faults.stage import SLACK, Scene, Stage, eventually


@dataclass(slots=True)
class Heard:
    """How one request ended for a user of the SDK."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    text: str = ""
    error: openai.APIError | None = None
    seconds: float = 0.0

    @property
    def id(self) -> str:
        return self.headers["x-request-id"]

    @property
    def status(self) -> int:
        """The status of the response; a broken stream's is 200."""
        return self.error.status_code if isinstance(self.error, openai.APIStatusError) else 200

    @property
    def code(self) -> str | None:
        """The error's code; None where there is no error."""
        return None if self.error is None else self.error.code

    @property
    def attempts(self) -> list[tuple[str, str]]:
        """Deployment and kind of every attempt of a request that failed before its answer began."""
        assert isinstance(self.error, openai.APIStatusError)
        told = self.error.response.json()["error"].get("details", {}).get("attempts", [])
        return [(one["deployment"], one["kind"]) for one in told]


def sdk(stage: Stage, *, max_retries: int = 0) -> openai.AsyncOpenAI:
    """Returns a client of the gateway; to be closed."""
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{stage.port}/v1", api_key="k", max_retries=max_retries)


async def hear(client: openai.AsyncOpenAI, model: str, *, stream: bool, **more: Any) -> Heard:
    """Asks once; raises whatever is neither an answer nor a well-formed error of the gateway."""
    heard = Heard()
    began = time.monotonic()
    messages: Any = [{"role": "user", "content": "Hi"}]
    try:
        raw = await client.chat.completions.with_raw_response.create(
            model=model, messages=messages, stream=stream, **more
        )
        heard.headers = raw.headers
        parsed: Any = raw.parse()
        if not stream:
            heard.text = parsed.choices[0].message.content
            return heard
        async with parsed:
            async for part in parsed:
                heard.text += "".join(choice.delta.content or "" for choice in part.choices)
    except openai.APIStatusError as error:
        heard.headers, heard.error = error.response.headers, error
        checked_error(error.response.json())
        assert error.response.headers["x-should-retry"] == "false"
    except openai.APIError as error:
        assert type(error) is openai.APIError, "an error event, not a connection that broke"
        assert stream
        heard.error = error
    finally:
        heard.seconds = time.monotonic() - began
    return heard


async def settled(stage: Stage, heard: Heard, *, attempts: int, within: float) -> dict[str, Any]:
    """Asserts what every request leaves behind; returns its access record.

    That is one record that agrees with what the client heard, no request in flight and no upstream connection lent out.
    """
    assert heard.seconds < within + SLACK
    await eventually(lambda: heard.id in stage.gateway.records())
    (record,) = stage.gateway.records()[heard.id]
    assert (record["status"], record["error"], record["cancelled"]) == (heard.status, heard.code, False)
    assert record["attempts"] == attempts
    if heard.error is None:
        assert heard.headers["x-anyport-attempts"] == str(attempts)
    await stage.quiet()
    return record


def replaced(*scenes: Scene) -> int:
    """Returns how many requests came on a connection that had served others: if it dies, that counts for nothing.

    Only for upstreams that end every connection without a byte of an answer.
    """
    found = 0
    for scene in scenes:
        everybody = scene.upstream.requests
        for request in scene.requests:
            found += any(other.connection == request.connection for other in everybody[: request.number])
    return found


def count(*scenes: Scene) -> tuple[int, ...]:
    """Returns how often the upstream of each scene was asked."""
    return tuple(len(scene.requests) for scene in scenes)
