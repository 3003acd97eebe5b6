"""TGI's errors: `{"error", "error_type"}`, plain text where the request's JSON does not fit, nothing for a bad key."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from adapters.failures import Failure, FailureKind, FailureRule, from_description
from adapters.huggingface.failures import describe_error, with_wait
from adapters.types import Head, Target

RULES: Final = (
    # router/src/lib.rs and server.rs of TGI 3, read 2026-11-21: the type of an error says what is wrong.
    FailureRule(FailureKind.OVERLOADED, code="overloaded"),
    FailureRule(FailureKind.OVERLOADED, code="healthcheck"),
    FailureRule(FailureKind.SERVER, code="generation"),
    FailureRule(FailureKind.SERVER, code="incomplete_generation"),
    FailureRule(FailureKind.SERVER, status=424),
    FailureRule(FailureKind.CONTEXT_LENGTH, code="validation", phrase="`inputs` tokens + `max_new_tokens` must be"),
    FailureRule(FailureKind.CONTEXT_LENGTH, code="validation", phrase="`inputs` must have less than"),
    FailureRule(FailureKind.BAD_REQUEST, code="validation"),
    FailureRule(FailureKind.BAD_REQUEST, code="template_error"),
    FailureRule(FailureKind.BAD_REQUEST, code="tool_error"),
)


def with_rules(target: Target) -> Target:
    """Returns the target with these rules behind its row's own."""
    return replace(target, failure_rules=target.failure_rules + RULES)


def read_failure(target: Target, head: Head, body: bytes) -> Failure:
    """Classifies an error, also one inside a response that began as a success."""
    rules = target.failure_rules + RULES
    return with_wait(from_description(describe_error(body), head.status, head.headers, rules), body)
