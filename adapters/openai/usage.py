"""Reads token counts in the places and spellings that OpenAI-compatible servers use."""

from __future__ import annotations

from adapters.codec import JSON, as_object
from adapters.rules import ParamRules
from adapters.types import Usage


def read_usage(value: JSON, rules: ParamRules) -> Usage | None:
    """Returns the counts of a decoded `usage` object; None if they are missing or make no sense."""
    members = as_object(value)
    prompt = _count(members.get("prompt_tokens"))
    if prompt is None:
        return None
    completion = _count(members.get("completion_tokens")) or 0
    details = as_object(members.get("prompt_tokens_details"))
    cached = (
        _count(details.get("cached_tokens"))
        or _count(members.get("prompt_cache_hit_tokens"))  # DeepSeek
        or _count(members.get("cached_tokens"))  # Moonshot
        or 0
    )
    reasoning = _count(as_object(members.get("completion_tokens_details")).get("reasoning_tokens")) or 0
    if rules.reasoning_excluded and members.get("total_tokens") == prompt + completion + reasoning:
        completion += reasoning
    return Usage(
        prompt=prompt,
        completion=completion,
        cached_prompt=min(cached, prompt),  # xAI may report more cached tokens than prompt tokens
        cache_write=_count(details.get("cache_write_tokens")) or 0,
        reasoning=min(reasoning, completion),
    )


def _count(value: JSON) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None
