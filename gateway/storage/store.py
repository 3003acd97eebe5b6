"""Storage in a database: each method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.records import Content, Project, Team, UsageRecord, VirtualKey
from gateway.storage import audit_log, consignments, contents, migration, owners, usage
from gateway.storage.base import (
    DAY_MS,
    HOUR_MS,
    MAX_PAGE,
    AuditEntry,
    AuditRow,
    AuditVerdict,
    Owners,
    OwnersQuery,
    RecordsQuery,
    UsageQuery,
    UsageRow,
    whole_hour,
)
from gateway.storage.engine import Database
from gateway.storage.job_store import SqlJobs
from gateway.storage.jobs import Jobs
from gateway.storage.rows import hour_of, refuse_unfit


class SqlStorage:
    """Keeps everything in one database; see `Storage`."""

    def __init__(
        self,
        database: Database,
        *,
        retention_days: int,
        content_days: int,
        aggregates_days: int,
        now_ms: Callable[[], int],
    ) -> None:
        """Single records stay `retention_days` after they were stored, what was asked and answered `content_days`.

        Sums by hour stay `aggregates_days`.
        """
        self.place = database.place
        self.jobs: Jobs = SqlJobs(database)
        self._database = database
        self._retention_ms = retention_days * DAY_MS
        self._content_ms = min(content_days, retention_days) * DAY_MS
        self._aggregates_ms = aggregates_days * DAY_MS
        self._now_ms = now_ms

    async def upgrade(self) -> None:
        """Makes the tables, or brings them up to date."""
        await migration.upgrade(self._database)

    async def is_current(self) -> bool:
        """Returns whether the tables are those that this version needs."""
        found, needed = await self.revision()
        return found == needed

    async def revision(self) -> tuple[str, str]:
        """Returns which tables there are, and which this version needs."""
        return await migration.revision(self._database)

    async def ping(self) -> None:
        """Asks for the version of the owners."""
        await self._database.read(owners.version)

    async def aclose(self) -> None:
        """Drops all connections."""
        await self._database.aclose()

    async def append(self, records: Sequence[UsageRecord]) -> None:
        """Keeps all of them or none; one whose id is there already counts once."""
        if not records:
            return
        refuse_unfit(records)
        insert, now_ms = self._database.insert, self._now_ms()
        await self._database.write(lambda connection: usage.append(connection, insert, records, now_ms))

    async def usage(self, query: UsageQuery) -> list[UsageRow]:
        """Returns the exact sums, in the order of their groups."""
        return await self._database.read(lambda connection: usage.usage(connection, query))

    async def spent(self, owners: Collection[str], since_ms: int) -> dict[str, int]:
        """Returns the nano-dollars of each owner since the beginning of an hour."""
        whole_hour("since_ms", since_ms)
        return await self._database.read(lambda connection: usage.spent(connection, owners, since_ms))

    async def reserved(self) -> dict[str, dict[str, int]]:
        """Returns what consignments may cost yet."""
        return await self._database.read(consignments.reserved)

    async def records(self, query: RecordsQuery) -> list[UsageRecord]:
        """Returns a page of single records."""
        return await self._database.read(lambda connection: usage.read_records(connection, query))

    async def read_content(self, id: str, entry: AuditEntry) -> Content | None:
        """Returns what is kept of what a request asked and was answered, and writes down that somebody read it."""

        async def run(connection: AsyncConnection) -> Content | None:
            content = await contents.read(connection, id)
            if content is not None:
                await audit_log.write(connection, entry)
            return content

        return await self._database.write(run)

    async def owners(self, since_version: int) -> Owners:
        """Returns what was changed after a version."""
        return await self._database.read(lambda connection: owners.changed_since(connection, since_version))

    async def put_key(self, key: VirtualKey, entry: AuditEntry | None = None, before: VirtualKey | None = None) -> int:
        """Keeps a key."""
        return await self._put(key, entry, before)

    async def put_team(self, team: Team, entry: AuditEntry | None = None, before: Team | None = None) -> int:
        """Keeps a team."""
        return await self._put(team, entry, before)

    async def put_project(
        self, project: Project, entry: AuditEntry | None = None, before: Project | None = None
    ) -> int:
        """Keeps a project."""
        return await self._put(project, entry, before)

    async def _put(
        self, owner: VirtualKey | Team | Project, entry: AuditEntry | None, before: VirtualKey | Team | Project | None
    ) -> int:
        async def run(connection: AsyncConnection) -> int:
            version = await owners.put(connection, self._database.insert, owner, before)
            if entry is not None:
                await audit_log.write(connection, entry)
            return version

        return await self._database.write(run)

    async def remove_team(self, id: str, entry: AuditEntry | None = None) -> None:
        """Forgets a team to which nothing belongs."""
        await self._remove(Team, id, entry)

    async def remove_project(self, id: str, entry: AuditEntry | None = None) -> None:
        """Forgets a project to which nothing belongs."""
        await self._remove(Project, id, entry)

    async def _remove(self, kind: type[Team] | type[Project], id: str, entry: AuditEntry | None) -> None:
        async def run(connection: AsyncConnection) -> None:
            await owners.remove(connection, kind, id)
            if entry is not None:
                await audit_log.write(connection, entry)

        await self._database.write(run)

    async def key(self, id: str) -> VirtualKey | None:
        """Returns one key."""
        return await self._database.read(lambda connection: owners.one(connection, VirtualKey, id))

    async def team(self, id: str) -> Team | None:
        """Returns one team."""
        return await self._database.read(lambda connection: owners.one(connection, Team, id))

    async def project(self, id: str) -> Project | None:
        """Returns one project."""
        return await self._database.read(lambda connection: owners.one(connection, Project, id))

    async def keys(self, query: OwnersQuery) -> list[VirtualKey]:
        """Returns a page of keys."""
        return await self._database.read(lambda connection: owners.page(connection, VirtualKey, query))

    async def teams(self, query: OwnersQuery) -> list[Team]:
        """Returns a page of teams."""
        return await self._database.read(lambda connection: owners.page(connection, Team, query))

    async def projects(self, query: OwnersQuery) -> list[Project]:
        """Returns a page of projects."""
        return await self._database.read(lambda connection: owners.page(connection, Project, query))

    async def audit(self, entry: AuditEntry) -> int:
        """Writes an entry behind all others."""
        return await self._database.write(lambda connection: audit_log.write(connection, entry))

    async def audits(self, *, subject: str = "", before: int | None = None, limit: int = 100) -> list[AuditRow]:
        """Returns a page of entries, the newest first."""
        if not 1 <= limit <= MAX_PAGE:
            raise ValueError(f"limit must be between 1 and {MAX_PAGE}, not {limit}")
        return await self._database.read(lambda connection: audit_log.page(connection, subject, before, limit))

    async def verify_audit(self) -> AuditVerdict:
        """Reads the whole audit log and says whether anything was changed or taken out."""
        return await self._database.read(audit_log.verify)

    async def tidy(self, now_ms: int) -> int:
        """Does one small step of taking away what is too old."""
        stored_before_ms = now_ms - self._retention_ms
        contents_before_ms = now_ms - self._content_ms
        hours_before_ms = max(hour_of(now_ms - self._aggregates_ms), HOUR_MS)

        async def run(connection: AsyncConnection) -> int:
            if not await self._database.try_lock(connection):
                return 0
            if taken := await contents.tidy(connection, contents_before_ms):
                return taken
            return await usage.tidy(connection, self._database.insert, stored_before_ms, hours_before_ms)

        return await self._database.write(run)
