"""All virtual keys, projects and teams in memory: what requests are checked against, without waiting for storage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from itertools import chain
from typing import Any, Final, Protocol

from msgspec import Struct

from gateway.access.looks import NOT_ASKED, REFRESH_SECONDS, Looks
from gateway.access.premises import is_limited
from gateway.access.secrets import Pepper, digest_of
from gateway.errors import ConfigError
from gateway.records import Project, Team, VirtualKey
from gateway.storage.base import Owners, StorageError

TRUST_SECONDS: Final = 3600.0
"""How long known keys go on while storage does not answer."""


class Owned(Protocol):
    """What a picture needs of storage."""

    def upgrade(self) -> Coroutine[Any, Any, None]:
        """Makes the tables, or brings them up to date; raises ConfigError and StorageError."""
        ...

    async def owners(self, since_version: int) -> Owners:
        """Returns what was changed after a version, all for 0; raises StorageError."""
        ...


class Holder(Struct, frozen=True):
    """Whose a key is."""

    key: VirtualKey
    project: Project | None = None
    team: Team | None = None
    is_former: bool = False
    """It is the key before the last rotation."""


class KeyPicture:
    """The picture, and the task that keeps it: a change made anywhere is seen within some seconds."""

    def __init__(
        self,
        storage: Callable[[], Owned],
        pepper: Pepper,
        *,
        clock: Callable[[], float],
        now_ms: Callable[[], int],
        is_absent: Callable[[], bool] = lambda: False,
        coming: Callable[[Sequence[VirtualKey | Project | Team]], Awaitable[None]] | None = None,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """`is_absent` says whether it is certain that nothing was stored yet: then nothing is opened to be read.

        `coming` is awaited with what is new, before it counts.
        """
        self.pepper = pepper
        self.now_ms = now_ms
        self._storage = storage
        self._clock = clock
        self._is_absent = is_absent
        self._coming = coming
        self._looks = Looks(self._look, what="virtual keys", trouble=NOT_ASKED, refresh_seconds=refresh_seconds)
        self._keys: dict[str, VirtualKey] = {}
        self._projects: dict[str, Project] = {}
        self._teams: dict[str, Team] = {}
        self._by_digest: dict[bytes, VirtualKey] = {}
        self._version = 0
        self._budgeted: Sequence[VirtualKey | Project | Team] = ()
        self._budgeted_version = 0
        self._upgrading: asyncio.Task[None] | None = None
        self._seen_at: float | None = None
        self._pepper_bytes: bytes | None = None

    @property
    def is_empty(self) -> bool:
        """Says whether it is known that there is no key; disabled ones are keys, too."""
        return self._seen_at is not None and not self._keys

    @property
    def trouble(self) -> str:
        """Why the picture may be old, empty if it is not."""
        return self._looks.trouble

    @property
    def is_trusted(self) -> bool:
        """Says whether what it knows still counts."""
        return self._seen_at is not None and (not self._looks.trouble or self._clock() - self._seen_at <= TRUST_SECONDS)

    def budgeted(self) -> Sequence[VirtualKey | Project | Team]:
        """Returns all owners that have a budget, but for keys that nobody may use any more."""
        if self._budgeted_version != self._version:
            self._budgeted_version = self._version
            keys = (key for key in self._keys.values() if key.disabled_at_ms is None)
            owners = chain[VirtualKey | Project | Team](keys, self._projects.values(), self._teams.values())
            self._budgeted = [each for each in owners if each.budgets]
        return self._budgeted

    def limited(self) -> Iterator[str]:
        """Gives the name of each owner that has limits or budgets; may be called beside the event loop."""
        for owners in (self._keys, self._projects, self._teams):
            yield from (each.name for each in tuple(owners.values()) if is_limited(each))

    def called(self, word: str, id: str) -> str:
        """Returns what a `key`, `project` or `team` is called now, empty if it is not known."""
        owner = {"key": self._keys, "project": self._projects, "team": self._teams}[word].get(id)
        return "" if owner is None else owner.name

    def find(self, presented: bytes) -> Holder | None:
        """Returns whose a key is, None if it knows of none; whether that still counts is `is_trusted`."""
        if self._pepper_bytes is None:
            return None
        digest = digest_of(presented, self._pepper_bytes)
        # How long a dictionary takes says something about the digest, which without the pepper says nothing.
        key = self._by_digest.get(digest)
        return None if key is None else self._holder(key, is_former=key.digest != digest)

    def holder(self, id: str) -> Holder | None:
        """Returns whose the key with an id is, None if it knows of none."""
        key = self._keys.get(id)
        return None if key is None else self._holder(key, is_former=False)

    def id_of(self, name: str) -> str:
        """Returns the id of the key of a name, "" if it knows of none."""
        return next((key.id for key in self._keys.values() if key.name == name), "")

    async def start(self) -> None:
        """Looks once, and then again and again in a task; a second call does nothing."""
        await self._looks.start()

    async def aclose(self) -> None:
        """Ends the task."""
        await self._looks.aclose()
        if self._upgrading is not None:
            self._upgrading.cancel()
            await asyncio.wait([self._upgrading])

    async def refresh(self) -> None:
        """Takes over what was changed in storage; what goes wrong is logged, once."""
        await self._looks.refresh()

    async def _look(self) -> None:
        if not self._version and self._is_absent():
            self._seen_at = self._clock()
            return
        storage = self._storage()
        await self._upgraded(storage)
        found = await storage.owners(self._version)
        if self._coming is not None and found.version != self._version:
            await self._coming((*found.keys, *found.projects, *found.teams))
        self._take(found)
        if self._keys and self._pepper_bytes is None:
            self._pepper_bytes = self.pepper.read()
        self._seen_at = self._clock()

    async def _upgraded(self, storage: Owned) -> None:
        if self._upgrading is None:
            self._upgrading = asyncio.create_task(storage.upgrade(), name="key-picture-upgrade")
        try:
            # Large tables take longer than one look; cut off each time, it would never end.
            await asyncio.shield(self._upgrading)
        except (StorageError, ConfigError):
            self._upgrading = None
            raise

    def _take(self, owners: Owners) -> None:
        if owners.is_whole:
            self._keys, self._projects, self._teams, self._by_digest = {}, {}, {}, {}
        self._projects.update((each.id, each) for each in owners.projects)
        self._teams.update((each.id, each) for each in owners.teams)
        for key in owners.keys:
            for digest in _digests(self._keys.get(key.id)):
                self._by_digest.pop(digest, None)
            self._keys[key.id] = key
            self._by_digest.update((digest, key) for digest in _digests(key))
        self._version = owners.version

    def _holder(self, key: VirtualKey, *, is_former: bool) -> Holder:
        project = self._projects.get(key.project_id)
        team_id = key.team_id or (project.team_id if project else "")
        return Holder(key, project, self._teams.get(team_id), is_former)


def _digests(key: VirtualKey | None) -> tuple[bytes, ...]:
    if key is None:
        return ()
    return (key.digest,) if key.former_digest is None else (key.digest, key.former_digest)
