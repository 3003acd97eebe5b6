"""What a provider's headers teach about a key, as providers spell it and as nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.credentials.keyring import KeyState
from gateway.credentials.learned import learn

NOW = 1000.0
OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-limit-tokens": "150000",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-reset-tokens": "6m0s",
}
GROQ = {
    "x-ratelimit-remaining-requests": "14370",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-requests": "2m59.56s",
    "x-ratelimit-reset-tokens": "7.66s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-remaining": "0",
    "anthropic-ratelimit-requests-reset": "2026-08-22T10:00:12Z",
    "anthropic-ratelimit-tokens-remaining": "7000",
    "anthropic-ratelimit-tokens-reset": "2026-08-22T10:00:30Z",
    "date": "Sat, 22 Aug 2026 10:00:00 GMT",
}
AZURE = {
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-remaining-tokens": "10",
    "x-ratelimit-reset-requests": "10",
}


def learned(headers: dict[str, str]) -> KeyState:
    state = KeyState("x")
    learn(state, headers, NOW)
    return state


@pytest.mark.parametrize(
    ("headers", "left", "until"),
    [
        (OPENAI, {"requests": 59, "tokens": 149_984}, 0),
        (GROQ, {"requests": 14_370, "tokens": 0}, NOW + 7.66),
        (ANTHROPIC, {"requests": 0, "tokens": 7000}, NOW + 12),
        (AZURE, {"requests": 0, "tokens": 10}, NOW + 10),
    ],
    ids=["openai", "groq", "anthropic", "azure"],
)
def test_each_providers_spelling_is_understood(headers: dict[str, str], left: dict[str, int], until: float) -> None:
    state = learned(headers)
    assert state.left == left
    assert state.exhausted_until == pytest.approx(until)


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("20ms", 0.02), ("1s", 1), ("1.5s", 1.5), ("1m", 60), ("59s1ms", 59.001), ("3", 3), ("0.25", 0.25), (" 4s ", 4),
        ("1m30s", 60), ("1h", 60), ("2d", 60), ("6m0s", 60), ("1e9", 60),
    ],
)  # fmt: skip
def test_a_reset_in_any_unit_is_obeyed_up_to_a_minute(reset: str, seconds: float) -> None:
    state = learned({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": reset})
    assert state.exhausted_until == pytest.approx(NOW + seconds)


@pytest.mark.parametrize(
    "reset",
    ["", "-5", "-5s", "soon", "nan", "inf", "-inf", "1s2m", "s", "ms", "9" * 400, "2026-08-22", "2026-08-22T10:00:00",
     "2026-13-99T10:00:00Z", "\x00", "1" * 10 + "d"],
)  # fmt: skip
def test_a_reset_that_makes_no_sense_leaves_the_key_usable(reset: str) -> None:
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": reset, "date": "yesterday"}
    assert learned(headers).exhausted_until <= NOW


@pytest.mark.parametrize("figure", ["", "-1", "many", "1.5", "0x10", "\u0660", "\u00b2", "1 0", "9" * 5000])
def test_a_figure_that_is_no_number_teaches_nothing(figure: str) -> None:
    state = learned({"x-ratelimit-remaining-requests": figure, "x-ratelimit-reset-requests": "30s"})
    assert (state.left, state.exhausted_until) == ({}, 0)


def test_headers_that_say_nothing_change_nothing() -> None:
    state = learned(AZURE)
    learn(state, {"content-type": "application/json"}, NOW + 1)
    assert (state.left["requests"], state.exhausted_until) == (0, NOW + 10)


def test_what_is_told_later_counts() -> None:
    state = learned(AZURE)
    learn(state, {**AZURE, "x-ratelimit-remaining-requests": "5"}, NOW + 1)
    assert (state.left["requests"], state.exhausted_until) == (5, 0)


def test_of_two_that_are_used_up_the_later_reset_counts() -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s"}
    headers |= {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9s"}
    assert learned(headers).exhausted_until == NOW + 9


NAMES = sorted({*OPENAI, *ANTHROPIC})
VALUES = st.one_of(
    st.text(max_size=80),
    st.sampled_from(["0", "1", "6m0s", "2026-08-22T10:00:30Z", "Sat, 22 Aug 2026 10:00:00 GMT"]),
    st.from_regex(r"[0-9a-zA-Z:.,+\- ]{0,40}", fullmatch=True),
)


@given(headers=st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_no_value_breaks_anything_or_shuts_a_key_away(headers: dict[str, str]) -> None:
    state = learned(headers)
    assert 0 <= state.exhausted_until <= NOW + 60
    assert all(isinstance(figure, int) and figure >= 0 for figure in state.left.values())
