"""Failure -> what the client hears. One table, one place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from math import ceil
from typing import Final

from adapters.failures import Failure, FailureKind
from adapters.types import Head, Headers
from gateway.domain import Attempt
from gateway.errors import UpstreamError, UpstreamRejected, UpstreamTimeout, UpstreamUnavailable
from gateway.resilience.closing import LIMIT_CODE
from gateway.resilience.verdicts import NO_CREDENTIAL

_MOST_SECONDS: Final = 86_400.0 * 31
_PASSED_ON: Final = ("openai-version",)
_RATE_LIMIT: Final = "x-ratelimit-"
_ANTHROPICS: Final = "anthropic-ratelimit-"
_COMMON: Final = frozenset({"connection", "content-length", "content-type", "date", "server", "transfer-encoding"})
"""What nearly every response has, and nobody is told."""
_FIGURE: Final = re.compile(r"\d[\dsmhduwTZ.,:;=+ -]{0,63}", re.ASCII)
"""What is passed on: numbers, durations, dates. A key that an upstream echoes in a header looks different."""


@dataclass(frozen=True, slots=True)
class _Answer:
    cls: type[UpstreamError]
    status: int
    code: str
    type: str
    prefix: str = ""


_UPSTREAM = "upstream_error"
_ANSWERS: Final[Mapping[FailureKind, _Answer]] = {
    FailureKind.CONNECT: _Answer(UpstreamUnavailable, 502, "upstream_connection_error", _UPSTREAM),
    FailureKind.TIMEOUT: _Answer(UpstreamTimeout, 504, "upstream_timeout", _UPSTREAM),
    FailureKind.SERVER: _Answer(UpstreamUnavailable, 502, "upstream_error", _UPSTREAM),
    FailureKind.OVERLOADED: _Answer(UpstreamUnavailable, 503, "upstream_overloaded", _UPSTREAM),
    FailureKind.RATE_LIMIT: _Answer(UpstreamUnavailable, 429, "rate_limit_exceeded", "rate_limit_error"),
    FailureKind.QUOTA: _Answer(UpstreamUnavailable, 429, "insufficient_quota", "insufficient_quota"),
    FailureKind.AUTH: _Answer(
        UpstreamUnavailable, 502, "upstream_auth_error", _UPSTREAM, "the provider refused our credential: "
    ),
    FailureKind.MODEL_MISSING: _Answer(UpstreamRejected, 404, "model_not_found", "invalid_request_error"),
    FailureKind.CONTEXT_LENGTH: _Answer(UpstreamRejected, 400, "context_length_exceeded", "invalid_request_error"),
    FailureKind.CONTENT_FILTER: _Answer(UpstreamRejected, 400, "content_filter", "invalid_request_error"),
    FailureKind.BAD_REQUEST: _Answer(UpstreamRejected, 400, "", "invalid_request_error"),
    FailureKind.MALFORMED: _Answer(UpstreamUnavailable, 502, "upstream_invalid_response", _UPSTREAM),
    FailureKind.UNKNOWN: _Answer(UpstreamUnavailable, 502, "upstream_error", _UPSTREAM),
}

_OWN_CODES: Final = frozenset({FailureKind.CONNECT, FailureKind.TIMEOUT, FailureKind.MALFORMED})
"""Kinds that we find out ourselves, with a code that is more precise than the table's."""


def passed_on(head: Head) -> Headers:
    """Returns the upstream's headers that are the client's business, of answers and errors alike."""
    headers = head.headers
    if _COMMON.issuperset(headers):
        return ()
    if any(name.startswith(_ANTHROPICS) for name in headers):
        headers = {**headers, **_told_as_openai_does(headers)}
    return tuple(
        (name, value)
        for name, value in headers.items()
        if (name.startswith(_RATE_LIMIT) or name in _PASSED_ON) and _FIGURE.fullmatch(value)
    )


def _told_as_openai_does(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns Anthropic's limits of requests and tokens under OpenAI's names.

    A reset is a moment there (RFC 3339) and a duration here; it is measured against the response's own `date`.
    (platform.claude.com, API rate limits, 2026-08-22.)
    """
    told: dict[str, str] = {}
    for kind in ("requests", "tokens"):
        for figure in ("limit", "remaining"):
            if value := headers.get(f"{_ANTHROPICS}{kind}-{figure}"):
                told[f"{_RATE_LIMIT}{figure}-{kind}"] = value
        try:
            moment = datetime.fromisoformat(headers[f"{_ANTHROPICS}{kind}-reset"])
            seconds = (moment - parsedate_to_datetime(headers["date"])).total_seconds()
        except (KeyError, ValueError, TypeError, OverflowError):
            continue
        told[f"{_RATE_LIMIT}reset-{kind}"] = f"{max(0, ceil(seconds))}s"
    return told


def client_error(
    failure: Failure, *, deployment: str, message: str, passed: Headers = (), attempts: Sequence[Attempt] = ()
) -> UpstreamError:
    """Returns the error for the client; `message` is the failure's, scrubbed and cut, `passed` goes with it.

    The client is told not to try again: what could be tried has been, and a second round would multiply the load of an
    upstream in trouble. Only where nothing was sent, because a limit of the file's is used up, it may.
    """
    answer = _ANSWERS.get(failure.kind, _ANSWERS[FailureKind.UNKNOWN])
    code = _own_code(failure) or answer.code
    status = answer.status
    param = None
    if failure.kind is FailureKind.BAD_REQUEST:
        code = failure.code or "invalid_request"
        status = 413 if failure.status == 413 else 400
    if answer.cls is UpstreamRejected:
        param = "model" if failure.kind is FailureKind.MODEL_MISSING else failure.param
    if code == "overloaded":
        status = 503
    return answer.cls(
        f"{deployment}: {'' if failure.code == NO_CREDENTIAL else answer.prefix}{message}",
        status=status,
        type=answer.type,
        code=code,
        param=param,
        headers=_wait(failure) + passed,
        should_retry=failure.code == LIMIT_CODE,
        details={"attempts": [_told(attempt) for attempt in attempts]} if attempts else None,
    )


def _told(attempt: Attempt) -> dict[str, object]:
    """Returns what the client may know of one attempt."""
    failure = attempt.failure
    told: dict[str, object] = {"deployment": attempt.deployment, "kind": failure.kind.value if failure else "lost"}
    if failure is not None and failure.status is not None:
        told["status"] = failure.status
    return told


def _own_code(failure: Failure) -> str | None:
    """Returns the failure's code if we gave it; an upstream's 408 is a timeout, too, with a code of its own."""
    code = failure.code or ""
    if code == LIMIT_CODE:
        return code
    is_ours = failure.kind is FailureKind.CONNECT or code.startswith("upstream_")
    return code if is_ours and failure.kind in _OWN_CODES else None


def _wait(failure: Failure) -> Headers:
    seconds = failure.retry_after
    if seconds is None:
        return ()
    seconds = min(seconds, _MOST_SECONDS)
    return (("retry-after", str(ceil(seconds))), ("retry-after-ms", str(ceil(seconds * 1000))))
