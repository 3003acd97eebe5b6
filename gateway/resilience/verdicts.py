"""Kind of failure -> what may be tried next, what has to rest, and whom it speaks against. A table, and no more.

The smallest thing that may change after a failure, and then the next larger ones:

| Kind | again, the same | another key | another deployment | a fallback | rests | speaks against the deployment |
|---|---|---|---|---|---|---|
| CONNECT | last resort | | yes | yes | | yes |
| TIMEOUT | a 408 only | | yes | yes | | yes |
| SERVER | last resort | | yes | yes | | yes |
| OVERLOADED | last resort, after its pause | | yes | yes | deployment | yes |
| RATE_LIMIT | after its pause | yes | yes | yes | key | |
| QUOTA | | yes | yes | yes | key, an hour | |
| AUTH | | yes | yes | yes | key, ten minutes | |
| MODEL_MISSING | | | yes | yes | deployment, five minutes | |
| CONTEXT_LENGTH | | | with a larger window | ditto | | |
| CONTENT_FILTER | | | | if it is for that | | |
| BAD_REQUEST | | | | another provider, once | | |
| MALFORMED | last resort | | yes | yes | | yes |
| UNKNOWN | | | yes | yes | | |
| CANCELLED | | | | | | |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from adapters.failures import Failure, FailureKind

DAY_SECONDS: Final = 86_400.0
NONSENSE_SECONDS: Final = 900.0
"""What a wait of more than a day is taken for: nobody means it, and a key must not be lost to a typing error."""
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
"""Where the doubling of pauses ends that nobody told us the length of."""
NO_CREDENTIAL: Final = "credential_unavailable"
"""Code of a failure in which the provider was not even asked: we had no credential to show."""
_TOKEN_PAUSE_SECONDS: Final = 5.0


class Scope(StrEnum):
    """What has to rest after a failure."""

    KEY = "key"
    DEPLOYMENT = "deployment"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from one kind of failure."""

    same: bool = False
    """The same key and deployment may be tried once more, after a pause, where nothing else is left."""
    key: bool = False
    deployment: bool = False
    fallback: bool = False
    rests: Scope | None = None
    after_pause: bool = False
    """When that is over, the same may be tried again."""
    pause_seconds: float | None = None
    """How long, where the upstream does not say; None means a pause that doubles."""
    speaks_against: bool = False
    """It counts towards the ejection of the deployment."""
    needs_attention: bool = False
    """It does not pass by itself: an operator has to look."""


_LAST_RESORT: Final = Verdict(same=True, deployment=True, fallback=True, speaks_against=True)
_VERDICTS: Final[Mapping[FailureKind, Verdict]] = {
    FailureKind.CONNECT: _LAST_RESORT,
    FailureKind.TIMEOUT: Verdict(deployment=True, fallback=True, speaks_against=True),
    FailureKind.SERVER: _LAST_RESORT,
    FailureKind.OVERLOADED: Verdict(
        same=True, deployment=True, fallback=True, rests=Scope.DEPLOYMENT, after_pause=True, speaks_against=True
    ),
    FailureKind.RATE_LIMIT: Verdict(key=True, deployment=True, fallback=True, rests=Scope.KEY, after_pause=True),
    FailureKind.QUOTA: Verdict(
        key=True, deployment=True, fallback=True, rests=Scope.KEY, pause_seconds=3600, needs_attention=True
    ),
    FailureKind.AUTH: Verdict(
        key=True, deployment=True, fallback=True, rests=Scope.KEY, pause_seconds=600, needs_attention=True
    ),
    FailureKind.MODEL_MISSING: Verdict(deployment=True, fallback=True, rests=Scope.DEPLOYMENT, pause_seconds=300),
    FailureKind.CONTEXT_LENGTH: Verdict(deployment=True, fallback=True),
    FailureKind.CONTENT_FILTER: Verdict(fallback=True),
    FailureKind.BAD_REQUEST: Verdict(fallback=True),
    FailureKind.MALFORMED: _LAST_RESORT,
    FailureKind.UNKNOWN: Verdict(deployment=True, fallback=True),
    FailureKind.CANCELLED: Verdict(),
}
_NEVER_THE_SAME: Final = frozenset({"upstream_tls_error", "upstream_redirect"})
"""Codes of ours for what a second try would only show again."""


def verdict_on(failure: Failure) -> Verdict:
    """Returns what follows from a failure."""
    return _VERDICTS[failure.kind]


def may_repeat(failure: Failure) -> bool:
    """True if the same key and deployment may be tried once more where nothing else is left."""
    if failure.kind is FailureKind.TIMEOUT:
        return failure.status == 408  # the upstream's own word that it gave up waiting, not ours
    return _VERDICTS[failure.kind].same and failure.code not in _NEVER_THE_SAME


def may_come_back(failure: Failure) -> bool:
    """True if the same deployment may be tried once more when it has rested, where nothing else is left."""
    return _VERDICTS[failure.kind].after_pause or may_repeat(failure)


def told_seconds(failure: Failure) -> float | None:
    """Returns how long the upstream asked us to wait, None if it did not."""
    seconds = failure.retry_after
    if seconds is None or seconds <= 0:
        return None
    return seconds if seconds <= DAY_SECONDS else NONSENSE_SECONDS


def pause_seconds(failure: Failure, strikes: int) -> float:
    """Returns how long what failed has to rest; `strikes` counts its pauses in a row before this one."""
    told = told_seconds(failure)
    if told is not None:
        return told
    if failure.code == NO_CREDENTIAL:
        return _TOKEN_PAUSE_SECONDS
    fixed = _VERDICTS[failure.kind].pause_seconds
    return fixed if fixed is not None else min(FIRST_PAUSE_SECONDS * 2 ** min(strikes, 10), LONGEST_PAUSE_SECONDS)
