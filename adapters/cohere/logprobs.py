"""Cohere's log probabilities -> OpenAI's: pieces of text with the probabilities of their tokens, one or more.

A piece of several tokens has their sum, which is its own log probability. Cohere tells no alternatives.
(docs.cohere.com/v2/reference/chat, read 2026-08-20.)
"""

from __future__ import annotations

import math
from typing import Any

from adapters.codec import JSON, as_list, as_object

Object = dict[str, Any]


def read_logprobs(items: JSON) -> Object | None:
    """Returns OpenAI's `logprobs` object; None if there is nothing that makes sense."""
    found = [piece for item in as_list(items) if (piece := _piece(as_object(item))) is not None]
    return {"content": found, "refusal": None} if found else None


def _piece(item: Object) -> Object | None:
    text: JSON = item.get("text")
    values = as_list(item.get("logprobs"))
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    total = sum(numbers) if numbers and len(numbers) == len(values) else math.inf
    if not isinstance(text, str) or not math.isfinite(total):
        return None
    token = list(text.encode("utf-8", "replace"))
    return {"token": text, "logprob": total, "bytes": token, "top_logprobs": []}
