"""Which stage takes over after what, and what is kept for it."""

from __future__ import annotations

import pytest

from gateway.resilience.steps import Try
from tests.resilience.playbook import K, declines, fails, gives_up, passes, play, tries, unreachable, waits, works
from tests.resilience.scenery import deployment, fallback, stage

OWN = {K.BAD_REQUEST, K.CONTEXT_LENGTH, K.CONTENT_FILTER, K.CANCELLED}
ANY = [kind for kind in K if kind not in OWN]
OTHER_PROVIDER = {"protocol": "anthropic", "model": "other"}


@pytest.mark.parametrize("kind", ANY)
def test_a_fallback_takes_over_after_any_failure_that_is_not_the_requests_own(kind: K) -> None:
    _ = play(deployment("a"), fallback(deployment("b"))) << tries("a") >> fails(kind) << tries("b", reason=kind.value)


@pytest.mark.parametrize("on", [*ANY, K.CONTENT_FILTER])
@pytest.mark.parametrize("kind", [K.SERVER, K.RATE_LIMIT, K.CONTENT_FILTER])
def test_a_fallback_for_single_kinds_takes_over_after_these_only(on: K, kind: K) -> None:
    told = play(deployment("a"), fallback(deployment("b"), on=[on]), per_deployment=1) << tries("a") >> fails(kind)
    _ = told << (tries("b") if on is kind else gives_up(kind, "a"))


def test_the_own_route_is_exhausted_before_a_fallback_takes_over() -> None:
    told = play(deployment("a", keys=2), deployment("b"), fallback(deployment("c")))
    told = told << tries("a", 1) >> fails(K.RATE_LIMIT) << tries("a", 2) >> fails(K.RATE_LIMIT) << tries("b")
    _ = told >> fails(K.SERVER) << tries("c") >> works


def test_fallbacks_follow_each_other() -> None:
    told = play(deployment("a"), fallback(deployment("b")), fallback(deployment("c"), deployment("d")))
    told = told << tries("a") >> fails(K.SERVER) << tries("b") >> fails(K.TIMEOUT) << tries("c") >> fails(K.AUTH)
    _ = told << tries("d") >> fails(K.SERVER) << gives_up(K.SERVER, "d")


def test_one_attempt_is_kept_for_each_later_stage() -> None:
    own = [deployment(name) for name in "abcd"]
    told = play(*own, fallback(deployment("e")), fallback(deployment("f")), attempts=4)
    told = told << tries("a") >> fails(K.SERVER) << tries("b") >> fails(K.SERVER) << tries("e") >> fails(K.SERVER)
    _ = told << tries("f") >> fails(K.SERVER) << gives_up(K.SERVER, "f")


def test_none_is_kept_for_a_stage_that_does_not_take_over() -> None:
    own = [deployment(name) for name in "abcd"]
    told = play(*own, fallback(deployment("e"), on=[K.TIMEOUT]), attempts=3)
    told = told << tries("a") >> fails(K.SERVER) << tries("b") >> fails(K.SERVER) << tries("c") >> fails(K.SERVER)
    _ = told << gives_up(K.SERVER, "c")


def test_other_keys_leave_one_attempt_to_the_fallback_too() -> None:
    told = play(deployment("a", keys=9), fallback(deployment("b")), attempts=3) << tries("a", 1) >> fails(K.RATE_LIMIT)
    _ = told << tries("a", 2) >> fails(K.RATE_LIMIT) << tries("b") >> works


def test_a_second_attempt_beside_the_first_leaves_one_to_the_fallback() -> None:
    told = play(deployment("a"), deployment("b"), fallback(deployment("c")), attempts=2) << tries("a")
    assert told.planner.hedge(told.clock.now) is None


def test_a_fallback_takes_over_where_nothing_could_be_asked() -> None:
    a, clock = deployment("a"), play(deployment("x")).clock
    _ = play(a, clock=clock, attempts=1) << tries("a") >> fails(K.RATE_LIMIT, retry_after=60)
    _ = play(a, fallback(deployment("b")), clock=clock) << tries("b", reason="unavailable") >> works


