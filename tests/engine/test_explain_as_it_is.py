"""An explanation is what a real run with the same chance does: the same attempts, the same end, the same bytes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest

from gateway.domain import Attempt, Outcome
from gateway.engine.answer import Answer
from gateway.engine.explanation import Explanation
from gateway.engine.script import Mishap, read_script
from gateway.errors import GatewayError
from gateway.http.admin.explained import prepared, read_explained
from gateway.routing.asking import Asking
from gateway.routing.route import Strategy
from gateway.runtime import Runtime
from gateway.settings.model import Settings
from tests.upstreams.scripted import FIN, RESET, STALL, Recorded, ScriptedUpstream, raw, response, sse_response
from tests.upstreams.scripted import Answer as Played

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}], "user": "somebody"}
BODIES: Sequence[dict[str, Any]] = (
    CHAT,
    {**CHAT, "stream": True},
    {**CHAT, "max_tokens": 50, "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    {"input": ["one", "two"]},
)
# Pauses that end while a test runs would make it a matter of speed which key has rested: either forever or not at all.
FAILURES = ("500", "502", "429:900", "503:900", "401", "402", "404", "400", "422", "408", "reset", "malformed")
ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
}
VECTORS = {
    "object": "list",
    "model": "m",
    "data": [{"object": "embedding", "index": n, "embedding": [0.5]} for n in (0, 1)],
}
CHUNK = {
    "id": "1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
}


class Chance:
    """A source of chance that can begin anew."""

    def __init__(self) -> None:
        self._random = random.Random()

    def begin(self, seed: int) -> None:
        self._random.seed(seed)

    def __call__(self) -> float:
        return self._random.random()


class World:
    """One upstream that plays all providers, and a gateway that was told to call it."""

    def __init__(self, upstream: ScriptedUpstream, *, answer_seconds: float = 60, **route: Any) -> None:
        self.chance = Chance()
        self.upstream = upstream
        names = {"a": ["key-a-1-canary", "key-a-2-canary"], "b": ["key-b-1-canary"], "c": ["key-c-1-canary"]}
        anthropic = {"base_url": upstream.url, "credentials": ["key-anthropic-canary"]}
        self.runtime = Runtime(
            Settings.model_validate(
                {
                    "server": {"access_log": "off"},
                    "discovery": {"enabled": False},
                    "upstream": {"answer_seconds": answer_seconds},
                    "providers": {
                        name: {"base_url": f"{upstream.url}/{name}", "credentials": keys}
                        for name, keys in names.items()
                    }
                    | {"anthropic": anthropic},
                    "routes": {
                        "r": {
                            "deployments": [
                                {"model": "a/one", "weight": 3},
                                {"model": "b/two"},
                                {"model": "a/three", "weight": 2, "order": 1},
                            ],
                            "fallbacks": ["spare"],
                            **route,
                        },
                        "spare": {"deployments": [{"model": "c/four"}, {"model": "b/five"}]},
                    },
                }
            ),
            {},
            chance=self.chance,
        )

    async def explain(self, body: dict[str, Any], script: str, seed: int, model: str = "r") -> Explanation:
        call = read_explained(model, json.dumps({"model": model, **body}).encode())
        return await asyncio.to_thread(prepared(self.runtime, call, read_script(script), seed))

    async def run(self, body: dict[str, Any], seed: int, model: str = "r") -> tuple[Outcome, GatewayError | None]:
        self.chance.begin(seed)
        call = read_explained(model, json.dumps({"model": model, **body}).encode())
        outcome = Outcome("req-1")
        try:
            answer = await self.runtime.executor.run(call, self.runtime.router.plan(model, Asking(call)), outcome)
            if not isinstance(answer, Answer):
                async with aclosing(answer):
                    while await answer.next():
                        pass
        except GatewayError as error:
            return outcome, error
        return outcome, None


def played(mishap: Mishap | None, request: Recorded) -> Played:
    """Returns what a real upstream does where a script says `mishap`."""
    close = ("connection", "close")  # a pooled connection that dies is replaced, which no script foresees
    if mishap is None:
        sent: Any = request.json()
        if sent.get("stream"):
            return sse_response([CHUNK], chunked=False)
        body = VECTORS if "input" in sent else ANSWER
        return raw(response(200, [close, ("content-type", "application/json")], json.dumps(body).encode()), FIN)
    if mishap.status is not None:
        wait = [("retry-after", f"{mishap.retry_after:g}")] if mishap.retry_after else []
        return raw(response(mishap.status, [close, *wait]), FIN)
    return {
        "reset": raw(RESET),
        "timeout": raw(STALL),
        "malformed": raw(response(200, [close, ("content-type", "text/html")], b"<html></html>"), FIN),
    }[mishap.word]


async def compare(
    scripts: Sequence[str], seed: int, bodies: Sequence[dict[str, Any]], **route: Any
) -> list[Explanation]:
    """Explains and then makes requests one after the other, and holds each explanation to what was done."""
    script = read_script("")
    begun = 0

    def play(request: Recorded) -> Played:
        return played(script.get(request.number - begun), request)

    explained: list[Explanation] = []
    async with ScriptedUpstream(play) as upstream:
        world = World(upstream, **route)
        try:
            for text, body in zip(scripts, bodies, strict=True):
                script, begun = read_script(text), len(upstream.requests)
                told = await world.explain(body, text, seed)
                assert len(upstream.requests) == begun, "an explanation has made a request"
                outcome, error = await world.run(body, seed)
                check(told, outcome, error, upstream.requests[begun:])
                explained.append(told)
        finally:
            await world.runtime.aclose()
    return explained


def result(attempt: Attempt) -> str:
    return attempt.failure.kind.value if attempt.failure else "lost" if attempt.is_lost else "ok"


def check(told: Explanation, outcome: Outcome, error: GatewayError | None, requests: Sequence[Recorded]) -> None:
    done = [(each.deployment, each.route, each.key, result(each), each.is_hedge) for each in outcome.attempts]
    assert [(each.deployment, each.route, each.key, each.result, each.is_hedge) for each in told.steps] == done
    statuses = [each.failure.status if each.failure else None for each in outcome.attempts]
    assert [each.status for each in told.steps] == statuses
    assert (told.end.status, told.end.code) == ((error.status, error.code) if error else (200, None))
    assert (told.end.fallback, told.end.deployment) == (outcome.fallback, outcome.deployment)
    if error is not None:
        headers = dict(error.headers())
        assert set(told.end.headers) == set(headers)
        waits = [abs(int(told.end.headers.get("retry-after", 0)) - int(headers.get("retry-after", 0)))]
        assert max(waits) <= 10
    assert (told.request is None) == (not requests)
    if told.request is not None:
        first = requests[0]
        assert told.request.body == first.json()
        assert (told.request.method, told.request.url.partition("127.0.0.1")[2].partition("/")[2]) == (
            first.method,
            first.path[1:],
        )
        sent = {name: value for name, value in first.headers.items() if name not in ("host", "content-length")}
        shown = dict(told.request.headers)
        assert set(shown) <= set(sent)
        assert all(sent[name] == value or "***" in value for name, value in shown.items())
        assert "canary" not in str(shown)


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_attempts_end_and_body_are_those_of_a_real_run(strategy: Strategy) -> None:
    for seed in range(12):
        chance = random.Random(f"{strategy}{seed}")
        failing = chance.choice((0, 1, 2, 3, 4, 5))
        script = ",".join(f"{number}={chance.choice(FAILURES)}" for number in range(failing))
        await compare([script], seed, [chance.choice(BODIES)], strategy=strategy.value, sticky_by="user")


# Two latencies that are nearly the same may change places between the explanation and the run.
@pytest.mark.parametrize("strategy", [each for each in Strategy if each is not Strategy.LOWEST_LATENCY])
async def test_what_earlier_requests_left_behind_counts_as_it_does_for_a_real_run(strategy: Strategy) -> None:
    for seed in range(4):
        chance = random.Random(f"{strategy}{seed}")
        scripts = [
            ",".join(f"{number}={chance.choice(FAILURES)}" for number in range(chance.choice((0, 2, 3))))
            for _ in range(5)
        ]
        await compare(scripts, seed, [chance.choice(BODIES) for _ in scripts], strategy=strategy.value)


async def test_a_timeout_takes_its_time_and_names_its_setting() -> None:
    (told,) = await compare(["0=timeout,1=timeout"], 1, [CHAT], strategy="ordered", answer_seconds=1)
    assert [each.seconds for each in told.steps] == [1.0, 1.0, 0.0]
    assert "upstream.answer_seconds" in told.steps[0].message


async def test_a_pause_that_the_provider_asks_for_is_waited_out() -> None:
    alone = [{"model": "b/two"}]
    (told,) = await compare(["0=429:1"], 1, [CHAT], deployments=alone, fallbacks=[])
    assert [each.waited_seconds for each in told.steps] == [0.0, 1.0]
    assert told.steps[0].effects == ["key 1 rests for 1 s"]


async def test_a_pause_that_is_too_long_is_told_to_the_client() -> None:
    alone = [{"model": "b/two"}]
    (told,) = await compare(["0=429:30"], 1, [CHAT], deployments=alone, fallbacks=[])
    assert (told.end.status, told.end.code, told.end.headers["retry-after"]) == (429, "rate_limit_exceeded", "30")
    assert told.end.headers["x-should-retry"] == "false"


async def test_a_slow_deployment_is_hedged_as_it_would_be() -> None:
    (told,) = await compare(["0=timeout"], 3, [CHAT], strategy="ordered", hedge={"after_seconds": 0.1, "share": 1})
    assert [(each.deployment, each.result, each.is_hedge) for each in told.steps] == [
        ("a/one", "lost", False),
        ("b/two", "ok", True),
    ]
    assert told.steps[1].at_seconds == 0.1
    assert told.hedge is not None
    assert (told.hedge.after_seconds, told.hedge.is_paid_for) == (0.1, True)


async def test_chance_is_spent_on_a_mirror_as_in_a_real_run() -> None:
    async with ScriptedUpstream() as upstream:
        world = World(upstream, mirror={"to": "c/six", "share": 0.5})
        for seed in range(20):
            told = await world.explain(CHAT, "", seed)
            world.chance.begin(seed)
            call = read_explained("r", json.dumps(CHAT).encode())
            world.runtime.router.plan("r", Asking(call))
            assert told.mirror is not None
            assert told.mirror.is_copied == (world.chance() < 0.5)
        await world.runtime.aclose()


async def test_a_translated_request_is_shown_as_it_goes_out() -> None:
    script = "0=500,1=500"
    (told,) = await compare([script], 1, [CHAT], deployments=[{"model": "anthropic/claude-sonnet-4-5"}], fallbacks=[])
    assert told.request is not None
    assert ("x-api-key", "***") in told.request.headers
    assert told.request.dropped == ("user",) or told.request.body["metadata"]


async def test_an_explanation_changes_nothing_live() -> None:
    async with ScriptedUpstream(lambda request: played(None, request)) as upstream:
        world = World(upstream, strategy="round_robin")
        runtime = world.runtime

        def look() -> object:
            route = runtime.router.chain("r").route
            figures: list[object] = [dict(route.memory.owed)]
            for each in route.deployments:
                vitals, counts = each.vitals, each.vitals.counts
                figures += [vitals.in_flight, vitals.consecutive, vitals.cooling_until, vitals.strikes]
                figures += [counts.attempts, counts.retries, vitals.latency.seconds]
                for key in each.key_ring.keys:
                    figures += [key.state.uses, key.state.cooling_until, key.account.cooling_until]
            return figures

        await world.run(CHAT, 1)
        before = look()
        for script in ("0=429,1=503,2=500", "0=401,1=quota", "0=timeout"):
            first = await world.explain(CHAT, script, 7)
            assert first == await world.explain(CHAT, script, 7), "the same seed, the same explanation"
        assert look() == before
        assert len(upstream.requests) == 1
        await runtime.aclose()
