"""Reads token counts in the places and spellings that OpenAI-compatible servers use."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from adapters.codec import as_object, decode, encode
from adapters.rules import ParamRules
from adapters.types import Usage

_MOST = 2**53
"""A larger count is no count: JSON numbers are exact up to here."""


class _PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class _Counts(Struct):
    prompt_tokens: int
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek
    cached_tokens: int | None = None  # Moonshot
    num_cached_tokens: int | None = None  # Mistral


_counts = msgspec.json.Decoder(_Counts)
_NO_PROMPT_DETAILS: Final = _PromptDetails()
_NO_COMPLETION_DETAILS: Final = _CompletionDetails()
_NO_DETAILS = {"prompt_tokens_details": None, "completion_tokens_details": None}


def read_usage(value: Raw | bytes, rules: ParamRules) -> Usage | None:
    """Returns the counts of a `usage` object; None if they are missing or make no sense."""
    counts = _decoded(value)
    if counts is None:
        return None
    prompt_details = counts.prompt_tokens_details or _NO_PROMPT_DETAILS
    completion_details = counts.completion_tokens_details or _NO_COMPLETION_DETAILS
    prompt = counts.prompt_tokens
    completion = counts.completion_tokens or 0
    cached = prompt_details.cached_tokens or counts.prompt_cache_hit_tokens or counts.cached_tokens
    cached = cached or counts.num_cached_tokens or 0
    written = prompt_details.cache_write_tokens or 0
    reasoning = completion_details.reasoning_tokens or 0
    if prompt < 0 or completion < 0 or cached < 0 or written < 0 or reasoning < 0:
        return None
    if prompt >= _MOST or completion >= _MOST:
        return None
    if rules.reasoning_excluded and counts.total_tokens == prompt + completion + reasoning:
        completion += reasoning
    return Usage(
        prompt=prompt,
        completion=completion,
        cached_prompt=cached and min(cached, prompt),  # xAI may report more cached tokens than prompt tokens
        cache_write=written,
        reasoning=reasoning and min(reasoning, completion),
    )


def _decoded(value: Raw | bytes) -> _Counts | None:
    """Details of a wrong type cost the details, not the counts."""
    try:
        return _counts.decode(value)
    except msgspec.ValidationError:
        try:
            return _counts.decode(encode({**as_object(decode(value)), **_NO_DETAILS}))
        except msgspec.MsgspecError:
            return None
    except msgspec.DecodeError:
        return None
