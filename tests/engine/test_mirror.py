"""Copies of requests: they never delay, change or fail what they are copies of, and somebody hears how they ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from gateway.domain import Outcome
from gateway.engine.mirror import Mirror
from gateway.errors import UnknownModel
from gateway.routing.asking import Asking
from gateway.routing.route import MirrorPolicy
from gateway.routing.router import Router
from tests.engine.doubles import END, MORE, TEXT, call_of, dead
from tests.engine.fleet import Fleet

POLICY = MirrorPolicy("shadow", share=1.0, max_in_flight=2)


class Shadows(Router):
    """Knows one name."""

    def __init__(self, fleet: Fleet, trouble: Exception | None = None) -> None:
        self.asked: list[str] = []
        self._fleet = fleet
        self._trouble = trouble

    def plan(self, model: str, asking: Asking) -> Any:
        self.asked.append(model)
        if self._trouble is not None:
            raise self._trouble
        return self._fleet.plan


class Copies:
    """A mirror over a fleet, and the outcomes that it has told."""

    def __init__(self, fleet: Fleet, *, trouble: Exception | None = None, chance: Callable[[], float] = lambda: 0.0):
        self.ended: list[Outcome] = []
        self.router = Shadows(fleet, trouble)
        self.mirror = Mirror(router=self.router, executor=fleet.executor, random=chance, ended=self.ended.append)

    def copy(self, policy: MirrorPolicy = POLICY, **fields: Any) -> None:
        self.mirror.copy(Asking(call_of(**fields)), policy, "req-7")


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


async def test_a_copy_is_sent_to_the_other_model_and_its_outcome_told(fleet: Fleet) -> None:
    fleet.add("a/m", fleet.response())
    copies = Copies(fleet)
    copies.copy()
    assert (fleet.sent, copies.ended) == ([], []), "it waits for nothing"
    await settle()
    (outcome,) = copies.ended
    assert (copies.router.asked, fleet.sent) == (["shadow"], ["a/m"])
    assert (outcome.request_id, outcome.status, outcome.model, outcome.deployment) == (
        "req-7-mirror", 200, "route", "a/m",
    )  # fmt: skip
    assert outcome.usage is not None
    assert outcome.ended >= outcome.started > 0
    fleet.assert_at_rest()


async def test_a_copied_stream_is_read_to_its_end(fleet: Fleet) -> None:
    response = fleet.response(TEXT, *[MORE] * 5, END)
    a = fleet.add("a/m", response)
    copies = Copies(fleet)
    copies.copy(stream=True)
    await settle()
    (outcome,) = copies.ended
    assert (outcome.status, outcome.stream, response.pieces) == (200, True, [])
    assert a.vitals.counts.attempts == 1
    fleet.assert_at_rest()


@pytest.mark.parametrize(
    ("answer", "stream", "status", "code"),
    [
        ("refused", False, 502, "upstream_disconnected"),
        ("400", False, 400, "invalid_request"),
        ("cut", True, 502, "upstream_disconnected"),
    ],
)
async def test_a_copy_that_fails_is_told_and_nothing_else(
    fleet: Fleet, answer: str, stream: bool, status: int, code: str
) -> None:
    answers: dict[str, list[Any]] = {
        "refused": [dead(), dead()],
        "400": [fleet.response(status=400)],
        "cut": [fleet.response(TEXT, dead())],
    }
    fleet.add("a/m", *answers[answer])
    copies = Copies(fleet)
    copies.copy(stream=stream)
    await settle()
    (outcome,) = copies.ended
    assert (outcome.status, outcome.error_code) == (status, code)
    fleet.assert_at_rest()


async def test_a_model_that_is_not_there_is_told(fleet: Fleet) -> None:
    copies = Copies(fleet, trouble=UnknownModel("no such model", param="model"))
    copies.copy()
    await settle()
    assert [(outcome.status, outcome.error_code) for outcome in copies.ended] == [(404, "model_not_found")]


async def test_a_fault_of_ours_stays_in_the_copy_and_is_logged(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    copies = Copies(fleet, trouble=ZeroDivisionError())
    with caplog.at_level(logging.ERROR, logger="anyport"):
        copies.copy()
        await settle()
    assert [outcome.status for outcome in copies.ended] == [500]
    assert "the copy of request req-7 failed inside the gateway" in caplog.text


async def test_no_more_copies_run_than_may(fleet: Fleet) -> None:
    gate = asyncio.Event()
    fleet.add("a/m", *[fleet.response(gate, TEXT, END) for _ in range(3)])
    copies = Copies(fleet)
    for _ in range(5):
        copies.copy(stream=True)
    await settle()
    assert len(fleet.sent) == 2
    gate.set()
    await settle()
    copies.copy(stream=True)
    await settle()
    assert (len(fleet.sent), len(copies.ended)) == (3, 3)
    fleet.assert_at_rest()


@pytest.mark.parametrize(("chance", "sent"), [(0.0, 1), (0.24, 1), (0.25, 0), (0.99, 0)])
async def test_only_a_share_of_the_requests_is_copied(fleet: Fleet, chance: float, sent: int) -> None:
    fleet.add("a/m", fleet.response())
    copies = Copies(fleet, chance=lambda: chance)
    copies.copy(MirrorPolicy("shadow", share=0.25, max_in_flight=2))
    await settle()
    assert len(fleet.sent) == sent


async def test_closing_ends_what_runs_and_tells_its_outcome(fleet: Fleet) -> None:
    a = fleet.add("a/m", asyncio.Event(), fleet.response(TEXT, asyncio.Event()))
    copies = Copies(fleet)
    copies.copy()
    copies.copy(stream=True)
    await settle()
    assert a.vitals.in_flight == 2
    await copies.mirror.aclose()
    assert len(copies.ended) == 2
    fleet.assert_at_rest()
    await copies.mirror.aclose()


async def test_closing_ends_a_copy_that_has_not_begun(fleet: Fleet) -> None:
    fleet.add("a/m")
    copies = Copies(fleet)
    copies.copy()
    await copies.mirror.aclose()
    assert fleet.sent == []
    fleet.assert_at_rest()
