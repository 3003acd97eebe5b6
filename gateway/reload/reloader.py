"""From a changed file to requests that are served by it: read, check, compare, swap."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Struct

from gateway.errors import ConfigError
from gateway.reload.changes import Changes, changes_between
from gateway.reload.holder import RuntimeHolder
from gateway.runtime import Runtime
from gateway.settings.model import Settings

MOST_FAULTS: Final = 50
"""Faults that are told; whoever mends those will see the others."""
_log = logging.getLogger("anyport")


class FaultSaid(Struct, frozen=True):
    """One thing wrong in the file."""

    file: str
    line: int
    column: int
    path: str
    message: str
    text: str
    """All of it as one line."""


class Reloaded(Struct, frozen=True):
    """What became of one reload; without `changes` everything is as it was."""

    ok: bool
    seconds: float
    changes: Changes | None = None
    faults: Sequence[FaultSaid] = ()
    warnings: Sequence[str] = ()
    workers: int = 1
    """Processes that serve by it."""


Reload = Callable[[str], Awaitable[Reloaded]]
"""Reads the configuration again; the text says at whose wish."""


@dataclass(frozen=True, slots=True)
class Built:
    """A runtime that is ready to serve, and the settings as the file says them."""

    runtime: Runtime
    said: Settings


Build = Callable[[Runtime, bytes | None], Built]
"""Reads the configuration (the text of the file, where it is given) and builds on a runtime; raises ConfigError."""


class Reloader:
    """Reloads one at a time; nothing of the running configuration changes before the new one is whole."""

    def __init__(
        self, holder: RuntimeHolder[Any], build: Build, told: Callable[[str, Reloaded], None] | None = None
    ) -> None:
        """`told` hears of every reload that is not quiet: at whose wish, and what became of it."""
        self._holder = holder
        self._build = build
        self._told = told
        self._lock = asyncio.Lock()

    async def reload(self, why: str, data: bytes | None = None, *, is_quiet: bool = False) -> Reloaded:
        """Reads the configuration again and serves by it, or says what is wrong with it; never raises.

        `is_quiet` if another process has told already what is new.
        """
        async with self._lock:
            reloaded = await self._reload(why, data, is_quiet=is_quiet)
        if self._told is not None and not is_quiet:
            self._told(why, reloaded)
        return reloaded

    async def _reload(self, why: str, data: bytes | None, *, is_quiet: bool) -> Reloaded:
        began = time.monotonic()
        old = self._holder.current
        try:
            built = await asyncio.to_thread(self._build, old, data)
            changes = changes_between(old.settings, built.said)
            troubles = await self._holder.swap(built.runtime)
        except ConfigError as error:
            return self._refused(error, why, time.monotonic() - began)
        except Exception:
            old.metrics.reloaded(ok=False)
            _log.exception("the configuration was not reloaded (%s)", why)
            fault = _fault("the gateway failed; its log has details")
            return Reloaded(False, time.monotonic() - began, faults=[fault])
        built.runtime.metrics.reloaded(ok=True, is_counted=not is_quiet)
        for trouble in troubles:
            _log.error("the new configuration serves, but: %s; mend it, and reload again", trouble)
        if not is_quiet:
            _tell(why, changes, [each for each in built.runtime.warnings if each not in old.warnings])
        return Reloaded(True, time.monotonic() - began, changes, warnings=[*troubles, *built.runtime.warnings])

    def _refused(self, error: ConfigError, why: str, seconds: float) -> Reloaded:
        self._holder.current.metrics.reloaded(ok=False)
        count = len(error.faults)
        _log.error("the configuration was not reloaded (%s); faults: %d; the one before goes on", why, count)
        for fault in error.faults[:MOST_FAULTS]:
            _log.error("%s", fault)
        return refused(error, seconds)


def refused(error: ConfigError, seconds: float) -> Reloaded:
    """Returns that a reload has changed nothing, and why."""
    faults = error.faults[:MOST_FAULTS]
    said = [FaultSaid(each.file, each.line, each.column, each.path, each.message, str(each)) for each in faults]
    return Reloaded(False, seconds, faults=said)


def _tell(why: str, changes: Changes, warnings: Sequence[str]) -> None:
    _log.info("the configuration was reloaded (%s): %s", why, changes.text())
    for warning in warnings[:MOST_FAULTS]:
        _log.warning("%s", warning)


def _fault(message: str) -> FaultSaid:
    return FaultSaid("anyport", 0, 0, "", message, message)
