"""A route with several deployments, each with a script of its own, and fallbacks; everything on one standing clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from adapters.openai import OpenAIAdapter
from adapters.types import Adapter, Head, HttpRequest
from gateway.credentials.keyring import KeyBook, KeyRing
from gateway.credentials.scrub import Scrubber
from gateway.domain import Outcome, ProviderSpec
from gateway.engine.answer import Answer
from gateway.engine.attempt import Attempter
from gateway.engine.executor import Executor
from gateway.engine.hints import NO_HINTS, Hints
from gateway.health.vitals import HealthPolicy, Vitals
from gateway.resilience.consequences import Event
from gateway.routing.deployment import Deployment, Limit, Waits
from gateway.routing.route import Fallback, HedgePolicy, Plan, RetryPolicy, Route
from gateway.routing.route import Stage as RouteStage
from gateway.secret import Secret
from gateway.transport.base import Timeouts
from tests.adapters.recorded import target_of
from tests.engine.doubles import Clock, Piece, Response, Script, Sent, call_of

REPLY = {
    "id": "chatcmpl-u",
    "object": "chat.completion",
    "model": "up",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
BODY = json.dumps(REPLY).encode()
WAITS = Waits(
    stream=Timeouts(connect=5, pool=1, head=60, idle=30),
    answer=Timeouts(connect=5, pool=1, head=60, idle=30, head_setting="upstream.answer_seconds"),
)


class Fleet:
    """Deployments with scripts, an executor over them, and what came of the one request that a test runs."""

    def __init__(
        self,
        *,
        retry: RetryPolicy | None = None,
        total: float = 600.0,
        hedge: HedgePolicy | None = None,
        health: HealthPolicy | None = None,
        is_strict: bool = False,
        random: float = 0.5,
    ) -> None:
        self.clock = Clock()
        self.outcome = Outcome("req-1")
        self.events: list[Event] = []
        self.pauses: list[float] = []
        """What was waited between attempts."""
        self.is_pausing = asyncio.Event()
        """Set when a first pause begins."""
        self.sent: list[str] = []
        """Which deployment was called, in order."""
        self.executor = Executor(
            attempter=Attempter(transport_for=self._transport, max_response_bytes=100_000, clock=self.clock),
            max_response_bytes=100_000,
            clock=self.clock,
            random=lambda: random,
            scrubber=Scrubber([]),
            listen=self.events.extend,
            sleep=self._sleep,
        )
        self._keys = KeyBook()
        self._policy = (retry or RetryPolicy(), Limit(total, "upstream.total_seconds"), hedge)
        self._health = health or HealthPolicy()
        self._is_strict = is_strict
        self._scripts: dict[str, Script] = {}
        self._stages: list[tuple[Fallback | None, list[Deployment]]] = [(None, [])]
        self._plan: Plan | None = None

    def add(
        self,
        id: str,
        *answers: Sent,
        keys: int = 1,
        waits: Waits = WAITS,
        adapter: Adapter | None = None,
        rules: dict[str, Any] | None = None,
        context_window: int | None = None,
    ) -> Deployment:
        """Adds a deployment to the newest stage, with an answer for each of its attempts."""
        provider = id.partition("/")[0]
        spec = ProviderSpec(id=provider, display_name=provider, protocol="openai", base_url="http://127.0.0.1:9/v1")
        secrets = tuple(Secret(f"sk-{provider}-000{number}") for number in range(1, keys + 1))
        deployment = Deployment(
            id=id,
            provider=provider,
            target=target_of(rules=rules),
            adapter=adapter or OpenAIAdapter(),
            key_ring=KeyRing(spec, secrets, model=id, state_of=self._keys),
            vitals=Vitals(self._health),
            waits=waits,
            context_window=context_window,
        )
        self._scripts[id] = Script(answers, self.clock)
        self._stages[-1][1].append(deployment)
        return deployment

    def fall_back(self, fallback: Fallback) -> None:
        """Begins a stage that takes over from those before it."""
        self._stages.append((fallback, []))

    @property
    def plan(self) -> Plan:
        """The plan over everything that was added; the same one for all requests."""
        if self._plan is None:
            retry, total, hedge = self._policy
            stages: list[RouteStage] = []
            for fallback, deployments in self._stages:
                name = fallback.model if fallback else "route"
                route = Route(name, tuple(deployments), retry=retry, total=total, hedge=hedge)
                stages.append(RouteStage(route, fallback=fallback))
            self._plan = Plan("route", tuple(stages), self._is_strict)
        return self._plan

    def response(self, *pieces: Piece, status: int = 200, **headers: str) -> Response:
        """Returns an answer; by default a whole one."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(Head(status, named), list(pieces) or [BODY if status == 200 else b"{}"], self.clock)

    async def run(self, *, hints: Hints = NO_HINTS, **fields: Any) -> Any:
        """Runs one request."""
        self.outcome = Outcome("req-1")
        return await self.executor.run(call_of(**fields), self.plan, self.outcome, hints)

    def requests(self, id: str) -> Sequence[tuple[HttpRequest, Timeouts, bool]]:
        """Returns what a deployment was sent."""
        return self._scripts[id].sent

    def kinds(self) -> list[str]:
        """Returns what became of each attempt."""
        return [
            attempt.failure.kind.value if attempt.failure else "lost" if attempt.is_lost else "ok"
            for attempt in self.outcome.attempts
        ]

    def assert_at_rest(self) -> None:
        """Nothing is under way, no response is held, and every attempt has an end."""
        for _, deployments in self._stages:
            for deployment in deployments:
                states = [deployment.vitals.in_flight, *(key.state.in_flight for key in deployment.key_ring.keys)]
                assert states == [0] * len(states), deployment.id
        for script in self._scripts.values():
            for answer in script.answers[: len(script.sent)]:
                assert not isinstance(answer, Response) or answer.releases, answer
        assert all(attempt.ended is not None for attempt in self.outcome.attempts)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, [str(task) for task in left]

    def _transport(self, deployment: Deployment) -> Script:
        self.sent.append(deployment.id)
        return self._scripts[deployment.id]

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.is_pausing.set()
        self.clock.now += seconds
        await asyncio.sleep(0)


async def read_all(stream: Any) -> bytes:
    """Returns all frames of a stream, to its end."""
    assert not isinstance(stream, Answer)
    told = [stream.first]
    while piece := await stream.next():
        told.append(piece)
    return b"".join(told)
