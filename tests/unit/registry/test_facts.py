"""What is known of models: from the catalogue, from our own rows, and what is not."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from genai_prices.data import providers as catalogue
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.registry import facts
from gateway.registry.builtin import config_directory, load_builtin
from gateway.registry.facts import (
    MAX_NAME_CHARACTERS,
    MODELS_FILE,
    UNKNOWN,
    ModelFacts,
    Price,
    Rates,
    Tier,
    facts_of,
    match,
    parse_models,
    rows_by_provider,
    settled_price,
)
from gateway.settings.route import PriceSettings

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OUR_IDS = {theirs: ours for ours, theirs in facts._CATALOGUE_NAMES.items()}
OWN_ROWS = parse_models((config_directory() / MODELS_FILE).read_text(encoding="utf-8"))
MENTIONS = [(provider, name, row) for row in OWN_ROWS for provider in row.providers for name in row.names]
KNOWN = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-2024-11-20"),
    ("anthropic", "claude-sonnet-4-5-20250929"),
    ("anthropic", "claude-3-5-sonnet-latest"),
    ("gemini", "gemini-2.5-pro"),
    ("gemini", "models/gemini-2.5-flash"),
    ("vertex", "gemini-2.5-flash"),
    ("vertex", "publishers/anthropic/models/claude-sonnet-4-5@20250929"),
    ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0"),
    ("bedrock-openai", "openai.gpt-oss-120b-1:0"),
    ("azure", "gpt-4o"),
    ("groq", "llama-3.3-70b-versatile"),
    ("groq", "openai/gpt-oss-120b"),
    ("mistral", "mistral-large-latest"),
    ("cohere", "command-a-03-2025"),
    ("xai", "grok-4"),
    ("openrouter", "openai/gpt-4o"),
    ("cloudflare", "workers-ai/@cf/meta/llama-3.3-70b-instruct-fp8-fast"),
    ("huggingface", "openai/gpt-oss-120b:groq"),
    ("alibaba", "qwen-plus"),
]
NOT_KNOWN = [
    ("openai", "no-such-model"),
    ("openai", ""),
    ("azure", "my-deployment"),
    ("bedrock", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdef"),
    ("huggingface", "openai/gpt-oss-120b"),
    ("huggingface", "openai/gpt-oss-120b:no-such-host"),
    ("ollama", "llama3.2:3b"),
    ("vllm", "openai/gpt-oss-120b"),
    ("my-own-provider", "gpt-4o"),
    ("custom:https://llm.example.com/v1", "gpt-4o"),
]


@pytest.mark.parametrize(("provider", "model"), KNOWN)
def test_a_known_model_has_a_plausible_window_and_price(provider: str, model: str) -> None:
    found = facts_of(provider, model, NOW)
    assert found.context_window is not None
    assert 4_000 <= found.context_window <= 10_000_000
    assert found.price is not None
    assert 10_000_000 <= found.price.base.input <= found.price.base.output <= 10**12


@pytest.mark.parametrize(("provider", "model"), NOT_KNOWN)
def test_what_nobody_knows_is_none(provider: str, model: str) -> None:
    assert facts_of(provider, model, NOW) == ModelFacts(context_window=None, price=None)


def test_a_model_that_is_not_charged_by_the_token_has_no_price() -> None:
    assert facts_of("openai", "whisper-1", NOW).price is None
    assert facts_of("openrouter", "meta-llama/llama-3.3-70b-instruct:free", NOW).price is None


def test_prices_that_are_no_whole_nano_dollars_per_token_stay_exact() -> None:
    price = facts_of("cohere", "command-r7b-12-2024", NOW).price
    assert price is not None
    assert price.base.input == 37_500_000


def test_a_price_may_depend_on_the_length_of_the_prompt() -> None:
    price = facts_of("gemini", "gemini-2.5-pro", NOW).price
    assert price is not None
    assert [tier.above_input_tokens for tier in price.tiers] == [200_000]
    assert price.rates(0) == price.rates(200_000) == price.base
    assert price.rates(200_001) == price.tiers[0].rates
    assert price.rates(200_001).input == 2 * price.base.input
    assert price.rates(200_001).cached_input == 2 * (price.base.cached_input or 0) != 0


def test_the_highest_tier_that_is_passed_counts() -> None:
    base, middle, top = (Rates(each, each) for each in (1, 2, 3))
    price = Price(base, (Tier(100, middle), Tier(200, top)))
    assert [price.rates(tokens) for tokens in (100, 101, 200, 201)] == [base, middle, middle, top]


def test_a_price_may_depend_on_the_time() -> None:
    before, after = (facts_of("openai", "o3", datetime(2025, month, 1, tzinfo=UTC)).price for month in (5, 7))
    assert before is not None
    assert after is not None
    assert before.base.input == 5 * after.base.input


def test_what_goes_into_the_cache_has_its_own_prices() -> None:
    price = facts_of("anthropic", "claude-haiku-4-5", NOW).price
    assert price is not None
    base = price.base
    assert base.cached_input is not None
    assert base.cache_write is not None
    assert base.cache_write_1h is not None
    assert base.cached_input < base.input < base.cache_write < base.cache_write_1h


def test_a_settled_price_is_exact() -> None:
    settled = settled_price(PriceSettings(input_usd_per_million=0.1, output_usd_per_million=2.345))
    assert settled == Price(Rates(100_000_000, 2_345_000_000))


def test_every_entry_of_the_catalogue_can_be_read() -> None:
    seen = 0
    for provider in catalogue:
        if provider.id not in OUR_IDS:
            continue
        for info in provider.models:
            found = facts_of(OUR_IDS[provider.id], info.id, NOW)
            assert found.context_window is None or found.context_window > 0
            if found.price is not None:
                seen += 1
                tiers = [tier.above_input_tokens for tier in found.price.tiers]
                assert tiers == sorted(set(tiers))
                assert found.price.base.input > 0
                assert found.price.base.output >= 0
    assert seen > 1000


def test_every_name_of_the_catalogue_that_we_translate_is_there() -> None:
    assert set(OUR_IDS) <= {provider.id for provider in catalogue}
    assert set(facts._CATALOGUE_NAMES) <= set(load_builtin())


@pytest.mark.parametrize(("provider", "name", "row"), MENTIONS, ids=[f"{each[0]}/{each[1]}" for each in MENTIONS])
def test_each_row_of_ours_says_what_the_catalogue_does_not(provider: str, name: str, row: facts.ModelRow) -> None:
    assert provider in load_builtin()
    found = facts_of(provider, name.removesuffix("*"), NOW)
    listed = facts._listed(provider, name.removesuffix("*"))
    if row.context_window is not None:
        assert found.context_window == row.context_window
        assert listed is None or listed.context_window is None, "the row can go: the catalogue has the window"
    if row.price is not None:
        assert found.price == settled_price(row.price)
        assert listed is None or listed.price(NOW) is None, "the row can go: the catalogue has the price"
    assert row.context_window is not None or row.price is not None


ROWS = """
models:
  - {providers: [a], names: [Exact-1], context_window: 1, source: "https://example.com", read: 2026-01-01}
  - {providers: [a, b], names: [exact*], context_window: 2, source: "https://example.com", read: 2026-01-01}
  - {providers: [a], names: [exact-2*], context_window: 3, source: "https://example.com", read: 2026-01-01}
