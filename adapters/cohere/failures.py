"""Cohere's own words for what went wrong (docs.cohere.com/v2/reference/errors, read 2026-08-20).

Its error bodies are flat, `{"message": ..., "id": ...}`, without a code that could be compared.
"""

from __future__ import annotations

from typing import Final

from adapters.failures import Description, Failure, FailureKind, FailureRule, classify, from_description
from adapters.types import Head, Target

RULES: Final = (
    FailureRule(FailureKind.CONTENT_FILTER, status=498),  # a word on Cohere's list of blocked ones
    FailureRule(FailureKind.SERVER, status=499),  # cancelled, but not by us
    FailureRule(FailureKind.CONTEXT_LENGTH, phrase="too many tokens"),
    FailureRule(FailureKind.BAD_REQUEST, status=404, phrase="404 page not found"),  # a wrong base URL
    FailureRule(FailureKind.QUOTA, status=429, phrase="month"),  # a trial key's 1000 calls
    FailureRule(FailureKind.QUOTA, status=429, phrase="maximum billing"),
    FailureRule(FailureKind.SERVER, phrase="internal server error"),  # also in the place of an event
    FailureRule(FailureKind.TIMEOUT, code="TIMEOUT"),  # finish reasons
    FailureRule(FailureKind.SERVER, code="ERROR"),
)


def read_failure(target: Target, head: Head, body: bytes) -> Failure:
    """Classifies a response whose status is not 2xx."""
    return classify(head.status, head.headers, body, target.failure_rules + RULES)


def said_failure(target: Target, head: Head, said: Description) -> Failure:
    """Classifies an error inside a response that began as a success."""
    return from_description(said, head.status, head.headers, target.failure_rules + RULES)


def broken_finish(target: Target, head: Head, word: str, error: str, code: str) -> Failure:
    """Classifies an answer that ended with the finish reason `word`, ERROR or TIMEOUT."""
    message = error or f"the upstream ended its answer with {word or 'an error'}"
    return said_failure(target, head, Description(message, code or None, word or "ERROR"))