def test_a_fallback_for_a_filter_does_not_take_over_where_nothing_could_be_asked() -> None:
    a, clock = deployment("a"), play(deployment("x")).clock
    _ = play(a, clock=clock, attempts=1) << tries("a") >> fails(K.RATE_LIMIT, retry_after=60)
    told = play(a, fallback(deployment("b"), on=[K.CONTENT_FILTER]), clock=clock)
    _ = told << gives_up(K.RATE_LIMIT, "a", wait=60)


def test_a_stage_without_candidates_is_passed_over() -> None:
    _ = play(stage(), fallback(deployment("b"))) << tries("b", reason="unavailable") >> works


def test_a_deployment_that_stands_in_two_stages_is_not_new_in_the_second() -> None:
    a = deployment("a")
    _ = play(a, fallback(a, deployment("b"))) << tries("a") >> fails(K.SERVER) << tries("b") >> works
    assert a.vitals.in_flight == 0


# The request itself is at fault.


def test_a_context_that_is_too_long_goes_to_a_larger_window_of_the_same_route() -> None:
    own = [deployment(name, context_window=window) for name, window in (("a", 8000), ("b", 8000), ("c", 32_000))]
    _ = play(*own) << tries("a") >> fails(K.CONTEXT_LENGTH) << tries("c") >> works


def test_a_context_that_is_too_long_goes_to_the_larger_window_of_a_fallback() -> None:
    small, large = deployment("b", context_window=4000), deployment("c", context_window=9000)
    told = play(deployment("a", context_window=8000), fallback(small), fallback(large))
    _ = told << tries("a") >> fails(K.CONTEXT_LENGTH) << tries("c") >> works


@pytest.mark.parametrize(("ours", "theirs"), [(None, 9000), (8000, None), (None, None)])
def test_a_window_that_nobody_knows_is_no_reason_unless_the_fallback_is_for_that(
    ours: int | None, theirs: int | None
) -> None:
    a, b = deployment("a", context_window=ours), deployment("b", context_window=theirs)
    _ = play(a, fallback(b)) << tries("a") >> fails(K.CONTEXT_LENGTH) << gives_up(K.CONTEXT_LENGTH, "a")
    _ = play(a, fallback(b, on=[K.CONTEXT_LENGTH])) << tries("a") >> fails(K.CONTEXT_LENGTH) << tries("b") >> works


def test_a_window_that_is_known_to_be_no_larger_is_not_tried_even_if_the_fallback_is_for_that() -> None:
    a, b = deployment("a", context_window=8000), deployment("b", context_window=8000)
    told = play(a, fallback(b, on=[K.CONTEXT_LENGTH])) << tries("a") >> fails(K.CONTEXT_LENGTH)
    _ = told << gives_up(K.CONTEXT_LENGTH, "a")


def test_what_the_filter_refused_goes_only_where_it_is_wanted() -> None:
    told = play(deployment("a"), fallback(deployment("b")), fallback(deployment("c"), on=[K.CONTENT_FILTER]))
    _ = told << tries("a") >> fails(K.CONTENT_FILTER) << tries("c") >> works


def test_what_is_called_wrong_goes_once_to_a_fallback_of_another_provider() -> None:
    other = fallback(deployment("b", **OTHER_PROVIDER), deployment("c", protocol="anthropic", model="third"))
    told = play(deployment("a"), deployment("a2"), other) << tries("a") >> fails(K.BAD_REQUEST) << tries("b")
    _ = told >> fails(K.BAD_REQUEST) << gives_up(K.BAD_REQUEST, "a")


@pytest.mark.parametrize(
    "twin", [{"provider": "of-a", "model": "other"}, {"provider": "b", "model": "m"}], ids=["provider", "model"]
)
def test_what_is_called_wrong_never_goes_to_the_same_provider_or_to_the_same_model_in_the_same_protocol(
    twin: dict[str, str],
) -> None:
    told = play(deployment("a"), fallback(deployment("b", **twin))) << tries("a") >> fails(K.BAD_REQUEST)
    _ = told << gives_up(K.BAD_REQUEST, "a")


