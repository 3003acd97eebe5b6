"""Which of four timeouts counts, and that its error names the setting it is from."""

from __future__ import annotations

from math import inf

import pytest

from gateway.registry.waits import Patience, total_of, waits_of
from gateway.routing.deployment import Limit
from gateway.settings.model import UpstreamSettings
from gateway.settings.route import TimeoutSettings

UPSTREAM = UpstreamSettings(
    connect_seconds=1,
    pool_seconds=2,
    head_seconds=3,
    answer_seconds=4,
    first_token_seconds=5,
    between_tokens_seconds=6,
    total_seconds=7,
)
ROW = Patience(100, "providers.p.timeout_seconds")
NOTHING = TimeoutSettings()


def test_without_anything_else_the_general_settings_count() -> None:
    waits = waits_of(UPSTREAM)
    assert (waits.stream.connect, waits.stream.pool, waits.stream.head, waits.stream.idle) == (1, 2, 3, 6)
    assert (waits.answer.connect, waits.answer.pool, waits.answer.head, waits.answer.idle) == (1, 2, 4, 6)
    assert waits.stream.connect_setting == "upstream.connect_seconds"
    assert waits.stream.head_setting == "upstream.head_seconds"
    assert waits.answer.head_setting == "upstream.answer_seconds"
    assert waits.answer.idle_setting == "upstream.between_tokens_seconds"
    assert waits.first_token == Limit(5, "upstream.first_token_seconds")
    assert (waits.attempt.seconds, waits.pace.seconds) == (inf, 0)


def test_a_providers_row_says_how_long_it_is_waited_for_but_not_how_it_is_connected_to() -> None:
    waits = waits_of(UPSTREAM, patience=ROW)
    assert (waits.stream.connect, waits.stream.connect_setting) == (1, "upstream.connect_seconds")
    for timeouts in (waits.stream, waits.answer):
        assert (timeouts.head, timeouts.idle) == (100, 100)
        assert timeouts.head_setting == timeouts.idle_setting == ROW.setting
    assert waits.first_token == Limit(100, ROW.setting)


@pytest.mark.parametrize(
    "name", ["connect_seconds", "head_seconds", "answer_seconds", "first_token_seconds", "between_tokens_seconds"]
)
def test_the_route_counts_before_the_row_and_the_deployment_before_the_route(name: str) -> None:
    route = TimeoutSettings.model_validate({name: 0.5})
    deployment = TimeoutSettings.model_validate({name: 0.25})

    def found(deployment: TimeoutSettings) -> Limit:
        waits = waits_of(UPSTREAM, route=("r", route), deployment=(2, deployment), patience=ROW)
        return {
            "connect_seconds": Limit(waits.stream.connect, waits.stream.connect_setting),
            "head_seconds": Limit(waits.stream.head, waits.stream.head_setting),
            "answer_seconds": Limit(waits.answer.head, waits.answer.head_setting),
            "first_token_seconds": waits.first_token,
            "between_tokens_seconds": Limit(waits.stream.idle, waits.stream.idle_setting),
        }[name]

    assert found(NOTHING) == Limit(0.5, f"routes.r.timeouts.{name}")
    assert found(deployment) == Limit(0.25, f"routes.r.deployments.2.timeouts.{name}")


def test_a_longer_wait_of_a_nearer_layer_counts_too() -> None:
    waits = waits_of(UPSTREAM, route=("r", TimeoutSettings(answer_seconds=900)), deployment=(0, NOTHING))
    assert (waits.answer.head, waits.answer.head_setting) == (900, "routes.r.timeouts.answer_seconds")
    assert waits.stream.head == 3, "each ends one thing only"


def test_a_stream_waits_for_its_head_no_longer_than_for_its_first_token() -> None:
    waits = waits_of(UPSTREAM, route=("r", TimeoutSettings(first_token_seconds=2)), deployment=(0, NOTHING))
    assert (waits.stream.head, waits.stream.head_setting) == (2, "routes.r.timeouts.first_token_seconds")
    assert waits.answer.head == 4


def test_the_total_of_a_deployment_is_one_attempts_and_that_of_a_route_is_the_requests() -> None:
    route, deployment = TimeoutSettings(total_seconds=60), TimeoutSettings(total_seconds=20)
    waits = waits_of(UPSTREAM, route=("r", route), deployment=(1, deployment))
    assert waits.attempt == Limit(20, "routes.r.deployments.1.timeouts.total_seconds")
    assert waits_of(UPSTREAM, route=("r", route), deployment=(1, NOTHING)).attempt.seconds == inf
    assert total_of(UPSTREAM, "r", route) == Limit(60, "routes.r.timeouts.total_seconds")
    assert total_of(UPSTREAM, "r", NOTHING) == total_of(UPSTREAM) == Limit(7, "upstream.total_seconds")


def test_a_pace_is_none_unless_somebody_sets_one() -> None:
    assert waits_of(UPSTREAM).pace.seconds == 0
    general = UPSTREAM.model_copy(update={"min_bytes_per_second": 10})
    assert waits_of(general, patience=ROW).pace == Limit(10, "upstream.min_bytes_per_second")
    waits = waits_of(general, route=("r", TimeoutSettings(min_bytes_per_second=20)), deployment=(0, NOTHING))
    assert waits.pace == Limit(20, "routes.r.timeouts.min_bytes_per_second")
