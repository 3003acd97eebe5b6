"""Notices that a file has changed, whoever changed it and however: by looking at it every two seconds.

Editors put a new file in the place of the old one, and a mounted ConfigMap is a link to a directory that is replaced:
what notifies of changes in one file misses both. A look is one system call.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from gateway.settings.provider_files import paths_in

LOOK_SECONDS: Final = 2.0
SETTLE_SECONDS: Final = 0.2
"""So long it must not change, so that no half of a file is read."""
_MOST_BYTES: Final = 2 * 1024 * 1024
Mark = tuple[int, ...] | None


class FileWatch:
    """Calls back after each change of what a file says; that it is gone is no change."""

    def __init__(
        self, path: Path, changed: Callable[[], Awaitable[object]], *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._path = path
        self._changed = changed
        self._look_seconds = look_seconds
        self._mark = self._look()
        self._digest = self._read()

    def _look(self) -> Mark:
        return mark_of(self._path)

    def _read(self) -> bytes | None:
        return digest_of(self._path)

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await asyncio.sleep(self._look_seconds)
            # In a thread: a file system over a network may not answer for a while.
            mark = await asyncio.to_thread(self._look)
            if mark is None or mark == self._mark:
                continue
            digest = await self._settled(mark)
            if digest is not None and digest != self._digest:
                self._digest = digest
                await self._changed()

    async def _settled(self, mark: Mark) -> bytes | None:
        """Returns the digest of a file that nobody is writing any more, None if it went away meanwhile."""
        while mark is not None:
            await asyncio.sleep(SETTLE_SECONDS)
            digest = await asyncio.to_thread(self._read)
            again = await asyncio.to_thread(self._look)
            if again == mark:
                self._mark = mark
                return digest
            mark = again
        return None


class DirectoryWatch(FileWatch):
    """The same of the files of providers, of which each may come and go."""

    def _look(self) -> Mark:
        try:
            marks = [mark_of(path) for path in paths_in(self._path)]
        except OSError:
            return None
        return tuple(number for mark in marks for number in mark or ())

    def _read(self) -> bytes | None:
        try:
            said = [(path.name, digest_of(path)) for path in paths_in(self._path)]
        except OSError:
            return None
        return repr(said).encode()


def mark_of(path: Path) -> Mark:
    """Returns what changes with a file, None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns


def digest_of(path: Path) -> bytes | None:
    """Returns what a file says, in 16 bytes; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.blake2b(file.read(_MOST_BYTES), digest_size=16).digest()
    except OSError:
        return None
