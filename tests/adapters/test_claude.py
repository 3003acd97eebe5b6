"""What each Claude takes, by any platform's name for it."""

from __future__ import annotations

import pytest

from adapters.claude import UNKNOWN, claude


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("anthropic/claude-opus-4.6", "claude-opus-4-6"),
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("claude-3-5-sonnet-20241022", "anthropic/claude-3.5-sonnet"),
        ("Claude-Opus-5-5", "claude-opus-5.5"),
        ("claude-opus-7", "claude-opus-5-5"),
        ("claude-fable-5-2", "claude-fable-5-1"),
        ("claude-haiku-5-5", "claude-haiku-6"),
    ],
)
def test_a_name_of_any_platform_is_read(name: str, same: str) -> None:
    assert claude(name) == claude(same) != UNKNOWN


@pytest.mark.parametrize("name", ["gpt-5", "deepseek-chat", "", "tiny-salad"])
def test_what_is_no_claude_gets_nothing_optional(name: str) -> None:
    assert claude(name) is UNKNOWN
    assert not UNKNOWN.thinking and not UNKNOWN.has_json_schema and not UNKNOWN.efforts


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("claude-opus-5-5", 128_000), ("claude-opus-4-5", 64_000), ("claude-haiku-4-5", 64_000),
        ("claude-opus-4-1-20250805", 32_000), ("claude-3-haiku-20240307", 4_096), ("claude-3-5-sonnet-latest", 8_192),
        ("claude-3-7-sonnet-20250219", 64_000), ("claude-sonnet-4-20250514", 64_000),
    ],
)  # fmt: skip
def test_the_longest_answer_is_known(name: str, most: int) -> None:
    assert claude(name).max_tokens == most


def test_a_claude_without_a_number_gets_nothing_optional_and_no_limit() -> None:
    for name in ("claude-latest", "my-claude", "claude-saga-next"):
        found = claude(name)
        assert found.is_known and found.max_tokens == 0 and not found.thinking
    assert claude("claude-2.1").max_tokens == claude("claude-instant-1.2").max_tokens == 4_096


def test_the_matrix_of_models_is_as_published() -> None:
    forced = {
        name: claude(f"claude-{name}").forced_tools for name in ("opus-4-8", "sonnet-5-5", "haiku-5-5", "opus-4-5")
    }
    assert forced == {"opus-4-8": "yes", "sonnet-5-5": "no", "haiku-5-5": "yes", "opus-4-5": "not_enabled"}
    assert claude("claude-sonnet-5-5").thinking == {"adaptive", "between_tools"}
    assert claude("claude-opus-5-5").thinking == {"adaptive"}
    assert claude("claude-opus-4-6").sampling == "one" and claude("claude-opus-4-7").sampling == "none"
    assert claude("claude-opus-4-5").takes_prefill and not claude("claude-opus-4-6").takes_prefill
    assert claude("claude-opus-4-8").has_inner_system and not claude("claude-sonnet-5").has_inner_system
    assert claude("claude-haiku-4-5").budgets_thinking and not claude("claude-opus-4-6").budgets_thinking


def test_an_effort_becomes_the_strongest_that_is_taken_and_not_above_it() -> None:
    assert claude("claude-opus-4-6").effort("xhigh") == "high"
    assert claude("claude-opus-4-6").effort("max") == "max"
    assert claude("claude-opus-5-5").effort("xhigh") == "xhigh"
    assert claude("claude-sonnet-4-5").effort("low") is None
    assert claude("claude-opus-5-5").effort("silly") is None
