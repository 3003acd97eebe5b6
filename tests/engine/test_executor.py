"""The attempt loop against a scripted upstream: what is committed, what is repeated, what the client hears."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from adapters.failures import FailureKind as K
from adapters.openai import OpenAIAdapter
from adapters.types import Headers, HttpRequest, Operation
from gateway.credentials.errors import CredentialUnavailable
from gateway.engine.answer import Answer
from gateway.errors import UnsupportedOperation, UnsupportedParameter, UpstreamTimeout
from gateway.transport.base import Fault, Timeouts
from tests.engine.doubles import BODY, ROLE, SECRET, Stage, call_of, dead, failed

# Whole answers.


async def test_a_whole_answer_comes_back_with_its_usage(stage: Stage) -> None:
    response = stage.response(BODY[:20], BODY[20:], content_type="application/json")
    answer = await stage.run(response)
    assert isinstance(answer, Answer)
    assert answer.reply.body == BODY
    assert (answer.reply.usage.prompt, answer.reply.usage.completion) == (3, 2)
    assert (answer.reply.model, answer.reply.finish) == ("up", "stop")
    assert answer.deployment is stage.deployment
    assert response.releases == 1


async def test_the_request_carries_the_credential_and_the_upstreams_model(stage: Stage) -> None:
    await stage.run(stage.response(BODY))
    request, timeouts, fresh = stage.script.sent[0]
    assert (request.method, request.url) == ("POST", "http://127.0.0.1:9/v1/chat/completions")
    assert dict(request.headers)["authorization"] == f"Bearer {SECRET}"
    assert json.loads(request.body)["model"] == "upstream-model"
    assert timeouts == Timeouts(connect=5, pool=1, head=60, idle=30)
    assert fresh is False


async def test_the_outcome_records_the_attempt() -> None:
    stage = Stage(rules={"drop": ["store"]})
    await stage.run(stage.response(2.0, BODY), store=True)
    outcome = stage.outcome
    assert (outcome.deployment, outcome.provider, outcome.dropped) == ("p/m", "p", ("store",))
    (attempt,) = outcome.attempts
    assert (attempt.number, attempt.deployment, attempt.failure) == (1, "p/m", None)
    assert (attempt.started, attempt.first_byte, attempt.ended) == (1000.0, 1000.0, 1002.0)
    assert outcome.upstream_seconds == 2.0


async def test_a_field_that_cannot_be_expressed_is_the_clients_400_and_nothing_is_sent() -> None:
    stage = Stage(rules={"reject_above": {"n": 4}})
    with pytest.raises(UnsupportedParameter) as refused:
        await stage.run(n=6)
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "unsupported_parameter", "n")
    assert stage.script.sent == []
    assert stage.outcome.attempts == [], "what was never tried is no attempt"


async def test_a_strict_request_is_refused_if_it_would_lose_a_field() -> None:
    stage = Stage(rules={"drop": ["store", "seed"]}, is_strict=True)
    with pytest.raises(UnsupportedParameter) as refused:
        await stage.run(store=True, seed=1)
    error = refused.value
    assert (error.status, error.code) == (400, "unsupported_parameter")
    assert error.param in ("store", "seed")
    assert "store" in error.message
    assert "seed" in error.message
    assert (stage.script.sent, stage.outcome.attempts, stage.outcome.dropped) == ([], [], ())


async def test_the_refusal_of_a_strict_request_names_ten_fields() -> None:
    names = [f"field_{number}" for number in range(12)]
    stage = Stage(rules={"drop": names}, is_strict=True)
    with pytest.raises(UnsupportedParameter, match="and 2 more"):
        await stage.run(**dict.fromkeys(names, 1))


async def test_a_strict_request_that_loses_nothing_is_answered() -> None:
    answer = await Stage(rules={"drop": ["store"]}, is_strict=True).run(*[Stage().response(BODY)], seed=1)
    assert answer.reply.body == BODY


async def test_an_operation_that_the_protocol_has_not_is_the_clients_400(stage: Stage) -> None:
    call = msgspec.structs.replace(call_of(), operation=Operation.MODELS)
    with pytest.raises(UnsupportedOperation) as refused:
        await stage.play(call)
    error = refused.value
    assert (error.status, error.code, error.param) == (400, "unsupported_operation", "model")
    assert error.message.startswith("p/m: p has no models; what it has: chat, completions, embeddings")
    assert stage.script.sent == []
    assert (stage.outcome.deployment, stage.outcome.provider) == ("p/m", "p")


# Credentials that depend on the request.


@dataclass
class Signs:
    """Signs with the digest of what it is shown, or has nothing to sign with."""

    trouble: Exception | None = None
    wait: asyncio.Event | None = None
    shown: list[HttpRequest] = field(default_factory=list)

    async def sign(self, request: HttpRequest) -> Headers:
        self.shown.append(request)
        if self.wait is not None:
            await self.wait.wait()
        if self.trouble is not None:
            raise self.trouble
        return (("x-signature", hashlib.sha256(request.body).hexdigest()),)


async def test_a_signature_is_made_of_the_request_that_is_sent() -> None:
    signer = Signs()
    stage = Stage(signer=signer)
    await stage.run(stage.response(BODY))
    sent, _, _ = stage.script.sent[0]
    (shown,) = signer.shown
    assert (sent.method, sent.url, sent.body) == (shown.method, shown.url, shown.body)
    assert dict(sent.headers) == {
        **dict(shown.headers), "x-signature": hashlib.sha256(sent.body).hexdigest(),
    }  # fmt: skip


async def test_each_attempt_is_signed_anew() -> None:
    signer = Signs()
    stage = Stage(signer=signer)
    await stage.run(dead(replayable=True), stage.response(BODY))
    assert len(signer.shown) == 2


async def test_a_credential_that_cannot_be_had_is_told_and_nothing_is_sent() -> None:
    stage = Stage(signer=Signs(CredentialUnavailable(f"no token: run `login` {SECRET}")))
    error = await failed(stage)
    assert (error.status, error.code, error.should_retry) == (502, "upstream_auth_error", False)
    assert error.message == "p/m: no token: run `login` ***"
    assert stage.script.sent == []
    assert stage.outcome.attempts[0].failure.kind is K.AUTH


async def test_a_credential_that_never_comes_is_ended_by_the_total_limit() -> None:
    stage = Stage(signer=Signs(wait=asyncio.Event()), total=0.01)
    error = await failed(stage)
    assert (error.status, error.code) == (504, "upstream_timeout")
    assert stage.script.sent == []


# Faults of our own.


class Broken(OpenAIAdapter):
    """An adapter with a bug at one place."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "_place"):
            raise ZeroDivisionError(name)
        return object.__getattribute__(self, name)


