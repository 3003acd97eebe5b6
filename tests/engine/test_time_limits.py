"""What ends an attempt or a request that takes too long, and which setting the error names."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from gateway.engine.hints import Hints
from gateway.engine.pace import PACE_SECONDS
from gateway.errors import UpstreamError, UpstreamTimeout
from gateway.routing.deployment import Limit, Waits
from gateway.routing.route import RetryPolicy
from gateway.transport.base import Timeouts
from tests.engine.doubles import END, MORE, PING, ROLE, TEXT, Late, Silence
from tests.engine.fleet import BODY, Fleet, read_all

WHOLE = Limit(20, "the client's header x-request-timeout")
BEGIN = Limit(20, "the client's header x-stainless-read-timeout")
PHASES = Timeouts(
    connect=5,
    pool=1,
    head=60,
    idle=30,
    head_setting="routes.r.timeouts.head_seconds",
    idle_setting="routes.r.timeouts.between_tokens_seconds",
)
WAITS = Waits(
    stream=PHASES,
    answer=replace(PHASES, head_setting="routes.r.timeouts.answer_seconds"),
    first_token=Limit(40, "routes.r.timeouts.first_token_seconds"),
)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(retry=ONCE)


async def timed_out(fleet: Fleet, hints: Hints | None = None, **fields: Any) -> str:
    """Returns what a request is told that must time out; everything is at rest then."""
    with pytest.raises(UpstreamTimeout) as caught:
        await fleet.run(hints=hints or Hints(), **fields)
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")
    fleet.assert_at_rest()
    return caught.value.message


async def broken_off(fleet: Fleet, hints: Hints | None = None) -> tuple[bytes, str]:
    """Returns what came of a stream before it timed out, and what the client is told."""
    stream = await fleet.run(hints=hints or Hints(), stream=True)
    told = await read_all(stream)
    assert isinstance(stream.error, UpstreamError)
    assert (stream.error.status, stream.error.code) == (504, "upstream_timeout")
    await stream.aclose()
    fleet.assert_at_rest()
    return told, stream.error.message


# The phases of an attempt.


@pytest.mark.parametrize(
    ("stream", "setting"),
    [(True, "routes.r.timeouts.head_seconds"), (False, "routes.r.timeouts.answer_seconds")],
)
async def test_a_head_that_does_not_come_names_the_setting_that_ended_it(
    fleet: Fleet, stream: bool, setting: str
) -> None:
    first_token = Limit(100, "upstream.first_token_seconds")
    fleet.add("a/m", Late(Silence(61), fleet.response()), waits=replace(WAITS, first_token=first_token))
    assert setting in await timed_out(fleet, stream=stream)
    assert fleet.clock.now == 1060


async def test_a_body_that_falls_silent_names_the_setting_that_ended_it(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(BODY[:20], Silence(31), BODY[20:]), waits=WAITS)
    assert "routes.r.timeouts.between_tokens_seconds" in await timed_out(fleet)
    assert fleet.clock.now == 1030


@pytest.mark.parametrize("before", [(), (ROLE,), (PING, ROLE)])
async def test_a_stream_without_a_first_token_names_the_setting_that_ended_it(
    fleet: Fleet, before: tuple[bytes, ...]
) -> None:
    fleet.add("a/m", fleet.response(*before, Silence(41), TEXT, END), waits=WAITS)
    assert "routes.r.timeouts.first_token_seconds" in await timed_out(fleet, stream=True)
    assert fleet.clock.now == 1040


async def test_the_head_counts_towards_the_first_token(fleet: Fleet) -> None:
    fleet.add("a/m", Late(Silence(25), fleet.response(ROLE, Silence(20), TEXT, END)), waits=WAITS)
    assert "routes.r.timeouts.first_token_seconds" in await timed_out(fleet, stream=True)
    assert fleet.clock.now == 1040


async def test_pings_before_the_first_token_keep_no_timeout_away(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(*[PING, Silence(15)] * 10, TEXT, END), waits=WAITS)
    assert "routes.r.timeouts.first_token_seconds" in await timed_out(fleet, stream=True)
    assert fleet.clock.now <= 1045


async def test_a_slow_first_token_is_no_slow_stream(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(Silence(39), TEXT, Silence(29), MORE, Silence(29), END), waits=WAITS)
    stream = await fleet.run(stream=True)
    assert await read_all(stream) == TEXT + MORE + END
    assert stream.error is None
    await stream.aclose()
    fleet.assert_at_rest()


async def test_a_stream_that_falls_silent_names_the_setting_that_ended_it(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(TEXT, Silence(31), END), waits=WAITS)
    told, message = await broken_off(fleet)
    assert told == TEXT
    assert "routes.r.timeouts.between_tokens_seconds" in message
    assert fleet.clock.now == 1030


async def test_pings_alone_are_silence(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(TEXT, *[Silence(10), PING] * 10, MORE, END), waits=WAITS)
    told, message = await broken_off(fleet)
    assert told.replace(PING, b"") == TEXT
    assert "routes.r.timeouts.between_tokens_seconds" in message
    assert fleet.clock.now <= 1040


# One attempt, one request.


@pytest.mark.parametrize("stream", [False, True])
async def test_an_attempt_has_a_limit_of_its_own_and_another_deployment_takes_over(stream: bool) -> None:
    fleet = Fleet(retry=RetryPolicy(attempts=2))
    waits = replace(WAITS, attempt=Limit(10, "routes.r.deployments.0.timeouts.total_seconds"))
    a = fleet.add("a/m", Late(Silence(11), fleet.response()), waits=waits)
    fleet.add("b/m", fleet.response(TEXT, END) if stream else fleet.response())
    answer = await fleet.run(stream=stream)
    assert answer.deployment.id == "b/m"
    assert (fleet.clock.now, a.vitals.consecutive) == (1010, 1)
    failure = fleet.outcome.attempts[0].failure
    assert failure is not None
    assert "routes.r.deployments.0.timeouts.total_seconds" in failure.message
    if stream:
        await answer.aclose()
    fleet.assert_at_rest()


async def test_a_trickling_answer_ends_with_its_attempt(fleet: Fleet) -> None:
    waits = replace(WAITS, attempt=Limit(50, "routes.r.deployments.0.timeouts.total_seconds"))
    fleet.add("a/m", fleet.response(*[b" ", Silence(20)] * 5), waits=waits)
    assert "routes.r.deployments.0.timeouts.total_seconds" in await timed_out(fleet)
    assert fleet.clock.now == 1050


async def test_the_limit_of_an_attempt_holds_for_a_stream_after_its_first_content_too(fleet: Fleet) -> None:
    waits = replace(WAITS, attempt=Limit(50, "routes.r.deployments.0.timeouts.total_seconds"))
    fleet.add("a/m", fleet.response(TEXT, *[Silence(20), MORE] * 5, END), waits=waits)
    told, message = await broken_off(fleet)
    assert told.startswith(TEXT + MORE)
    assert "routes.r.deployments.0.timeouts.total_seconds" in message
    assert fleet.clock.now == 1050


async def test_all_attempts_together_take_no_longer_than_the_request_may() -> None:
    fleet = Fleet(total=50)
    a = fleet.add("a/m", Late(Silence(40), fleet.response(status=500)), waits=WAITS)
    b = fleet.add("b/m", Late(Silence(40), fleet.response()), waits=WAITS)
    assert "upstream.total_seconds" in await timed_out(fleet)
    assert (fleet.clock.now, fleet.sent) == (1050, ["a/m", "b/m"])
    assert (a.vitals.consecutive, b.vitals.consecutive) == (1, 0), "b had no fair chance"


async def test_a_pause_that_does_not_fit_into_the_request_is_not_waited_for() -> None:
    fleet = Fleet(total=5)
    fleet.add("a/m", fleet.response(status=429, retry_after="7"))
    with pytest.raises(UpstreamError) as caught:
        await fleet.run()
    assert (caught.value.status, fleet.pauses, fleet.clock.now) == (429, [], 1000)
    assert dict(caught.value.headers())["retry-after"] == "7"


# What the client says.


@pytest.mark.parametrize("hints", [Hints(whole=WHOLE), Hints(begin=BEGIN)])
async def test_a_client_that_waits_less_is_told_its_own_limit(fleet: Fleet, hints: Hints) -> None:
    fleet.add("a/m", Late(Silence(30), fleet.response()), waits=WAITS)
    limit = hints.whole or hints.begin
    assert limit is not None
    assert limit.setting in await timed_out(fleet, hints)
    assert fleet.clock.now == 1020


@pytest.mark.parametrize("hints", [Hints(whole=WHOLE), Hints(begin=BEGIN)])
async def test_a_clients_limit_holds_for_all_of_a_whole_answer(fleet: Fleet, hints: Hints) -> None:
    fleet.add("a/m", fleet.response(*[b" ", Silence(8)] * 10), waits=WAITS)
    limit = hints.whole or hints.begin
    assert limit is not None
    assert limit.setting in await timed_out(fleet, hints)
    assert fleet.clock.now == 1020


@pytest.mark.parametrize("hints", [Hints(whole=WHOLE), Hints(begin=BEGIN)])
async def test_a_clients_limit_holds_until_a_stream_begins(fleet: Fleet, hints: Hints) -> None:
    fleet.add("a/m", fleet.response(ROLE, Silence(30), TEXT, END), waits=WAITS)
    limit = hints.whole or hints.begin
    assert limit is not None
    assert limit.setting in await timed_out(fleet, hints, stream=True)
    assert fleet.clock.now == 1020


async def test_a_limit_of_the_whole_request_ends_a_stream_that_has_begun(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(TEXT, *[Silence(8), MORE] * 10, END), waits=WAITS)
    told, message = await broken_off(fleet, Hints(whole=WHOLE))
    assert told == TEXT + MORE + MORE
    assert "x-request-timeout" in message
    assert fleet.clock.now == 1020


async def test_a_limit_of_the_beginning_does_not(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response(TEXT, *[Silence(8), MORE] * 10, END), waits=WAITS)
    stream = await fleet.run(hints=Hints(begin=BEGIN), stream=True)
    assert await read_all(stream) == TEXT + MORE * 10 + END
    assert (stream.error, fleet.clock.now) == (None, 1080)
    await stream.aclose()


async def test_of_two_limits_of_a_client_the_shorter_counts(fleet: Fleet) -> None:
    fleet.add("a/m", Late(Silence(30), fleet.response()), waits=WAITS)
    hints = Hints(whole=WHOLE, begin=replace(BEGIN, seconds=10))
    assert "x-stainless-read-timeout" in await timed_out(fleet, hints)
    assert fleet.clock.now == 1010


async def test_a_client_that_waits_longer_changes_nothing() -> None:
    fleet = Fleet(retry=ONCE, total=15)
    fleet.add("a/m", Late(Silence(30), fleet.response()), waits=WAITS)
    assert "upstream.total_seconds" in await timed_out(fleet, Hints(whole=WHOLE, begin=BEGIN))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_impatient_client_is_not_held_against_the_deployment(fleet: Fleet, stream: bool) -> None:
    a = fleet.add("a/m", Late(Silence(30), fleet.response()), waits=WAITS)
    await timed_out(fleet, Hints(begin=BEGIN), stream=stream)
    assert a.vitals.consecutive == 0


# The pace.


async def test_a_stream_slower_than_it_may_be_names_the_setting_that_ended_it(fleet: Fleet) -> None:
    waits = replace(WAITS, pace=Limit(100, "routes.r.timeouts.min_bytes_per_second"))
    fleet.add("a/m", fleet.response(TEXT, *[Silence(PACE_SECONDS / 4), MORE] * 20, END), waits=waits)
    told, message = await broken_off(fleet)
    assert told.startswith(TEXT)
    assert "routes.r.timeouts.min_bytes_per_second" in message
    assert fleet.clock.now == 1000 + PACE_SECONDS


async def test_an_answer_slower_than_it_may_be_names_the_setting_that_ended_it(fleet: Fleet) -> None:
    waits = replace(WAITS, pace=Limit(100, "routes.r.timeouts.min_bytes_per_second"))
    fleet.add("a/m", fleet.response(*[b" ", Silence(PACE_SECONDS / 4)] * 20, BODY), waits=waits)
    assert "routes.r.timeouts.min_bytes_per_second" in await timed_out(fleet)
    assert fleet.clock.now == 1000 + PACE_SECONDS


async def test_a_slow_client_is_not_taken_for_a_slow_upstream(fleet: Fleet) -> None:
    waits = replace(WAITS, pace=Limit(1000, "routes.r.timeouts.min_bytes_per_second"))
    fleet.add("a/m", fleet.response(TEXT, MORE, MORE, END), waits=waits)
    stream = await fleet.run(stream=True)
    while await stream.next():
        fleet.clock.now += 2 * PACE_SECONDS
    assert stream.error is None
    await stream.aclose()


async def test_what_is_fast_enough_is_not_ended(fleet: Fleet) -> None:
    waits = replace(WAITS, pace=Limit(10, "routes.r.timeouts.min_bytes_per_second"), attempt=Limit(inf, ""))
    fleet.add("a/m", fleet.response(TEXT, *[Silence(PACE_SECONDS / 4), MORE] * 20, END), waits=waits)
    stream = await fleet.run(stream=True)
    assert await read_all(stream) == TEXT + MORE * 20 + END
    assert stream.error is None
    await stream.aclose()
