"""Every token is paid once, at one rate, and the sum is rounded once."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.types import Usage
from gateway.domain import Price, Rates, Tier
from gateway.engine.cost import cost_nano_usd
from gateway.records import dollars

COUNTS = st.integers(0, 2_000_000)
RATE = st.integers(0, 200 * 10**9)
RATES = st.builds(Rates, RATE, RATE, *[st.none() | RATE] * 3)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt, completion = draw(COUNTS), draw(COUNTS)
    cached = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    return Usage(
        prompt=prompt,
        completion=completion,
        cached_prompt=cached,
        cache_write=written,
        cache_write_1h=draw(st.integers(0, written)),
        reasoning=draw(st.integers(0, completion)),
    )


@given(usages(), RATES)
def test_each_token_counts_once_at_the_rate_of_its_kind(usage: Usage, rates: Rates) -> None:
    cached_rate = rates.input if rates.cached_input is None else rates.cached_input
    write_rate = rates.input if rates.cache_write is None else rates.cache_write
    hour_rate = write_rate if rates.cache_write_1h is None else rates.cache_write_1h
    plain = usage.prompt - usage.cached_prompt - usage.cache_write
    exact = Fraction(
        plain * rates.input
        + usage.cached_prompt * cached_rate
        + (usage.cache_write - usage.cache_write_1h) * write_rate
        + usage.cache_write_1h * hour_rate
        + usage.completion * rates.output,
        10**6,
    )
    assert cost_nano_usd(usage, Price(rates)) == round(exact)  # of a Fraction: half to even


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, RATES)
def test_a_provider_that_counts_more_parts_than_the_whole_is_never_paid_more_than_the_dearest_rate(
    prompt: int, completion: int, cached: int, written: int, for_hour: int, rates: Rates
) -> None:
    usage = Usage(prompt, completion, cached, written, cache_write_1h=for_hour)
    dearest = max(rates.input, rates.cached_input or 0, rates.cache_write or 0, rates.cache_write_1h or 0)
    most = Fraction(prompt * dearest + completion * rates.output, 10**6)
    assert 0 <= cost_nano_usd(usage, Price(rates)) <= round(most)


@given(COUNTS, COUNTS, RATES)
def test_reasoning_is_part_of_the_output_and_costs_nothing_more(completion: int, reasoning: int, rates: Rates) -> None:
    price = Price(rates)
    assert cost_nano_usd(Usage(completion=completion, reasoning=reasoning), price) == cost_nano_usd(
        Usage(completion=completion), price
    )


@pytest.mark.parametrize(("rate", "nano"), [(500_000, 0), (1_500_000, 2), (2_500_000, 2), (500_001, 1), (499_999, 0)])
def test_half_a_nano_dollar_goes_to_the_even_one(rate: int, nano: int) -> None:
    assert cost_nano_usd(Usage(prompt=1), Price(Rates(rate, 0))) == nano


def test_a_long_prompt_costs_what_its_tier_says_and_all_of_its_tokens_do() -> None:
    price = Price(Rates(1_000_000, 0), (Tier(100, Rates(3_000_000, 0)),))
    assert [cost_nano_usd(Usage(prompt=count), price) for count in (100, 101)] == [100, 303]


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0"), (1, "0.000000001"), (17_500, "0.0000175"), (10**9, "1"), (12_340_000_000, "12.34")],
)
def test_an_amount_is_written_exactly_and_without_an_exponent(nano: int, text: str) -> None:
    assert dollars(nano) == text


def test_what_a_batch_api_has_answered_costs_half_and_is_rounded_once_to_even() -> None:
    price = Price(Rates(1_000_000, 3_000_000))
    assert [cost_nano_usd(Usage(prompt=count), price, is_batched=True) for count in (1, 3, 4)] == [0, 2, 2]
    assert cost_nano_usd(Usage(prompt=10, completion=21), price, is_batched=True) == 36