@pytest.mark.parametrize("place", ["parts", "request", "reply", "stream", "failure"])
async def test_an_adapters_bug_gives_the_connection_back(place: str) -> None:
    stage = Stage(adapter=Broken(place))
    response = stage.response(BODY, status=500 if place == "failure" else 200)
    with pytest.raises(ZeroDivisionError):
        await stage.run(response, stream=place == "stream")
    assert response.releases == len(stage.script.sent) == (0 if place in ("parts", "request") else 1)
    assert all(attempt.ended is not None for attempt in stage.outcome.attempts)


async def test_an_answer_over_the_cap_is_given_up() -> None:
    stage = Stage(limit=100)
    response = stage.response(b"x" * 60, b"x" * 60)
    error = await failed(stage, response)
    assert (error.status, error.code) == (502, "upstream_invalid_response")
    assert "upstream.max_response_bytes" in error.message
    assert response.releases == 1


async def test_an_answer_that_trickles_is_ended_by_the_total_limit() -> None:
    stage = Stage(total=50)
    response = stage.response(*[b" ", 20.0] * 10)
    error = await failed(stage, response)
    assert isinstance(error, UpstreamTimeout)
    assert "upstream.total_seconds" in error.message
    assert stage.clock.now <= 1060
    assert response.releases == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"choices":[]}', b'{"choices":null}', b"null", b"\xff"])
async def test_an_answer_that_is_none_is_a_502(stage: Stage, body: bytes) -> None:
    response = stage.response(*([body] if body else []))
    error = await failed(stage, response)
    assert (error.status, error.type, error.should_retry) == (502, "upstream_error", False)
    assert error.code in ("upstream_invalid_response", "upstream_empty_response")
    assert response.releases == 1


async def test_an_error_under_status_200_gets_a_real_status(stage: Stage) -> None:
    error = await failed(stage, stage.response(b'{"error":{"code":429,"message":"slow down"}}'))
    assert (error.status, error.code, error.message) == (429, "rate_limit_exceeded", "p/m: slow down")


