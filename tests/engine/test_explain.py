"""What an explanation tells, and what it is told."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.failures import FailureKind
from gateway.domain import Outcome
from gateway.engine.explanation import Explanation
from gateway.engine.script import WORDS, BadScript, Mishap, read_script
from gateway.errors import GatewayError, InvalidRequest, UnknownModel
from gateway.http.admin.explained import MINIMAL, prepared, read_explained
from gateway.routing.asking import Asking
from gateway.runtime import Runtime
from gateway.settings.model import Settings

KEYS = ("token-canary", "key-a-1-canary", "key-a-2-canary", "sk-ant-oat-canary", "key-own-canary")
PROVIDERS = {
    "a": {"base_url": "http://127.0.0.1:9/v1", "credentials": list(KEYS[1:3])},
    "b": {"base_url": "http://127.0.0.1:9/v1", "requires_credential": False},
    "headed": {
        "base_url": "http://127.0.0.1:9/v1",
        "requires_credential": False,
        "headers": {"X-Team": "blue", "X-Gateway-Token": KEYS[0]},
    },
    "anthropic": {"credentials": [KEYS[3]]},
}
ROUTES: dict[str, Any] = {
    "smart": {
        "aliases": ["clever"],
        "strategy": "ordered",
        "deployments": [
            {
                "model": "a/one",
                "supports": ["tools"],
                "price": {"input_usd_per_million": 1, "output_usd_per_million": 2},
            },
            {"name": "own", "model": "b/two", "keys": [KEYS[4]], "context_window": 1000, "tags": ["eu"]},
            {"model": "openai/three"},
        ],
        "fallbacks": ["spare"],
        "timeouts": {"total_seconds": 60},
    },
    "spare": {"deployments": [{"model": "anthropic/claude-sonnet-4-5", "timeouts": {"first_token_seconds": 7}}]},
    "gpt-*": {"deployments": [{"model": "a/gpt-*"}]},
    "exact": {"strict": True, "deployments": [{"model": "anthropic/claude-sonnet-4-5"}]},
}


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    said = {
        "server": {"access_log": "off"},
        "discovery": {"enabled": False},
        "providers": PROVIDERS,
        "routes": ROUTES,
    }
    runtime = Runtime(Settings.model_validate(said), {})
    yield runtime
    await runtime.aclose()


async def explain(runtime: Runtime, model: str, script: str = "", body: dict[str, Any] | None = None) -> Explanation:
    call = read_explained(model, MINIMAL if body is None else json.dumps(body).encode())
    told = await asyncio.to_thread(prepared(runtime, call, read_script(script), 7))
    assert not any(key in str(told) for key in KEYS)
    return told


def chat(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "x"}], **fields}


@pytest.mark.parametrize(
    ("model", "kind", "route"),
    [
        ("smart", "route", "smart"),
        ("clever", "alias of smart", "smart"),
        ("gpt-4o", "wildcard gpt-*", "gpt-4o"),
        ("a/anything", "provider/model", "a/anything"),
    ],
)
async def test_it_says_what_kind_of_name_it_is(runtime: Runtime, model: str, kind: str, route: str) -> None:
    told = await explain(runtime, model)
    assert (told.kind, told.stages[0].route, told.end.status) == (kind, route, 200)


async def test_a_name_that_means_nothing_is_refused_as_it_would_be(runtime: Runtime) -> None:
    with pytest.raises(UnknownModel, match="does not exist"):
        await explain(runtime, "smartt")


async def test_candidates_come_in_order_with_what_speaks_for_them(runtime: Runtime) -> None:
    told = await explain(runtime, "smart")
    first, second = told.stages[0].candidates
    assert (first.deployment, first.input_usd_per_million, first.keys) == ("a/one", 1.0, 2)
    assert (second.deployment, second.context_window, second.input_usd_per_million) == ("own", 1000, None)
    assert (told.stages[1].route, "rate_limit" in told.stages[1].after) == ("spare", True)


async def test_what_is_left_out_has_its_reason(runtime: Runtime) -> None:
    body = chat(
        messages=[
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}
        ]
    )
    told = await explain(runtime, "smart", body=body)
    reasons = {each.deployment: each.reason for each in told.stages[0].left_out}
    assert reasons["a/one"] == "it does not support images"
    assert reasons["openai/three"].startswith("openai has no credential; set ")
    assert told.needs == ["images"]


async def test_a_request_that_nothing_can_serve_is_told_with_its_reasons(runtime: Runtime) -> None:
    told = await explain(runtime, "spare", body={"input": "x"})
    assert (told.end.status, told.end.code, told.steps) == (400, "unsupported_operation", [])


async def test_a_strict_route_passes_over_what_would_lose_a_field(runtime: Runtime) -> None:
    told = await explain(runtime, "exact", body=chat(logit_bias={"1": 1}))
    assert (told.end.status, told.end.code) == (400, "unsupported_parameter")
    assert "logit_bias" in told.stages[0].candidates[0].refuses


async def test_timeouts_come_with_the_settings_that_they_are_from(runtime: Runtime) -> None:
    told = await explain(runtime, "spare", body=chat(stream=True))
    found = {each.name: (each.seconds, each.setting) for each in told.timeouts}
    assert found["first token"] == (7, "routes.spare.deployments.0.timeouts.first_token_seconds")
    assert found["head"] == found["first token"], "a head that comes later is no use"
    assert found["total"] == (600, "upstream.total_seconds")
    whole = {each.name: each.setting for each in (await explain(runtime, "smart")).timeouts}
    assert (whole["total"], whole["answer"]) == ("routes.smart.timeouts.total_seconds", "upstream.answer_seconds")


async def test_every_credential_of_the_upstream_request_is_masked(runtime: Runtime) -> None:
    for model, header in (("a/x", ("authorization", "Bearer ***")), ("anthropic/x", None)):
        request = (await explain(runtime, model)).request
        assert request is not None
        assert header is None or header in request.headers
        assert sum("***" in value for _, value in request.headers) == 1
    assert "canary" not in str(request)


async def test_a_key_is_masked_under_the_header_that_its_beginning_asks_for() -> None:
    said = {"server": {"access_log": "off"}, "providers": {"anthropic": {"credentials": ["sk-ant-oat01-canary"]}}}
    runtime = Runtime(Settings.model_validate(said), {})
    request = (await explain(runtime, "anthropic/x")).request
    await runtime.aclose()
    assert request is not None
    assert dict(request.headers)["authorization"] == "Bearer ***"
    assert "x-api-key" not in dict(request.headers)


async def test_nothing_is_signed_for_an_explanation() -> None:
    environ = {
        "AWS_ACCESS_KEY_ID": "AKIACANARYCANARYCANA",
        "AWS_SECRET_ACCESS_KEY": "aws-canary-0123456789",
        "AWS_REGION": "eu-west-1",
    }
    runtime = Runtime(Settings.model_validate({"server": {"access_log": "off"}}), environ)
    told = await explain(runtime, "bedrock/anthropic.claude-sonnet-4-5")
    await runtime.aclose()
    assert told.request is not None
    assert ("authorization", "***") in told.request.headers
    assert "canary" not in str(told).lower()


async def test_a_header_of_the_file_that_holds_a_secret_is_masked(runtime: Runtime) -> None:
    request = (await explain(runtime, "headed/x")).request
    assert request is not None
    shown = dict(request.headers)
    assert (shown["x-team"], shown["x-gateway-token"]) == ("blue", "***")


async def test_live_obstacles_are_told(runtime: Runtime) -> None:
    first, second = runtime.router.chain("smart").route.deployments
    now = runtime.executor.clock()
    failure = Mishap("rate_limit").failure()
    first.key_ring.keys[0].state.cool(40, now, is_told=True, failure=failure)
    second.vitals.cool(50, now, is_told=True, reason="overloaded")
    told = await explain(runtime, "smart")
    one, two = told.stages[0].candidates
    assert [(each.key, each.reason, each.is_told) for each in one.resting] == [(1, "rate_limit", True)]
    assert 30 < one.resting[0].seconds <= 40
    assert (two.obstacle, 40 < (two.obstacle_seconds or 0) <= 50) == ("cooling down", True)
    assert [(each.deployment, each.key) for each in told.steps] == [("a/one", 2)]


async def test_several_choices_are_played_as_parts(runtime: Runtime) -> None:
    for stream in (False, True):
        told = await explain(runtime, "anthropic/x", "1=401", body=chat(n=3, stream=stream))
        assert [(each.part, each.result) for each in told.steps][:2] == [(0, "ok"), (1, "auth")]
        assert told.end.code == "upstream_auth_error"
        told = await explain(runtime, "anthropic/x", body=chat(n=3, stream=stream))
        assert (len(told.steps), told.end.status) == (3, 200)


async def test_a_connection_that_is_refused_is_what_it_is_in_a_real_run(runtime: Runtime) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        said = {
            "server": {"access_log": "off"},
            "providers": {"a": {"base_url": f"http://127.0.0.1:{port}", "credentials": ["k-canary"]}},
        }
        real = Runtime(Settings.model_validate(said), {}, chance=lambda: 0.5)
        call = read_explained("a/x", MINIMAL)
        outcome = Outcome("req-1")
        told = await asyncio.to_thread(prepared(real, call, read_script("0=refused,1=refused,2=refused,3=connect"), 7))
        with pytest.raises(GatewayError) as refused:
            await real.executor.run(call, real.router.plan("a/x", Asking(call)), outcome)
        await real.aclose()
    failures = [each.failure for each in outcome.attempts]
    assert [(each.result, each.status) for each in told.steps] == [("connect", None)] * len(failures)
    assert (told.end.status, told.end.code) == (refused.value.status, refused.value.code)


async def test_a_day_of_waiting_is_told_at_once(runtime: Runtime) -> None:
    said = {
        "server": {"access_log": "off"},
        "upstream": {"total_seconds": 86400, "answer_seconds": 86000},
        "providers": {"b": PROVIDERS["b"]},
    }
    patient = Runtime(Settings.model_validate(said), {})
    async with asyncio.timeout(10):
        told = await explain(patient, "b/x", "0=timeout")
    assert (told.steps[0].seconds, told.end.status) == (86000, 504)
    await patient.aclose()


def test_a_script_says_which_attempt_fails_how() -> None:
    script = read_script(" 0=429:20, 1=timeout ,5=quota:0.5,")
    assert script == {0: Mishap("429", 20.0), 1: Mishap("timeout"), 5: Mishap("quota", 0.5)}
    assert read_script("") == {}
    assert set(WORDS) == {*FailureKind, "refused", "reset"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("0=later", "'later' in '0=later' is no failure; known are the statuses 300 to 599, timeout, refused"),
        ("0=200", "'200' in '0=200' is no failure"),
        ("0=600", "'600'"),
        ("timeout", "'timeout' is no failure of an attempt; write ATTEMPT=FAILURE, such as 0=429:20"),
        ("0=429,0=500", "attempt 0 is told to fail twice"),
        ("-1=429", "'-1=429'"),
        ("0=429:x", "'0=429:x'"),
        ("0=429:90000", "90000 in '0=429:90000' is over 86400"),
        ("0=" + "x" * 5000, "xxx..."),
    ],
)
def test_a_script_that_cannot_be_read_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(BadScript) as refused:
        read_script(text)
    assert named in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("word", WORDS)
async def test_every_word_can_be_played(runtime: Runtime, word: str) -> None:
    told = await explain(runtime, "smart", f"0={word}")
    meant = {"refused": "connect", "reset": "connect"}.get(word, word)
    assert told.steps[0].result == meant


@pytest.mark.parametrize("status", range(300, 600, 7))
async def test_every_status_can_be_played(runtime: Runtime, status: int) -> None:
    told = await explain(runtime, "smart", f"0={status}")
    assert told.steps[0].status == status


def test_the_model_of_a_body_gives_way_to_the_one_that_is_asked_for() -> None:
    assert read_explained("m", b'{"model": "other", "prompt": "x"}').body == b'{"model":"m","prompt":"x"}'
    exact = b'{"model": "m",  "input": "x"}'
    assert read_explained("m", exact).body is exact


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"messages": []}', b'{"prompt": "x", "prompt": "y"}'])
def test_a_body_that_the_main_port_would_refuse_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_explained("m", body)
