"""Cohere's token counts: numbers that may be floats, in `tokens`, or in `billed_units` where those are missing."""

from __future__ import annotations

from typing import Final

from adapters.codec import JSON, as_object
from adapters.types import Usage

_MOST: Final = 2**53
"""Counts from here on are not exact in JSON, and nobody's tokens."""


def count(value: JSON) -> int | None:
    """Returns a plausible number of tokens; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST:
        return None
    return int(value)


def read_usage(value: JSON) -> Usage | None:
    """Returns the counts of a chat; None if there are none.

    `tokens` is what the model read and wrote; `billed_units`, without Cohere's own preamble, is what has to be paid.
    """
    members = as_object(value)
    units = as_object(members.get("billed_units"))
    bought = count(units.get("input_tokens")), count(units.get("output_tokens"))
    for name in ("tokens", "billed_units"):
        tokens = as_object(members.get(name))
        read, written = count(tokens.get("input_tokens")), count(tokens.get("output_tokens"))
        if read is not None or written is not None:
            prompt, completion = read or 0, written or 0
            billed = (bought[0] or 0, bought[1] or 0)
            return Usage(
                prompt,
                completion,
                cached_prompt=min(count(members.get("cached_tokens")) or 0, prompt),
                reasoning=min(count(tokens.get("reasoning_tokens")) or 0, completion),
                billed=None if bought == (None, None) or billed == (prompt, completion) else billed,
            )
    return None
