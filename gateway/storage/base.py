"""What is kept for good, as one interface: records and their sums, keys and who owns them, and who changed what.

Sums are kept by hour, in the same transaction as the records that they are of. Single records go after a while, sums by
hour much later; what those were of is then known by owner alone, under the hour `LONG_AGO_MS`. No sum is ever lost.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct, field

from gateway.records import Content, Project, Team, UsageRecord, VirtualKey
from gateway.storage.jobs import Jobs

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
LONG_AGO_MS: Final = 0
"""The hour of sums that are so old that only their owners are known."""
MAX_PAGE: Final = 1000
MAX_USAGE_ROWS: Final = 10_000
MAX_PREFIX: Final = 200

Dimension = Literal["key", "team", "project", "route", "model", "provider", "deployment", "day", "hour"]
Filter = Mapping[Literal["key", "team", "project", "route", "model", "provider", "deployment"], tuple[str, ...]]


class StorageError(Exception):
    """Storage did not do what it was asked for, and nothing of it."""


class StorageUnavailable(StorageError):
    """It cannot now: away, busy, full, out of order. The same may work later."""


class StorageRefused(StorageError):
    """It never will: what was asked for is wrong."""


class ChangedMeanwhile(StorageRefused):
    """Somebody else changed it since it was read; what is to become of it has to be thought out again."""


class NameTaken(StorageRefused):
    """Another team, or another project, is called so."""


class RecordsRefused(StorageRefused):
    """Some of the records cannot be kept, none were; the others can be, without them."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        first = next(iter(reasons.items()))
        super().__init__(f"{len(reasons)} records cannot be kept; {first[0]!r}: {first[1]}")
        self.reasons = reasons
        """By id of a record."""