def test_what_is_called_wrong_stays_where_it_is_if_the_route_says_so() -> None:
    other = fallback(deployment("b", **OTHER_PROVIDER))
    told = play(deployment("a"), other, goes_on_after_bad_request=False) << tries("a") >> fails(K.BAD_REQUEST)
    _ = told << gives_up(K.BAD_REQUEST, "a")


def test_two_failures_of_the_request_itself_end_it() -> None:
    fallbacks = [fallback(deployment(name, model=name, context_window=9000), on=list(K)) for name in "bcd"]
    told = play(deployment("a", context_window=100), *fallbacks) << tries("a") >> fails(K.CONTEXT_LENGTH)
    _ = told << tries("b") >> fails(K.CONTENT_FILTER) << gives_up(K.CONTEXT_LENGTH, "a")


def test_a_failure_of_the_request_narrows_down_for_good_what_may_follow() -> None:
    twin, other = deployment("b"), deployment("c", **OTHER_PROVIDER)
    told = play(deployment("a"), fallback(twin, other), fallback(deployment("d"))) << tries("a") >> fails(K.BAD_REQUEST)
    told = told << tries("c") >> fails(K.SERVER)
    _ = told << waits(0.05) << tries("c") >> fails(K.SERVER) << gives_up(K.BAD_REQUEST, "a")


def test_what_the_client_hears_is_the_requests_own_fault_first() -> None:
    other = fallback(deployment("b", **OTHER_PROVIDER))
    told = play(deployment("a"), other, attempts=2) << tries("a") >> fails(K.BAD_REQUEST) << tries("b")
    _ = told >> fails(K.SERVER) << gives_up(K.BAD_REQUEST, "a")


@pytest.mark.parametrize("other", [K.SERVER, K.TIMEOUT, K.AUTH, K.MODEL_MISSING, K.UNKNOWN, K.OVERLOADED])
@pytest.mark.parametrize("limit", [K.RATE_LIMIT, K.QUOTA])
def test_a_limit_is_told_only_where_nothing_else_went_wrong(limit: K, other: K) -> None:
    for first, second in ((limit, other), (other, limit)):
        told = play(deployment("a"), deployment("b"), attempts=2) << tries("a") >> fails(first) << tries("b")
        _ = told >> fails(second) << gives_up(other)


def test_of_two_limits_the_one_that_passes_is_told() -> None:
    told = play(deployment("a"), deployment("b"), attempts=2) << tries("a") >> fails(K.RATE_LIMIT, retry_after=30)
    _ = told << tries("b") >> fails(K.QUOTA) << gives_up(K.RATE_LIMIT, "a", wait=30)


# What cannot be expressed.


def test_a_deployment_that_cannot_express_the_request_costs_no_attempt() -> None:
    told = play(deployment("a"), deployment("b"), attempts=1) << tries("a") >> declines
    _ = told << tries("b", reason="") >> works


def test_if_none_can_express_it_there_is_no_failure() -> None:
    told = play(deployment("a"), deployment("b"), fallback(deployment("c"))) << tries("a") >> declines << tries("b")
    _ = told >> declines << tries("c") >> declines << gives_up(None)


def test_the_first_that_can_express_it_counts_as_the_first_attempt() -> None:
    b = deployment("b")
    told = play(deployment("a"), b) << tries("a")
    step, _ = told.open[-1]
    told = told >> declines << tries("b")
    second = told.open[-1][0]
    assert isinstance(step, Try)
    assert (step.is_first, second.is_first) == (True, True)


def test_what_declines_after_a_failure_changes_nothing_about_what_is_told() -> None:
    told = play(deployment("a"), deployment("b"), per_deployment=1) << tries("a") >> fails(K.SERVER) << tries("b")
    _ = told >> declines << gives_up(K.SERVER, "a")


def test_no_connection_anywhere_is_told_as_that() -> None:
    told = play(deployment("a"), fallback(deployment("b")), per_deployment=1) << tries("a") >> unreachable << tries("b")
    _ = told >> unreachable >> passes(1) << gives_up(K.CONNECT, "b")
