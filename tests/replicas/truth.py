"""An upstream that writes down what it answered to whom: the truth that ledgers are held to.

Every request carries a number of its own, and what is used for it follows from the number: whatever is lost, doubled or
mixed up shows.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

from tests.e2e.answers import chunk, completion, error
from tests.upstreams.scripted import Answer, Recorded, ScriptedUpstream, Step, json_response, sse_response

INPUT_NANO_USD = 137
OUTPUT_NANO_USD = 1001
PRICE = {"input_usd_per_million": INPUT_NANO_USD / 1000, "output_usd_per_million": OUTPUT_NANO_USD / 1000}
MAX_TOKENS = 41
_CANARY = re.compile(rb"canary-(\d+)-")


def canary(number: int) -> str:
    """Returns the text that a request says, and its answer again."""
    return f"canary-{number}-"


def question(number: int) -> str:
    """Returns what a request asks; all are equally long, so that they cost the same at worst."""
    return f"{canary(number)}{'and some words, so that no token is counted too few':.<{80 - len(canary(number))}}"


def worst_nano_usd(body: bytes) -> int:
    """Returns what a request may cost before anybody knows: two bytes are a token."""
    return -(-len(body) // 2) * INPUT_NANO_USD + MAX_TOKENS * OUTPUT_NANO_USD


def tokens(number: int) -> tuple[int, int]:
    """Returns the input and the output of a request's answer: no more than its bytes and `MAX_TOKENS` allow."""
    return 10 + number % 37, 1 + number % 41


def nano_usd(number: int) -> int:
    """Returns what it costs."""
    prompt, output = tokens(number)
    return prompt * INPUT_NANO_USD + output * OUTPUT_NANO_USD


class Truth(AbstractAsyncContextManager["Truth"]):
    """The upstream; below `/flaky` every other request fails."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()
        """How often a number came; a request that failed over came more than once."""
        self.answered: Counter[int] = Counter()
        """How often its answer was sent, to the end of what it says."""
        self.latency_seconds = 0.0
        """Before an answer, and between the pieces of a stream."""
        self.held: asyncio.Event | None = None
        """What every answer waits for, if it is set."""
        self.under_way = 0
        self.most_under_way = 0
        self._upstream = ScriptedUpstream(self._answer)

    @property
    def url(self) -> str:
        """Scheme, address and port."""
        return self._upstream.url

    async def __aenter__(self) -> Self:
        await self._upstream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._upstream.__aexit__(kind, error, trace)

    def forget(self) -> None:
        """Begins a new page."""
        self.asked.clear()
        self.answered.clear()
        self.under_way = self.most_under_way = 0

    def _answer(self, request: Recorded) -> Answer:
        # Nobody reads them again, and there are many.
        self._upstream.requests.clear()
        if request.method == "GET":  # a look at the models
            return json_response({"object": "list", "data": []})
        found = _CANARY.search(request.body)
        assert found is not None, request.body
        number = int(found[1])
        self.asked[number] += 1
        if request.path.startswith("/flaky") and number % 2:
            return error(500, "trouble")
        is_stream = b'"stream":true' in request.body.replace(b" ", b"")
        return Answer(self._play(number, _stream(number) if is_stream else _whole(number)))

    def _play(self, number: int, steps: list[bytes]) -> Iterator[Step]:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.held is not None:
                yield self.held
            for step in steps:
                if self.latency_seconds:
                    yield self.latency_seconds
                # Before it is written: whoever got it may be killed before anybody comes back here.
                self.answered[number] += len(steps) == 1 or b"[DONE]" in step
                yield step
        finally:
            self.under_way -= 1


def _usage(number: int) -> dict[str, int]:
    prompt, output = tokens(number)
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def _whole(number: int) -> list[bytes]:
    return _bytes(json_response({**completion(canary(number)), "usage": _usage(number)}))


def _stream(number: int) -> list[bytes]:
    events: list[Any] = [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": canary(number)}),
        chunk({"content": "more"}),
        chunk({}, "stop"),
        chunk(usage=_usage(number)),
    ]
    return _bytes(sse_response(events))


def _bytes(answer: Answer) -> list[bytes]:
    return [step for step in answer.steps if isinstance(step, bytes)]