"""


@pytest.mark.parametrize(
    ("provider", "name", "window"),
    [("a", "exact-1", 1), ("a", "exact-12", 2), ("a", "exact-22", 3), ("b", "exact-22", 2), ("b", "other", None)],
)
def test_an_exact_name_comes_before_the_longest_beginning(provider: str, name: str, window: int | None) -> None:
    row = match(rows_by_provider(parse_models(ROWS))[provider], name)
    assert (row and row.context_window) == window


def test_a_name_with_two_rows_is_refused() -> None:
    rows = parse_models(ROWS.replace("exact-2*", "EXACT*"))
    with pytest.raises(ValueError, match=r"two rows for `EXACT\*` of provider `a`"):
        rows_by_provider(rows)


def test_a_broken_row_is_named_by_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_models(ROWS.replace("context_window: 2", "context_windows: 2"))
    assert [(fault.line, fault.path) for fault in caught.value.faults] == [(4, "models.1.context_windows")]


def test_nothing_is_fetched_and_nothing_imported_before_it_is_needed() -> None:
    code = """
import sys
from datetime import UTC, datetime

def watch(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "subprocess.")) and event != "socket.gethostname":
        raise SystemExit(f"{event} {arguments}")

from gateway.registry.facts import facts_of
assert "genai_prices" not in sys.modules
sys.addaudithook(watch)
print(facts_of("openai", "gpt-4o", datetime.now(UTC)).context_window)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout.strip(), ran.stderr) == ("128000", "")


@pytest.mark.parametrize("provider", sorted({*facts._CATALOGUE_NAMES, "huggingface", "alibaba", "ollama"}))
@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o" + "x" * 10_000,
        "gpt-" * 2_500,
        "claude-" + "1" * (MAX_NAME_CHARACTERS - 7),
        "-tts" * (MAX_NAME_CHARACTERS // 4),
        "gpt-4o\n",
        "gpt-4o\0",
        "gpt-4o\x1b[2J",
        "gpt-4o\ud800",
        "g\u202ept-4o",
        "../../etc/passwd",
        "İ" * MAX_NAME_CHARACTERS,
        ":" * MAX_NAME_CHARACTERS,
    ],
    ids=ascii,
)
def test_a_hostile_name_does_no_harm(provider: str, name: str) -> None:
    found = facts_of(provider, name, NOW)
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        assert found is UNKNOWN


@given(st.sampled_from(["openai", "azure", "bedrock", "openrouter", "huggingface", "vertex"]), st.text(max_size=300))
def test_any_name_has_an_answer(provider: str, name: str) -> None:
    assert isinstance(facts_of(provider, name, NOW), ModelFacts)


def test_names_are_forgotten_when_there_are_too_many() -> None:
    for number in range(5_000):
        facts_of("voyage", f"made-up-{number}", NOW)
    for remembered in (facts._listed, facts._own_facts):
        assert remembered.cache_info().currsize <= 4_096


def test_prices_are_those_that_the_catalogue_itself_takes() -> None:
    times = [datetime(year, 11, 21, hour, 45, tzinfo=UTC) for year in (2023, 2025, 2026) for hour in (1, 9, 17, 23)]
    for info in (info for provider in catalogue for info in provider.models):
        listing = facts._listing(info)
        for at in times:
            written = vars(info.get_prices(at)).get("input_mtok")
            price = listing.price(at)
            if written is None:
                assert price is None
            else:
                assert price is not None
                assert price.base.input == round(getattr(written, "base", written) * 10**9)
