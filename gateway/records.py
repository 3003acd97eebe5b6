"""What must not be lost: who may call and what it cost. Values only; money is integers of nano-dollars.

Moments are milliseconds since the epoch: they are shared with other processes and outlive this one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

NANO: Final = 10**9
"""Nano-dollars of one dollar."""


def dollars(nano_usd: int) -> str:
    """Returns an amount as decimal digits, exactly and without an exponent."""
    whole, rest = divmod(nano_usd, NANO)
    digits = f"{rest:09}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


class Window(StrEnum):
    """How long a budget lasts before it begins anew: UTC's days, ISO weeks and months; `total` never does."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


class Limits(Struct, frozen=True):
    """What an owner may do at most; None limits nothing."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_in_flight: int | None = None


NO_LIMITS: Final = Limits()


class Budget(Struct, frozen=True):
    """How much money an owner may spend in each window."""

    nano_usd: int
    window: Window = Window.TOTAL


class Team(Struct, frozen=True):
    """Owns projects and keys; what they do counts here, too."""

    id: str
    name: str
    limits: Limits = NO_LIMITS
    budgets: tuple[Budget, ...] = ()


class Project(Struct, frozen=True):
    """Owns keys, within a team or by itself."""

    id: str
    name: str
    team_id: str = ""
    limits: Limits = NO_LIMITS
    budgets: tuple[Budget, ...] = ()


class VirtualKey(Struct, frozen=True):
    """A key that was given to a client; the key itself is nowhere, only what tells whether another one equals it."""

    id: str
    name: str
    digest: bytes
    """HMAC-SHA-256 of the key."""
    hint: str = ""
    """The beginning that all of our keys have, and four more characters, for people to tell keys apart."""
    team_id: str = ""
    project_id: str = ""
    tags: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    """Public model names that it may use, `*` at the end for all that begin so; none means all."""
    limits: Limits = NO_LIMITS
    budgets: tuple[Budget, ...] = ()
    created_at_ms: int = 0
    expires_at_ms: int | None = None
    disabled_at_ms: int | None = None
    former_digest: bytes | None = None
    """The key before the last rotation."""
    former_until_ms: int | None = None
    """Until when that one still works."""
    keeps_content: bool = False
    """Whether what it asks and is answered is kept for a while, too."""


class AttemptRecord(Struct, frozen=True, omit_defaults=True):
    """One attempt of a request."""

    deployment: str
    kind: str = "ok"
    """`ok`, `lost`, `cancelled`, or the kind of its failure."""
    status: int | None = None
    milliseconds: float = 0.0
    is_hedge: bool = False


class Content(Struct, frozen=True):
    """What a key that keeps content asked and was answered: without known secrets, and cut."""

    request: bytes
    answer: bytes
    """JSON, or the events of a stream."""
    request_bytes: int
    """How long it was before it was cut."""
    answer_bytes: int


class UsageRecord(Struct, frozen=True):
    """One finished request, once and for all; neither prompt nor answer, unless its key keeps content."""

    id: str
    """The request's id: recorded twice, it counts once."""
    at_ms: int
    """When it ended."""
    operation: str
    route: str
    """The public name, or `other` for one that nothing serves."""
    status: int
    key_id: str = ""
    """The virtual key, or the name of a key of the file; empty for an open gateway."""
    team_id: str = ""
    project_id: str = ""
    deployment: str = ""
    provider: str = ""
    model: str = ""
    """The model that answered, as the upstream calls it."""
    stream: bool = False
    error: str | None = None
    input_tokens: int = 0
    """With the cached ones."""
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    """With those of reasoning."""
    reasoning_tokens: int = 0
    usage_source: str = "none"
    """`reported`, `estimated` or `none`."""
    cost_nano_usd: int | None = None
    """None if the price is not known: that is not zero."""
    price_version: str = ""
    ttft_ms: float | None = None
    total_ms: float = 0.0
    overhead_ms: float = 0.0
    attempts: tuple[AttemptRecord, ...] = ()
    fallback: str = ""
    hedged: str = ""
    is_cancelled: bool = False
    content: Content | UnsetType = UNSET
    """On its way to storage, which keeps it apart. The last member: what stands here is cut off a damaged line."""

    def without_content(self) -> UsageRecord:
        """Returns what may be kept anywhere."""
        return self if self.content is UNSET else replace(self, content=UNSET)
