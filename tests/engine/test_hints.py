"""How long a client says that it waits, and what is no such word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.hints import NO_HINTS, read_hints
from gateway.settings.scalars import MAX_SECONDS

WHOLE = b"x-request-timeout"
BEGIN = b"x-stainless-read-timeout"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"30", 29.75),
        (b"30s", 29.75),
        (b"30000ms", 29.75),
        (b" 30 ", 29.75),
        (b"2.5", 2.375),
        (b"1", 0.95),
        (b"1.", 0.95),
        (b"500ms", 0.475),
        (b"0.001", 0.00095),
        (b"86400", 86399.75),
    ],
)
def test_a_time_is_read_and_ends_a_little_earlier_so_that_the_client_still_hears_it(
    text: bytes, seconds: float
) -> None:
    for name in (WHOLE, BEGIN):
        hints = read_hints({name: text})
        limit = hints.whole if name == WHOLE else hints.begin
        assert limit is not None
        assert limit.seconds == pytest.approx(seconds)
        assert limit.setting == f"the client's header {name.decode()}"


def test_each_header_means_its_own_limit() -> None:
    hints = read_hints({WHOLE: b"10", BEGIN: b"5"})
    assert hints.whole is not None
    assert hints.begin is not None
    assert (hints.whole.seconds, hints.begin.seconds) == (9.75, 4.75)
    assert read_hints({WHOLE: b"10"}).begin is None
    assert read_hints({BEGIN: b"10"}).whole is None
    assert read_hints({}) is NO_HINTS


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0",
        b"0.0",
        b"0ms",
        b"-1",
        b"+1",
        b"1e3",
        b"1e400",
        b"nan",
        b"inf",
        b"Infinity",
        b"0x10",
        b"1,5",
        b"1_000",
        b"1 000",
        b"30 s",
        b"30m",
        b"30sec",
        b"PT30S",
        b".5",
        b"86401",
        b"86400001ms",
        b"9999999999",
        b"9" * 100_000,
        b"1." + b"0" * 100_000,
        b"30\x00",
        b"30\r\nx: y",
        "٣٠".encode(),
        b"\xff\xfe",
        b"30,30",
        b"None",
        b"NOT_GIVEN",
    ],
)
def test_what_is_no_time_says_nothing(text: bytes) -> None:
    hints = read_hints({WHOLE: text, BEGIN: text})
    assert (hints.whole, hints.begin) == (None, None)


@given(st.binary(max_size=40) | st.from_regex(rb"\A[0-9.msen+-]{0,24}\Z"))
def test_whatever_a_client_sends_is_no_time_or_one_that_can_be_waited(text: bytes) -> None:
    hints = read_hints({WHOLE: text, BEGIN: text})
    for limit in (hints.whole, hints.begin):
        assert limit is None or 0 < limit.seconds <= MAX_SECONDS
