"""Notices that settings have changed, whoever changed them and however: by looking at their files every two seconds.

Editors put a new file in the place of the old one, and a mounted ConfigMap or Secret is a link to a directory that is
replaced: what notifies of changes in one file misses both. A look is one system call for each file.

Theory. Files that change together, such as the two halves of a rotation, are one change: nobody is called before all of
them lie still. What they said when somebody was called is compared with what they say now, so that nothing is missed
that changes while the settings are read. A file of a secret that is gone, or empty, is being replaced: until it is
there again no other secret counts either, since reading them all would fail.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from gateway.errors import ConfigError
from gateway.settings.provider_files import directory_beside, paths_in
from gateway.settings.references import SecretFile
from gateway.settings.regular import read_regular

LOOK_SECONDS: Final = 2.0
SETTLE_SECONDS: Final = 0.2
"""So long nothing must change, so that no half of a file is read."""
_MOST_BYTES: Final = 2 * 1024 * 1024
_SETTINGS: Final = "the file has changed"
_PROVIDERS: Final = "the files of providers have changed"
_SECRETS: Final = "a file of a secret has changed"
_log = logging.getLogger("anyport")
Mark = tuple[int, ...] | None


class Marks(NamedTuple):
    """What changes with the files."""

    settings: Sequence[Mark]
    """With those of providers."""
    secrets: Sequence[Mark]


class Said(NamedTuple):
    """What the files say, as digests; None of what cannot be read now."""

    settings: bytes | None
    providers: bytes | None
    secrets: Mapping[SecretFile, bytes | None]
    """With what others may do with them: a secret that all may write is refused, until that is taken away."""


class ConfigWatch:
    """Calls back, with the reason, after each change of what the files of the settings say."""

    def __init__(
        self,
        path: Path,
        changed: Callable[[str], Awaitable[object]],
        secrets: Callable[[], Sequence[SecretFile]] = tuple,
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """`secrets` says in which files secrets stand, by what the settings say now; may block and raise ConfigError.

        That the settings file is gone, or the folder of providers cannot be read, is no change.
        """
        self._path = path
        self._directory = directory_beside(path)
        self._changed = changed
        self._secrets = secrets
        self._look_seconds = look_seconds
        self._files: Sequence[SecretFile] = ()
        self._lacking: frozenset[SecretFile] = frozenset()
        """Those that were told to be gone."""
        self._marks = self._look()
        self._said: Said = self._read()

    async def run(self) -> None:
        """Looks until it is cancelled."""
        await asyncio.to_thread(self._find_secrets)
        while True:
            await asyncio.sleep(self._look_seconds)
            # In a thread: a file system over a network may not answer for a while.
            marks = await asyncio.to_thread(self._look)
            if marks != self._marks:
                await self._compare(await self._settled(marks))

    async def _settled(self, marks: Marks) -> Said:
        """Returns what files say that nobody is writing any more."""
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            said = await asyncio.to_thread(self._read)
            again = await asyncio.to_thread(self._look)
            if again == marks:
                self._marks = marks
                return said
            marks = again

    async def _compare(self, said: Said) -> None:
        before = self._said
        settings = before.settings if said.settings is None else said.settings
        providers = before.providers if said.providers is None else said.providers
        if (settings, providers) != (before.settings, before.providers):
            self._said = Said(settings, providers, said.secrets)
            # Before they are read: what is written into them from now on is another change.
            await asyncio.to_thread(self._find_secrets)
            await self._changed(_SETTINGS if settings != before.settings else _PROVIDERS)
            return
        self._tell(frozenset(file for file, digest in said.secrets.items() if digest is None))
        if said.secrets != before.secrets and not self._lacking:
            self._said = before._replace(secrets=said.secrets)
            await self._changed(_SECRETS)

    def _tell(self, lacking: frozenset[SecretFile]) -> None:
        for file in sorted(lacking - self._lacking):
            _log.warning(
                "%s, where a secret stands, is gone, empty or not readable; what was read before is used until it is "
                "there again",
                file.shown,
            )
        self._lacking = lacking

    def _find_secrets(self) -> None:
        with suppress(ConfigError):  # whoever reads the settings tells what is wrong with them
            self._files = self._secrets()
        self._marks = Marks(self._marks.settings, self._look().secrets)
        self._said = self._said._replace(secrets=self._read_secrets())

    def _look(self) -> Marks:
        try:
            providers = paths_in(self._directory)
        except OSError:
            providers = []
        settings = [mark_of(path) for path in (self._path, *providers)]
        return Marks(settings, [mark_of(file.path) for file in self._files])

    def _read(self) -> Said:
        try:
            listed = repr([(path.name, digest_of(path)) for path in paths_in(self._directory)]).encode()
        except OSError:
            listed = None
        return Said(digest_of(self._path), listed, self._read_secrets())

    def _read_secrets(self) -> Mapping[SecretFile, bytes | None]:
        return {file: digest_of(file.path, is_secret=True) for file in self._files}


def mark_of(path: Path | str) -> Mark:
    """Returns what changes with a file, None if there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns


def digest_of(path: Path | str, *, is_secret: bool = False) -> bytes | None:
    """Returns what a file says, in 16 bytes; None if it cannot be read, or is a secret and says nothing."""
    try:
        found = read_regular(path, _MOST_BYTES)
    except (OSError, ValueError):
        return None
    if found is None or (is_secret and not found[0].strip()):
        return None
    data, mode = found
    of_others = bytes([mode & (stat.S_IROTH | stat.S_IWOTH)]) if is_secret else b""
    return hashlib.blake2b(data, digest_size=16, key=of_others).digest()
