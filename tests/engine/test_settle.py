"""The record of a finished request says what it used, what that cost, and how sure that is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from adapters.failures import Failure, FailureKind
from adapters.types import Usage
from gateway.access.keys import ANONYMOUS, Caller
from gateway.domain import Attempt, Outcome, Price, Rates
from gateway.engine.cost import Prices
from gateway.engine.settle import Settler
from gateway.records import AttemptRecord, Project, Team, UsageRecord, VirtualKey
from gateway.registry.facts import UNKNOWN, ModelFacts
from gateway.routing.route import Plan, Route, Stage
from tests.engine.fleet import Fleet

NAME = "acme/m"
KNOWN = ModelFacts(price=Price(Rates(2_000_000, 4_000_000)), price_version="prices 1")


def settle(
    facts: ModelFacts = KNOWN,
    price: Price | None = None,
    is_price_own: bool = False,
    client: Caller = ANONYMOUS,
    **said: Any,
) -> UsageRecord:
    values: dict[str, Any] = {
        "operation": "chat",
        "model": "fast",
        "deployment": NAME,
        "status": 200,
        "bytes_in": 400,
        "attempts": [Attempt(1, NAME, 10.0, ended=11.0, route="fast")],
        "started": 10.0,
        **said,
    }
    deployment = replace(Fleet().add(NAME), price=price, is_price_own=is_price_own)
    plan = Plan("fast", (Stage(Route("fast", (deployment,))),))

    def known(provider: str, model: str, at: datetime) -> ModelFacts:
        return facts

    settler = Settler(prices=Prices(known), wall=lambda: 1_000.0, clock=lambda: 12.5)
    return settler.settle(Outcome("req_1", **values), plan, client, "req_1")


def bill(record: UsageRecord) -> tuple[str, int | None, str]:
    return record.usage_source, record.cost_nano_usd, record.price_version


def test_reported_usage_is_priced_and_the_price_says_where_it_is_from() -> None:
    record = settle(usage=Usage(10, 5, cached_prompt=4, cache_write=1, reasoning=2))
    assert bill(record) == ("reported", 40, "prices 1")
    counts = (record.input_tokens, record.cached_tokens, record.cache_write_tokens)
    assert (*counts, record.output_tokens, record.reasoning_tokens) == (10, 4, 1, 5, 2)
    assert (record.at_ms, record.total_ms) == (1_000_000, 2500.0)


def test_the_price_of_the_route_wins_over_what_is_known_of_the_model() -> None:
    price = Price(Rates(7_000_000, 1_000_000, cached_input=2_000_000))
    own = settle(price=price, is_price_own=True, usage=Usage(10, 5, cached_prompt=4))
    assert bill(own) == ("reported", 6 * 7 + 4 * 2 + 5, "configuration")
    assert bill(settle(price=price, usage=Usage(10, 5))) == ("reported", 40, "prices 1")


def test_an_unknown_price_is_no_price_of_zero() -> None:
    assert bill(settle(UNKNOWN, usage=Usage(10, 5))) == ("reported", None, "")


def test_an_answer_without_counts_is_estimated_and_called_so() -> None:
    record = settle(stream=True, events=30, bytes_out=9_000)
    assert (record.usage_source, record.input_tokens, record.output_tokens) == ("estimated", 100, 30)
    assert record.cost_nano_usd == 100 * 2 + 30 * 4


def test_long_events_count_by_their_bytes() -> None:
    assert settle(stream=True, events=2, bytes_out=4_800).output_tokens == 1_000


def test_a_request_that_its_client_cancelled_before_an_answer_has_cost_its_input_at_least() -> None:
    running = [Attempt(1, NAME, 10.0, is_lost=True, route="fast")]
    record = settle(status=499, is_cancelled=True, attempts=running)
    assert (record.usage_source, record.input_tokens, record.output_tokens) == ("estimated", 100, 0)
    assert record.is_cancelled
    assert [attempt.kind for attempt in record.attempts] == ["lost"]


def test_what_a_client_was_sent_that_read_too_slowly_to_be_told_the_end_is_counted() -> None:
    record = settle(
        status=499, is_cancelled=True, error_code="client_too_slow", stream=True, events=30, bytes_out=9_000
    )
    assert (record.usage_source, record.input_tokens, record.output_tokens) == ("estimated", 100, 30)


@pytest.mark.parametrize("ended", [{"is_cancelled": True}, {"error_code": "upstream_error"}])
def test_counts_from_the_beginning_of_a_stream_that_was_cut_are_not_its_output(ended: dict[str, Any]) -> None:
    cut = {"stream": True, "events": 30, "bytes_out": 9_000, **ended}
    record = settle(usage=Usage(77, 1), **cut)
    assert (record.usage_source, record.input_tokens, record.output_tokens) == ("estimated", 77, 30)
    record = settle(usage=Usage(77, 40), **cut)
    assert (record.usage_source, record.output_tokens) == ("reported", 40)
    record = settle(usage=Usage(77, 1), finish="stop", **cut)
    assert (record.usage_source, record.output_tokens) == ("reported", 1)
    record = settle(usage=Usage(154, 9, calls=2), finish="stop", **cut)
    assert (record.usage_source, record.output_tokens) == ("estimated", 30)


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_request_of_which_every_attempt_failed_costs_nothing(is_cancelled: bool) -> None:
    failed = [Attempt(1, NAME, 10.0, Failure(FailureKind.SERVER, "no", 500), ended=11.0, route="fast")]
    record = settle(status=502, error_code="upstream_error", attempts=failed, is_cancelled=is_cancelled)
    assert bill(record) == ("none", 0, "")
    assert [(each.kind, each.status, each.milliseconds) for each in record.attempts] == [("server", 500, 1000.0)]


def test_a_record_names_the_key_and_whose_it_is() -> None:
    key = VirtualKey("k1", "laptop", b"digest", team_id="t1", project_id="p1")
    client = Caller("laptop", key=key, project=Project("p1", "web", "t1"), team=Team("t1", "shop"))
    record = settle(client=client, usage=Usage(1, 1))
    assert (record.key_id, record.project_id, record.team_id) == ("k1", "p1", "t1")


def test_the_numbers_of_an_embedding_are_no_tokens() -> None:
    record = settle(operation="embeddings", bytes_out=40_000)
    assert (record.usage_source, record.input_tokens, record.output_tokens) == ("estimated", 100, 0)


@pytest.mark.parametrize(("facts", "cost"), [(KNOWN, 40), (UNKNOWN, None)])
def test_metrics_hear_of_the_cost_and_of_an_unknown_one(facts: ModelFacts, cost: int | None) -> None:
    deployment = Fleet().add(NAME)
    outcome = Outcome("req_1", operation="chat", deployment=NAME, status=200, usage=Usage(10, 5))
    plan = Plan("fast", (Stage(Route("fast", (deployment,))),))
    settler = Settler(prices=Prices(lambda provider, model, at: facts), wall=lambda: 1_000.0, clock=lambda: 1.0)
    settler.settle(outcome, plan, ANONYMOUS, "req_1")
    assert outcome.cost_nano_usd == cost


def test_the_echo_of_the_demo_costs_nothing() -> None:
    echo = replace(Fleet().add("demo/echo"), provider="demo")
    assert Prices(lambda provider, model, at: UNKNOWN).of(echo, 0.0) == (Price(Rates(0, 0)), "")


def test_every_member_of_a_record_has_what_belongs_there() -> None:
    attempts = [
        Attempt(1, "other/m", 10.0, Failure(FailureKind.SERVER, "no", 500), ended=10.5, route="fast"),
        Attempt(2, NAME, 10.5, ended=11.0, route="fast", is_hedge=True),
    ]
    record = settle(
        client=Caller(key=VirtualKey("k1", "laptop", b""), project=Project("p1", "web"), team=Team("t1", "shop")),
        provider="acme",
        response_model="m-2025",
        stream=True,
        error_code="upstream_error",
        usage=Usage(100, 50, cached_prompt=40, cache_write=10, reasoning=20),
        first_byte=10.75,
        upstream_seconds=0.25,
        fallback="slow",
        attempts=attempts,
        finish="stop",
        is_cancelled=True,
    )
    tried = (AttemptRecord("other/m", "server", 500, 500.0), AttemptRecord(NAME, "ok", None, 500.0, is_hedge=True))
    assert record == UsageRecord(
        id="req_1",
        at_ms=1_000_000,
        operation="chat",
        route="fast",
        status=200,
        key_id="k1",
        team_id="t1",
        project_id="p1",
        deployment=NAME,
        provider="acme",
        model="m-2025",
        stream=True,
        error="upstream_error",
        input_tokens=100,
        cached_tokens=40,
        cache_write_tokens=10,
        output_tokens=50,
        reasoning_tokens=20,
        usage_source="reported",
        cost_nano_usd=400,
        price_version="prices 1",
        ttft_ms=750.0,
        total_ms=2500.0,
        overhead_ms=500.0,
        attempts=tried,
        fallback="slow",
        hedged=NAME,
        is_cancelled=True,
    )
