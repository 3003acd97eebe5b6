"""Ollama's own words for what went wrong (docs.ollama.com/api/errors and the server's source, read 2026-08-21).

Every error is `{"error": "..."}`, without a code that could be compared.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from adapters.failures import Description, Failure, FailureKind, FailureRule, classify, from_description
from adapters.types import Head, Target

RULES: Final = (
    FailureRule(FailureKind.BAD_REQUEST, status=404, phrase="404 page not found"),  # a wrong base URL
    FailureRule(FailureKind.SERVER, status=499),  # cancelled, but not by us
    FailureRule(FailureKind.CONTEXT_LENGTH, phrase="exceeds the context length"),  # with `truncate: false`
    FailureRule(FailureKind.CONTEXT_LENGTH, phrase="exceed context length"),
    FailureRule(FailureKind.CONTEXT_LENGTH, phrase="exceeds maximum context length"),
    # What ollama.com says of its plans, as reported in the server's issues 13028 and 15990 (read 2026-11-21).
    FailureRule(FailureKind.QUOTA, phrase="usage limit"),
    FailureRule(FailureKind.QUOTA, phrase="requires a subscription"),
    FailureRule(FailureKind.OVERLOADED, phrase="maximum pending requests exceeded"),  # OLLAMA_MAX_QUEUE
)


def read_failure(target: Target, head: Head, body: bytes) -> Failure:
    """Classifies a response whose status is not 2xx."""
    return classify(head.status, head.headers, body, target.failure_rules + RULES)


def said_failure(target: Target, head: Head, said: Description) -> Failure:
    """Classifies an error inside a response that began as a success: the server's fault, whatever its words are."""
    failure = from_description(said, head.status, head.headers, target.failure_rules + RULES)
    return replace(failure, kind=FailureKind.SERVER) if failure.kind is FailureKind.UNKNOWN else failure
