"""Hooks hear of every request that has ended, and their mistakes are their own."""

from __future__ import annotations

import logging

import pytest

from adapters.failures import Failure, FailureKind
from adapters.types import Usage
from gateway.domain import Attempt, Outcome
from gateway.plugins.hooks import AttemptEnded, Hooks, RequestEnded

OUTCOME = Outcome(
    request_id="req-1",
    operation="chat",
    model="fast",
    provider="b",
    deployment="b/m",
    status=200,
    attempts=[
        Attempt(1, "a/m", 10.0, Failure(FailureKind.RATE_LIMIT, "slow down", status=429), ended=10.5, provider="a"),
        Attempt(2, "b/m", 10.5, ended=12.0, route="fast", provider="b"),
    ],
    usage=Usage(7, 5),
    cost_nano_usd=1200,
    started=10.0,
    ended=12.0,
)


class Listener:
    def __init__(self) -> None:
        self.heard: list[AttemptEnded | RequestEnded] = []

    def attempt_ended(self, event: AttemptEnded) -> None:
        self.heard.append(event)

    def request_ended(self, event: RequestEnded) -> None:
        self.heard.append(event)


class Broken(Listener):
    def attempt_ended(self, event: AttemptEnded) -> None:
        raise OSError("disk full")


def test_a_hook_hears_of_the_attempts_and_then_of_the_request() -> None:
    listener = Listener()
    Hooks({"one": listener}, failed=lambda name: pytest.fail(name)).tell(OUTCOME, "team-a")
    first, second, request = listener.heard
    assert isinstance(first, AttemptEnded)
    assert (first.number, first.deployment, first.result, first.status, first.seconds) == (
        1,
        "a/m",
        "rate_limit",
        429,
        0.5,
    )
    assert isinstance(second, AttemptEnded)
    assert (second.result, second.status, second.route) == ("ok", None, "fast")
    assert isinstance(request, RequestEnded)
    assert (request.client_key, request.model, request.status, request.attempts) == ("team-a", "fast", 200, 2)
    assert (request.prompt_tokens, request.completion_tokens, request.cost_nano_usd) == (7, 5, 1200)
    assert (request.total_seconds, request.error_code) == (2.0, "")


def test_a_hook_that_fails_is_counted_and_logged_once_and_the_next_one_still_hears(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed: list[str] = []
    listener = Listener()
    hooks = Hooks({"broken": Broken(), "whole": listener}, failed=failed.append)
    with caplog.at_level(logging.ERROR):
        hooks.tell(OUTCOME, "")
        hooks.tell(OUTCOME, "")
    assert failed == ["broken", "broken"]
    assert [record.getMessage() for record in caplog.records] == [
        "the hook of the plugin broken has failed; further failures are only counted"
    ]
    assert len(listener.heard) == 6
