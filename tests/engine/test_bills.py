"""What each provider says of its tokens, and what that costs by its own price list, computed by hand.

Prices are dollars for a million tokens, so that one token costs as many thousand nano-dollars.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from adapters.anthropic.counts import Counts as AnthropicCounts
from adapters.bedrock.reply import read_usage as bedrock
from adapters.cohere.usage import read_usage as cohere
from adapters.gemini.wire import Counts as GeminiCounts
from adapters.gemini.wire import read_usage as gemini
from adapters.openai.usage import read_usage
from adapters.parts import sum_usage
from adapters.rules import ParamRules
from adapters.types import Usage
from gateway.domain import Price, Rates, Tier
from gateway.engine.cost import cost_nano_usd


def rates(**dollars: str) -> Rates:
    return Rates(**{name: int(Decimal(each) * 10**9) for name, each in dollars.items()})


SONNET = rates(input="3", output="15", cached_input="0.30", cache_write="3.75", cache_write_1h="6")
LONG_SONNET = rates(input="6", output="22.50", cached_input="0.60", cache_write="7.50", cache_write_1h="12")
SONNETS = Price(SONNET, (Tier(200_000, LONG_SONNET),))


def anthropic(**counts: Any) -> Usage | None:
    found = AnthropicCounts()
    found.add(counts)
    return found.usage()


def openai(*, rules: ParamRules | None = None, **counts: Any) -> Usage | None:
    return read_usage(msgspec.json.encode(counts), rules or ParamRules())


def google(**counts: Any) -> Usage | None:
    return gemini(msgspec.convert(counts, GeminiCounts))


@pytest.mark.parametrize(
    ("usage", "price", "nano_usd"),
    [
        pytest.param(
            anthropic(
                input_tokens=10,
                cache_read_input_tokens=1000,
                cache_creation_input_tokens=100,
                cache_creation={"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60},
                output_tokens=5,
                output_tokens_details={"thinking_tokens": 3},
            ),
            SONNETS,
            10 * 3_000 + 1000 * 300 + 40 * 3_750 + 60 * 6_000 + 5 * 15_000,
            id="anthropic counts caches beside the input, and an hour in them costs more",
        ),
        pytest.param(
            anthropic(input_tokens=10, cache_creation_input_tokens=100, output_tokens=5),
            SONNETS,
            10 * 3_000 + 100 * 3_750 + 5 * 15_000,
            id="anthropic caches for five minutes unless it says otherwise",
        ),
        pytest.param(
            anthropic(input_tokens=100, cache_read_input_tokens=199_900, output_tokens=10),
            SONNETS,
            100 * 3_000 + 199_900 * 300 + 10 * 15_000,
            id="a prompt of 200,000 tokens is not a long one",
        ),
        pytest.param(
            anthropic(input_tokens=101, cache_read_input_tokens=199_900, output_tokens=10),
            SONNETS,
            101 * 6_000 + 199_900 * 600 + 10 * 22_500,
            id="one more is, cached ones included, and then all of it costs more",
        ),
        pytest.param(
            openai(
                prompt_tokens=2006,
                completion_tokens=300,
                total_tokens=2306,
                prompt_tokens_details={"cached_tokens": 1920},
                completion_tokens_details={"reasoning_tokens": 200},
            ),
            Price(rates(input="2", output="8", cached_input="0.50")),
            86 * 2_000 + 1920 * 500 + 300 * 8_000,
            id="openai counts cached tokens and reasoning in",
        ),
        pytest.param(
            openai(prompt_tokens=100, completion_tokens=20, prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36),
            Price(rates(input="0.27", output="1.10", cached_input="0.07")),
            36 * 270 + 64 * 70 + 20 * 1_100,
            id="deepseek tells hits and misses of its cache",
        ),
        pytest.param(
            openai(
                rules=ParamRules(reasoning_excluded=True),
                prompt_tokens=10,
                completion_tokens=5,
                total_tokens=35,
                completion_tokens_details={"reasoning_tokens": 20},
            ),
            Price(rates(input="3", output="15")),
            10 * 3_000 + 25 * 15_000,
            id="xai counts reasoning beside the output",
        ),
        pytest.param(
            google(
                promptTokenCount=100,
                cachedContentTokenCount=60,
                toolUsePromptTokenCount=20,
                candidatesTokenCount=30,
                thoughtsTokenCount=50,
                totalTokenCount=200,
            ),
            Price(rates(input="1.25", output="10", cached_input="0.125")),
            60 * 1_250 + 60 * 125 + 80 * 10_000,
            id="gemini counts thoughts and what tools read beside the rest",
        ),
        pytest.param(
            google(promptTokenCount=100, candidatesTokenCount=80, thoughtsTokenCount=50, totalTokenCount=180),
            Price(rates(input="1.25", output="10")),
            100 * 1_250 + 80 * 10_000,
            id="some routes to gemini count thoughts in, which the total gives away",
        ),
        pytest.param(
            google(promptTokenCount=200_001, candidatesTokenCount=1, totalTokenCount=200_002),
            Price(rates(input="1.25", output="10"), (Tier(200_000, rates(input="2.50", output="15")),)),
            200_001 * 2_500 + 15_000,
            id="gemini has long prompts, too",
        ),
        pytest.param(
            bedrock(
                {
                    "inputTokens": 10,
                    "outputTokens": 5,
                    "totalTokens": 1115,
                    "cacheReadInputTokens": 1000,
                    "cacheWriteInputTokens": 100,
                    "cacheDetails": [{"ttl": "1h", "inputTokens": 60}, {"ttl": "5m", "inputTokens": 40}],
                }
            ),
            Price(rates(input="3.30", output="16.50", cached_input="0.33", cache_write="4.125", cache_write_1h="6.60")),
            10 * 3_300 + 1000 * 330 + 40 * 4_125 + 60 * 6_600 + 5 * 16_500,
            id="bedrock counts caches beside the input",
        ),
        pytest.param(
            cohere(
                {
                    "billed_units": {"input_tokens": 18, "output_tokens": 7},
                    "tokens": {"input_tokens": 71, "output_tokens": 10},
                }
            ),
            Price(rates(input="2.50", output="10")),
            18 * 2_500 + 7 * 10_000,
            id="cohere bills less than it counts",
        ),
        pytest.param(
            cohere({"tokens": {"input_tokens": 71.0, "output_tokens": 10.0}}),
            Price(rates(input="2.50", output="10")),
            71 * 2_500 + 10 * 10_000,
            id="cohere bills what it counts where it says no more",
        ),
        pytest.param(
            openai(prompt_tokens=100, completion_tokens=0, prompt_tokens_details={"cached_tokens": 90}),
            Price(rates(input="2", output="8")),
            100 * 2_000,
            id="cached tokens without a price of their own cost what others do",
        ),
        pytest.param(
            openai(prompt_tokens=10, completion_tokens=0, prompt_tokens_details={"cached_tokens": 640}),
            Price(rates(input="2", output="8", cached_input="0.50")),
            10 * 500,
            id="no more is cached than there is",
        ),
    ],
)
def test_a_bill_is_what_the_price_list_says(usage: Usage | None, price: Price, nano_usd: int) -> None:
    assert usage is not None
    assert cost_nano_usd(usage, price) == nano_usd


def test_several_calls_with_short_prompts_are_not_one_with_a_long_one() -> None:
    each = anthropic(input_tokens=150_000, output_tokens=10)
    assert each is not None
    both = sum_usage([each, each])
    assert both is not None
    assert cost_nano_usd(both, SONNETS) == 2 * (150_000 * 3_000 + 10 * 15_000) == 2 * cost_nano_usd(each, SONNETS)


def test_what_several_calls_are_billed_is_added_up() -> None:
    billed = cohere(
        {
            "billed_units": {"input_tokens": 18, "output_tokens": 7},
            "tokens": {"input_tokens": 71, "output_tokens": 10},
        }
    )
    plain = cohere({"tokens": {"input_tokens": 5, "output_tokens": 1}})
    total = sum_usage([billed, plain])
    assert total is not None
    assert (total.prompt, total.completion, total.billed) == (76, 11, (23, 8))
