"""Fields that a provider does not take: named afterwards, or refused beforehand where the client wants that."""

from __future__ import annotations

import pytest

from tests.faults.client import one_answer, request_bytes, talk
from tests.faults.rejections import assert_rejected
from tests.faults.shapes import FINISH, ROLE, WORDS, fine
from tests.faults.stage import Stage
from tests.faults.streaming import stream_of
from tests.upstreams.scripted import Answer as Played

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {
    "providers": {"up": {"rules": {"drop": ["store", "seed"]}}},
    "routes": {
        "exact": {"strict": True, "deployments": [{"model": "up/exact"}]},
        "loose": {"strict": False, "deployments": [{"model": "up/loose"}]},
    },
}
LOST = {"store": True, "seed": 1, "temperature": 0.5}
both = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
REFUSED = (400, "unsupported_parameter")


def good(stream: bool) -> Played:
    return stream_of(ROLE, *WORDS, FINISH, b"data: [DONE]\n\n") if stream else fine()


@both
@pytest.mark.parametrize("headers", [{}, {"x-anyport-strict": "false"}, {"x-anyport-strict": "0"}], ids=str)
async def test_lost_fields_are_named_in_the_answer_and_in_the_record(
    stage: Stage, stream: bool, headers: dict[str, str]
) -> None:
    scene = stage.plays(good(stream))
    answer = await scene.send({**scene.body(stream=stream), **LOST}, headers=headers)
    assert answer.status == 200
    assert set(answer.headers["x-anyport-dropped"].split(",")) == {"store", "seed"}
    record = await stage.settled(answer)
    assert set(record["dropped"]) == {"store", "seed"}


@both
@pytest.mark.parametrize("value", ["true", "1", "True"])
async def test_a_strict_request_that_would_lose_a_field_reaches_no_provider(
    stage: Stage, stream: bool, value: str
) -> None:
    scene = stage.plays(good(stream))
    answer = await scene.send({**scene.body(stream=stream), **LOST}, headers={"x-anyport-strict": value})
    assert (answer.status, answer.error["code"]) == REFUSED
    assert answer.error["param"] in ("store", "seed")
    assert all(name in answer.error["message"] for name in ("store", "seed"))
    assert "temperature" not in answer.error["message"]
    assert "x-anyport-dropped" not in answer.headers
    assert not scene.requests
    record = await stage.settled(answer, error="unsupported_parameter", attempts=0)
    assert record["dropped"] == []


async def test_a_strict_request_that_loses_nothing_is_answered(stage: Stage) -> None:
    scene = stage.plays(fine())
    answer = await scene.send({**scene.body(), "temperature": 0.5}, headers={"x-anyport-strict": "true"})
    assert answer.status == 200
    await stage.settled(answer)


@pytest.mark.parametrize("headers", [{}, {"x-anyport-strict": "false"}, {"x-anyport-strict": "true"}], ids=str)
async def test_a_strict_route_is_strict_whatever_the_header_says(stage: Stage, headers: dict[str, str]) -> None:
    scene = stage.plays(fine())
    answer = await scene.send({**scene.body(), **LOST, "model": "exact"}, headers=headers)
    assert (answer.status, answer.error["code"]) == REFUSED
    await stage.settled(answer, error="unsupported_parameter", attempts=0)


async def test_a_route_that_is_not_strict_becomes_so_by_the_header(stage: Stage) -> None:
    scene = stage.plays(fine())
    answer = await scene.send({**scene.body(), **LOST, "model": "loose"}, headers={"x-anyport-strict": "1"})
    assert (answer.status, answer.error["code"]) == REFUSED
    await stage.settled(answer, error="unsupported_parameter", attempts=0)


@pytest.mark.parametrize("value", ["", "yes", "2", "true, false", "ja\xeb", "null"])
async def test_a_header_that_is_no_yes_or_no_is_refused_by_name(stage: Stage, value: str) -> None:
    scene = stage.plays(fine())
    answer = await scene.send(scene.body(), headers={"x-anyport-strict": value})
    assert "x-anyport-strict" in answer.error["message"]
    await assert_rejected(stage, scene, answer, (400, "invalid_value", "x-anyport-strict"))


async def test_of_two_headers_the_stricter_one_counts(stage: Stage) -> None:
    scene = stage.plays(fine())
    data = request_bytes({**scene.body(), **LOST}, headers={"x-anyport-strict": "true", "X-Anyport-Strict": "false"})
    answer = one_answer(await talk(stage.port, data))
    assert (answer.status, answer.error["code"]) == REFUSED
    assert not scene.requests
    await stage.settled(answer, error="unsupported_parameter", attempts=0)
