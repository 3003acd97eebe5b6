"""Wrong keys by address: so many a minute are answered, and what is remembered of addresses is bounded."""

from __future__ import annotations

import pytest

from gateway.access.guesses import MAX_ADDRESSES, Guesses


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_are_answered_at_once_and_the_next_one_is_told_when() -> None:
    clock = Clock()
    guesses = Guesses(20, clock=clock)
    assert [guesses.wait("10.0.0.1") for _ in range(20)] == [0.0] * 20
    assert round(guesses.wait("10.0.0.1"), 3) == 3.0
    assert round(guesses.wait("10.0.0.1"), 3) == 3.0, "what is not answered counts for nothing"
    clock.now += 3.0
    assert guesses.wait("10.0.0.1") == 0.0
    assert round(guesses.wait("10.0.0.1"), 3) == 3.0
    clock.now += 60.0
    assert [guesses.wait("10.0.0.1") for _ in range(20)] == [0.0] * 20


def test_addresses_do_not_count_for_each_other() -> None:
    guesses = Guesses(1, clock=Clock())
    assert guesses.wait("10.0.0.1") == 0.0
    assert guesses.wait("10.0.0.1") > 0
    assert guesses.wait("10.0.0.2") == 0.0


def test_the_addresses_of_one_ipv6_network_are_one() -> None:
    guesses = Guesses(1, clock=Clock())
    assert guesses.wait("2001:db8::1") == 0.0
    assert guesses.wait("2001:db8::ffff%eth0") > 0
    assert guesses.wait("2001:db8:0:1::1") == 0.0


def test_an_ipv4_address_is_itself_however_it_is_written() -> None:
    guesses = Guesses(1, clock=Clock())
    assert guesses.wait("::ffff:10.0.0.1") == 0.0
    assert guesses.wait("10.0.0.1") > 0
    assert guesses.wait("::ffff:10.0.0.2") == 0.0
    assert guesses.wait("no address:") == 0.0


def test_however_many_addresses_try_only_so_many_are_remembered() -> None:
    guesses = Guesses(1, clock=Clock())
    for number in range(MAX_ADDRESSES + 500):
        guesses.wait(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(guesses) == MAX_ADDRESSES
    last = MAX_ADDRESSES + 499
    assert guesses.wait(f"10.{last >> 16}.{last >> 8 & 255}.{last & 255}") > 0
    assert guesses.wait("10.0.0.0") == 0.0, "it was forgotten"


def test_the_log_has_one_line_a_minute_of_it(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    guesses = Guesses(1, clock=clock)
    for number in range(50):
        guesses.wait(f"10.0.0.{number % 5}")
    (line,) = caplog.messages
    assert line.startswith("10.0.0.0 tries more than 1 unknown API keys per minute (server.bad_keys_per_minute)")
    clock.now += 61.0
    for _ in range(3):
        guesses.wait("10.0.0.1")
    assert len(caplog.messages) == 2


def test_without_a_limit_nothing_is_counted() -> None:
    guesses = Guesses(None, clock=Clock())
    assert [guesses.wait("10.0.0.1") for _ in range(1000)] == [0.0] * 1000
    assert len(guesses) == 0
