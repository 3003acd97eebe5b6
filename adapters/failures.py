"""Failures as values, and how a response becomes one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """The classified bad outcome of one attempt; what is done about each is in gateway/resilience."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    SERVER = "server"
    OVERLOADED = "overloaded"
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    AUTH = "auth"
    MODEL_MISSING = "model_missing"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    BAD_REQUEST = "bad_request"
    MALFORMED = "malformed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FailureRule:
    """A provider row's own wording: every condition given must hold."""

    kind: FailureKind
    status: int | None = None
    code: str | None = None
    phrase: str | None = None
    """Looked for in the message, case-insensitively."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in one attempt."""

    kind: FailureKind
    message: str
    status: int | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    retry_after: float | None = None
    """Seconds that the upstream asked us to wait."""
    setting: str | None = None
    """The setting that ended the attempt, for timeouts and caps of our own."""