def wall_ms() -> int:
    """Returns this moment as everything that is kept has it: milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _no_filter() -> Filter:
    return {}


class UsageQuery(Struct, frozen=True):
    """Which sums are asked for; the span is one of whole hours."""

    by: tuple[Dimension, ...] = ()
    where: Filter = field(default_factory=_no_filter)
    """Any of the values of every dimension that it names."""
    since_ms: int | None = None
    until_ms: int | None = None
    """The first moment that is not asked for any more."""

    def __post_init__(self) -> None:
        for name, moment in (("since_ms", self.since_ms), ("until_ms", self.until_ms)):
            whole_hour(name, moment or 0)


class UsageRow(Struct, frozen=True):
    """The sums of one group."""

    group: dict[Dimension, str | int]
    """The value of each dimension of `UsageQuery.by`; days and hours by their first millisecond."""
    requests: int = 0
    errors: int = 0
    cancelled: int = 0
    estimated: int = 0
    """Requests whose tokens were estimated."""
    unpriced: int = 0
    """Requests whose price is not known: they are not in `cost_nano_usd`."""
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano_usd: int = 0


class RecordsQuery(Struct, frozen=True):
    """Which single records are asked for; the newest come first."""

    id: str = ""
    where: Filter = field(default_factory=_no_filter)
    since_ms: int | None = None
    until_ms: int | None = None
    only_errors: bool = False
    older_than: tuple[int, str] | None = None
    """`at_ms` and `id` of the last one of the page before."""
    limit: int = 100

    def __post_init__(self) -> None:
        _page_size(self.limit)


class OwnersQuery(Struct, frozen=True):
    """Which keys, teams or projects are asked for, in the order of their ids."""

    prefix: str = ""
    """What their names begin with, in capitals or not."""
    team_id: str = ""
    project_id: str = ""
    after: str = ""
    """The id of the last one of the page before."""
    limit: int = 100

    def __post_init__(self) -> None:
        _page_size(self.limit)
        if len(self.prefix) > MAX_PREFIX:
            raise ValueError(f"prefix must have at most {MAX_PREFIX} characters, not {len(self.prefix)}")


class Owners(Struct, frozen=True):
    """Everything that was changed after a version."""

    version: int
    is_whole: bool
    """Whether this is all that there is, and what it does not name is not there any more."""
    keys: tuple[VirtualKey, ...] = ()
    teams: tuple[Team, ...] = ()
    projects: tuple[Project, ...] = ()


class AuditEntry(Struct, frozen=True):
    """Who changed what; never a secret."""

    at_ms: int
    actor: str
    action: str
    subject: str
    """What it was done to, such as `key:ID`."""
    details: str = "{}"
    """JSON."""


class AuditRow(Struct, frozen=True):
    """An entry as it is kept: its digest is one over itself and all before it."""

    sequence: int
    entry: AuditEntry
    digest: bytes


class AuditVerdict(Struct, frozen=True):
    """Whether the audit log is what was written."""

    entries: int
    """So many are as they were written, from the first on."""
    broken_at: int | None
    """The sequence number of the first that is changed or missing."""
    digest: bytes
    """Of the last good one. Noted elsewhere, it tells later whether all was written anew."""


class Storage(Protocol):
    """Keeps what must not be lost; used on one event loop. No request waits for it.

    All methods raise `StorageUnavailable`; what it says holds no secret.
    """

    place: str
    """Where it is, for people: a file, or host, port and database."""
    jobs: Jobs
    """Files and batches, in the same place."""

    async def upgrade(self) -> None:
        """Makes the tables, or brings them up to date; several processes may do so at once.

        Raises ConfigError about what the operator has to mend: a place that cannot be written, a file that is broken
        or no database, one that a newer version wrote.
        """
        ...

    async def is_current(self) -> bool:
        """Returns whether the tables are those that this version needs."""
        ...

    async def revision(self) -> tuple[str, str]:
        """Returns which tables there are, empty for none, and which this version needs."""
        ...

    async def ping(self) -> None:
        """Does nothing, successfully."""
        ...

    async def aclose(self) -> None:
        """Drops all connections."""
        ...

    async def append(self, records: Sequence[UsageRecord]) -> None:
        """Keeps all of them or none; one whose id is there already counts once. Raises RecordsRefused."""
        ...

    async def usage(self, query: UsageQuery) -> list[UsageRow]:
        """Returns the exact sums of the groups that had requests, in order.

        Raises StorageRefused for more than `MAX_USAGE_ROWS`.
        """
        ...

    async def spent(self, owners: Collection[str], since_ms: int) -> dict[str, int]:
        """Returns the nano-dollars of each owner (`key:ID`, `team:ID`, `project:ID`) since the beginning of an hour.

        0 means ever. One of whom nothing is known has spent 0.
        """
        ...

    async def reserved(self) -> dict[str, dict[str, int]]:
        """Returns the nano-dollars that consignments of batches may cost yet, by owner and then by consignment."""
        ...

    async def records(self, query: RecordsQuery) -> list[UsageRecord]:
        """Returns a page of single records."""
        ...

    async def read_content(self, id: str, entry: AuditEntry) -> Content | None:
        """Returns what is kept of what a request asked and was answered; nobody reads it without the entry.

        Without content there is no entry.
        """
        ...

    async def owners(self, since_version: int) -> Owners:
        """Returns what was changed after a version, all for 0; cheap where nothing was."""
        ...

    async def put_key(self, key: VirtualKey, entry: AuditEntry | None = None, before: VirtualKey | None = None) -> int:
        """Keeps a key, new or changed, with what the audit log has to say of it; returns the new version.

        Raises StorageRefused if another key has its digest, ChangedMeanwhile if it is not as `before` says any more.
        """
        ...

    async def put_team(self, team: Team, entry: AuditEntry | None = None, before: Team | None = None) -> int:
        """Does the same for a team; raises NameTaken if another one is called so."""
        ...

    async def put_project(
        self, project: Project, entry: AuditEntry | None = None, before: Project | None = None
    ) -> int:
        """Does the same for a project; raises NameTaken if another one is called so."""
        ...

    async def remove_team(self, id: str, entry: AuditEntry | None = None) -> None:
        """Forgets a team, or does nothing if there is none; what it has used stays in the sums.

        Raises StorageRefused if a project or a key belongs to it.
        """
        ...

    async def remove_project(self, id: str, entry: AuditEntry | None = None) -> None:
        """Does the same for a project; raises StorageRefused if a key belongs to it."""
        ...

    async def key(self, id: str) -> VirtualKey | None:
        """Returns one key."""
        ...

    async def team(self, id: str) -> Team | None:
        """Returns one team."""
        ...

    async def project(self, id: str) -> Project | None:
        """Returns one project."""
        ...

    async def keys(self, query: OwnersQuery) -> list[VirtualKey]:
        """Returns a page of keys."""
        ...

    async def teams(self, query: OwnersQuery) -> list[Team]:
        """Returns a page of teams."""
        ...

    async def projects(self, query: OwnersQuery) -> list[Project]:
        """Returns a page of projects."""
        ...

    async def audit(self, entry: AuditEntry) -> int:
        """Writes an entry behind all others; returns its sequence number, which has no gaps."""
        ...

    async def audits(self, *, subject: str = "", before: int | None = None, limit: int = 100) -> list[AuditRow]:
        """Returns a page of entries, the newest first, of those with a lower sequence number than `before`."""
        ...

    async def verify_audit(self) -> AuditVerdict:
        """Reads the whole audit log and says whether anything was changed or taken out."""
        ...

    async def tidy(self, now_ms: int) -> int:
        """Does one small step of taking away what is too old; returns how many rows are left to do, roughly.

        0 if another process is at it.
        """
        ...


def whole_hour(name: str, moment_ms: int) -> None:
    """Raises ValueError for a moment at which no hour begins."""
    if moment_ms < 0 or moment_ms % HOUR_MS:
        raise ValueError(f"{name} must be the beginning of an hour, in milliseconds since 1970, not {moment_ms}")


def _page_size(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"limit must be between 1 and {MAX_PAGE}, not {limit}")
