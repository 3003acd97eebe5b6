"""A scripted upstream that lives as long as the session, on an event loop of its own.

One gateway process can then serve every test: the place of its upstream never changes, only what is played there.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.upstreams.scripted import Answer, Recorded, ScriptedUpstream, json_response

_START_SECONDS = 30.0
Role = Callable[[Recorded], Answer]


class Stage:
    """Plays answers to whoever asks; a context manager that owns the thread."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        """What came since the last `play`, without looks at the models."""
        self.looks: list[Recorded] = []
        """Those looks."""
        self._role: Role = _nothing
        self._upstream = ScriptedUpstream(self._answer)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """Scheme, address and port."""
        return self._upstream.url

    def play(self, *answers: Answer | Role) -> Self:
        """Gives these answers from now on, one per request, the last one again and again; forgets old requests."""
        self.requests, self.looks = [], []
        given = list(answers)

        def role(request: Recorded) -> Answer:
            answer = given[min(len(self.requests), len(given)) - 1]
            return answer if isinstance(answer, Answer) else answer(request)

        self._role = role
        return self

    @property
    def last(self) -> Recorded:
        """The only request, or the newest one."""
        return self.requests[-1]

    def closed_within(self, seconds: float, connection: int) -> bool:
        """Returns whether the peer ends a connection (`Recorded.connection`) in time."""
        peer = self._upstream.connections[connection]
        deadline = time.monotonic() + seconds
        while peer.closed_at is None and time.monotonic() < deadline:
            time.sleep(0.005)
        return peer.closed_at is not None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_START_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(_START_SECONDS)
        assert not self._thread.is_alive()

    def _answer(self, request: Recorded) -> Answer:
        if request.method == "GET":  # a look at the models, in nobody's script
            self.looks.append(request)
            return json_response({"object": "list", "data": []})
        self.requests.append(request)
        return self._role(request)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        async with self._upstream:
            self._ready.set()
            await self._over.wait()


def _nothing(request: Recorded) -> Answer:
    raise AssertionError("a request came, but nothing is played")
