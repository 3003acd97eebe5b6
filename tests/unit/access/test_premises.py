"""Where strangers come nobody passes without a key, and clocks may jump without locking anybody out or in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.access.admission import Estimate, checks, span
from gateway.access.keys import ANONYMOUS, KeyCheck
from gateway.access.picture import TRUST_SECONDS, KeyPicture
from gateway.access.premises import ALONE, Standing, is_limited, refuse_uncountable, uncountable
from gateway.access.secrets import PREFIX, Pepper, digest_of
from gateway.errors import InvalidRequest, KeysUnavailable, Unauthenticated
from gateway.records import Budget, Limits, Project, Team, VirtualKey, Window
from gateway.secret import Secret
from gateway.settings.model import StateSettings
from gateway.storage.base import Owners, StorageUnavailable

HOUR_MS = 3_600_000
NOON_MS = 1_795_262_400_000  # 2026-11-21 12:00 UTC
PEPPER = Secret("pepper-of-this-test")
KEY = f"{PREFIX}canary"
PRESENTED = {b"authorization": b"Bearer " + KEY.encode()}


class Stored:
    """Storage with the owners that a test gives it, or away."""

    def __init__(self, *keys: VirtualKey) -> None:
        self.keys = keys
        self.is_away = False

    async def upgrade(self) -> None:
        return

    async def owners(self, since_version: int) -> Owners:
        if self.is_away:
            raise StorageUnavailable("it is away")
        return Owners(1, is_whole=True, keys=self.keys)


class Clocks:
    """Both clocks of a machine: the one that may jump, and the one that never does."""

    def __init__(self) -> None:
        self.wall_ms = NOON_MS
        self.monotonic = 1000.0


def picture_of(stored: Any, clocks: Clocks) -> KeyPicture:
    return KeyPicture(
        lambda: stored,
        Pepper(PEPPER, Path("unused")),
        clock=lambda: clocks.monotonic,
        now_ms=lambda: clocks.wall_ms,
    )


def key(**more: Any) -> VirtualKey:
    return VirtualKey("key_1", "bot", digest_of(KEY.encode(), PEPPER.reveal().encode()), **more)


async def test_a_demanding_check_lets_nobody_pass_even_if_there_is_no_key() -> None:
    picture = picture_of(Stored(), Clocks())
    demanding, other = KeyCheck([], picture, is_demanding=True), KeyCheck([], picture)
    with pytest.raises(KeysUnavailable):
        demanding.check({})  # nobody knows yet
    await picture.refresh()
    assert other.check({}) is ANONYMOUS
    assert not demanding.is_open
    for headers in ({}, PRESENTED):
        with pytest.raises(Unauthenticated):
            demanding.check(headers)


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
async def test_a_clock_that_jumps_an_hour_makes_no_known_key_unknown(jump_ms: int) -> None:
    clocks, stored = Clocks(), Stored(key())
    picture = picture_of(stored, clocks)
    await picture.refresh()
    stored.is_away = True
    clocks.wall_ms += jump_ms
    await picture.refresh()
    assert KeyCheck([], picture).check(PRESENTED).id == "key_1"
    clocks.monotonic += TRUST_SECONDS + 1  # an hour that has really passed
    with pytest.raises(KeysUnavailable):
        KeyCheck([], picture).check(PRESENTED)


async def test_a_key_ends_at_its_moment_however_the_clock_came_there() -> None:
    clocks = Clocks()
    picture = picture_of(Stored(key(expires_at_ms=NOON_MS + HOUR_MS)), clocks)
    await picture.refresh()
    check = KeyCheck([], picture)
    assert check.check(PRESENTED).id == "key_1"
    clocks.wall_ms += HOUR_MS
    with pytest.raises(Unauthenticated, match="expired"):
        check.check(PRESENTED)
    clocks.wall_ms -= HOUR_MS
    assert check.check(PRESENTED).id == "key_1"  # it was the clock that was wrong


@pytest.mark.parametrize("window", list(Window))
@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS, 13 * HOUR_MS, -13 * HOUR_MS])
def test_budgets_are_of_windows_of_the_calendar_and_never_below_zero(window: Window, jump_ms: int) -> None:
    owner = Team("t1", "search", budgets=(Budget(1000, window),))
    for now_ms in (NOON_MS, NOON_MS + jump_ms, NOON_MS):
        here = span(window, now_ms)
        assert here.start_ms <= now_ms
        assert here.end_ms is None or now_ms < here.end_ms
        for spent in (0, 999, 1000, 5000):
            (check,) = checks([owner], Estimate(1, 1, 10), now_ms, lambda id, span, spent=spent: spent, lambda _: 0)
            assert (check.limit, check.amount, check.spent_nano_usd) == (1000, 10, spent)
            assert check.seconds_left is None or check.seconds_left > 0


def test_limits_that_several_workers_would_each_allow_are_refused() -> None:
    alone, memory, redis = ALONE, StateSettings(), StateSettings.model_validate({"url": "redis://cache:6379/0"})
    two = Standing(workers=2)
    assert [uncountable(memory, alone), uncountable(redis, two)] == ["", ""]
    assert "set state.url to redis://" in uncountable(memory, two)
    refuse_uncountable(Team("t1", "free"), memory, two)
    refuse_uncountable(Team("t1", "held", limits=Limits(requests_per_minute=1)), redis, two)
    for owner, field in (
        (Team("t1", "held", limits=Limits(requests_per_minute=1)), "limits"),
        (Project("p1", "held", budgets=(Budget(1, Window.DAY),)), "budgets"),
    ):
        with pytest.raises(InvalidRequest) as refusal:
            refuse_uncountable(owner, memory, two)
        assert refusal.value.param == field


def test_limits_of_a_disabled_key_are_not_in_force() -> None:
    limits = Limits(max_in_flight=1)
    assert is_limited(key(limits=limits))
    assert not is_limited(key(limits=limits, disabled_at_ms=NOON_MS))
    assert not is_limited(key())