async def test_a_refusal_passes_the_rate_limits_on_but_nothing_that_looks_like_a_key(stage: Stage) -> None:
    limits = {"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "6m0s", "retry_after": "7"}
    response = stage.response(b"{}", status=429, server="nginx", x_ratelimit_key=SECRET, **limits)
    error = await failed(stage, response)
    headers = dict(error.headers())
    assert headers["x-ratelimit-remaining-tokens"] == "0"
    assert headers["x-ratelimit-reset-tokens"] == "6m0s"
    assert headers["retry-after"] == "7"
    assert not {"server", "x-ratelimit-key"} & set(headers)


# What is repeated.


async def test_a_pooled_connection_that_died_unused_is_replaced_once_by_a_fresh_one(stage: Stage) -> None:
    answer = await stage.run(dead(replayable=True), stage.response(BODY))
    assert isinstance(answer, Answer)
    assert [fresh for _, _, fresh in stage.script.sent] == [False, True]
    first, second = stage.outcome.attempts
    assert first.failure is not None
    assert (first.failure.kind, second.failure, second.number) == (K.CONNECT, None, 2)
    assert stage.script.sent[0][0].body == stage.script.sent[1][0].body


async def test_it_is_replaced_only_once(stage: Stage) -> None:
    error = await failed(stage, dead(replayable=True), dead(replayable=True), dead(replayable=True))
    assert (error.status, error.code) == (502, "upstream_disconnected")
    assert len(stage.script.sent) == 2


async def test_nothing_else_is_repeated(stage: Stage) -> None:
    await failed(stage, dead())
    assert len(stage.script.sent) == 1
    await failed(stage, stage.response(b"", status=503))
    assert len(stage.script.sent) == 1


async def test_no_attempt_begins_after_the_deadline() -> None:
    stage = Stage(total=0)
    error = await failed(stage)
    assert (error.status, error.code) == (504, "upstream_timeout")
    assert stage.script.sent == []


async def test_the_last_attempt_may_take_no_longer_than_what_is_left() -> None:
    stage = Stage(total=20)
    await stage.run(stage.response(BODY))
    total = "upstream.total_seconds"
    expected = Timeouts(connect=5, pool=1, head=20, idle=20, head_setting=total, idle_setting=total)
    assert stage.script.sent[0][1] == expected


# Trouble below HTTP.


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.CONNECT, 502, "upstream_connection_error"),
        (Fault.DNS, 502, "upstream_dns_error"),
        (Fault.TLS, 502, "upstream_tls_error"),
        (Fault.POOL, 503, "overloaded"),
        (Fault.TIMEOUT, 504, "upstream_timeout"),
        (Fault.DISCONNECTED, 502, "upstream_disconnected"),
        (Fault.PROTOCOL, 502, "upstream_invalid_response"),
        (Fault.TOO_LARGE, 502, "upstream_invalid_response"),
    ],
)
@pytest.mark.parametrize("is_late", [False, True], ids=["head", "body"])
async def test_the_networks_trouble_is_told(stage: Stage, fault: Fault, status: int, code: str, is_late: bool) -> None:
    trouble = dead(fault, setting="upstream.x_seconds")
    error = await failed(stage, stage.response(trouble) if is_late else trouble)
    assert (error.status, error.code, error.should_retry) == (status, code, False)
    assert error.message == "p/m: the connection died (upstream.x_seconds)"
    assert dict(error.headers()).get("retry-after") == ("1" if fault is Fault.POOL else None)


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 304])
async def test_redirects_are_refused_and_never_followed(stage: Stage, status: int) -> None:
    response = stage.response(status=status, location="http://169.254.169.254/")
    error = await failed(stage, response)
    assert (error.status, error.code) == (502, "upstream_redirect")
    assert "169.254" not in error.message
    assert (len(stage.script.sent), response.releases) == (1, 1)


async def test_an_error_body_that_breaks_off_is_classified_by_its_status(stage: Stage) -> None:
    response = stage.response(b'{"error":', dead(), status=401)
    error = await failed(stage, response)
    assert (error.status, error.code) == (502, "upstream_auth_error")
    assert response.releases == 1


async def test_what_an_upstream_says_is_scrubbed_and_cut(stage: Stage) -> None:
    said = json.dumps({"error": {"message": f"key {SECRET} is bad\x1b[2J\n" + "x" * 5000}}).encode()
    error = await failed(stage, stage.response(said, status=400))
    assert SECRET not in error.message
    assert len(error.message) < 300
    assert "\x1b" not in error.message
    assert "\n" not in error.message


# Leaving.


@pytest.mark.parametrize("fields", [{}, {"stream": True}])
async def test_a_cancelled_request_releases_its_response_once(stage: Stage, fields: dict[str, Any]) -> None:
    response = stage.response(ROLE, asyncio.Event())
    task = asyncio.create_task(stage.run(response, **fields))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert response.releases == 1
    assert stage.outcome.attempts[0].ended == stage.clock.now


async def test_a_request_cancelled_before_the_head_ends_its_attempt(stage: Stage) -> None:
    task = asyncio.create_task(stage.run(asyncio.Event()))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.outcome.attempts[0].ended is not None
