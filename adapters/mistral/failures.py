"""How Mistral's errors are understood."""

from __future__ import annotations

from typing import Final

from adapters.failures import Failure, FailureKind, FailureRule, classify
from adapters.types import Head, Target

RULES: Final = (
    # docs.mistral.ai, error handling, and what its API answers, 2026-11-21.
    FailureRule(FailureKind.OVERLOADED, code="service_tier_capacity_exceeded"),
    FailureRule(FailureKind.OVERLOADED, status=429, phrase="service tier capacity exceeded"),
    FailureRule(FailureKind.RATE_LIMIT, code="rate_limited"),
    FailureRule(FailureKind.MODEL_MISSING, status=400, phrase="invalid model"),
    FailureRule(FailureKind.CONTEXT_LENGTH, status=400, phrase="too large for model with"),
)


def read_failure(target: Target, head: Head, body: bytes) -> Failure:
    """Classifies a response whose status is not 2xx."""
    return classify(head.status, head.headers, body, target.failure_rules + RULES)
