"""Looks at storage again and again, beside the requests: trouble is told when it begins and when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.access.secrets import PepperMissing
from gateway.errors import ConfigError
from gateway.storage.base import StorageError

REFRESH_SECONDS: Final = 2.0
READ_SECONDS: Final = 5.0
"""How long one look may take."""
NOT_ASKED: Final = "storage was not asked yet"
_log = logging.getLogger("anyport.access")


class Looks:
    """The looks at one thing, and the task that goes on with them."""

    def __init__(
        self,
        look: Callable[[], Awaitable[None]],
        *,
        what: str,
        trouble: str = "",
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """`what` is what is looked at, in words for the log; `trouble` is what holds before the first look."""
        self._look = look
        self._what = what
        self.trouble = trouble
        """Why the last look brought nothing, empty if it did."""
        self._refresh_seconds = refresh_seconds
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    @property
    def has_started(self) -> bool:
        """Says whether the task was begun."""
        return self._task is not None

    async def start(self) -> None:
        """Looks once, and then again and again in a task; a second call does nothing."""
        if self._task is None:
            await self.refresh()
            self._task = asyncio.create_task(self._run(), name=f"look at {self._what}")

    async def aclose(self) -> None:
        """Ends the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def refresh(self) -> None:
        """Looks once; what goes wrong is logged, once."""
        async with self._turn:
            trouble = await self._tried()
            if trouble and trouble != self.trouble:
                _log.error("%s cannot be read: %s", self._what, trouble)
            if self.trouble not in ("", NOT_ASKED) and not trouble:
                _log.info("%s can be read again", self._what)
            self.trouble = trouble

    async def _tried(self) -> str:
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self._look()
        except TimeoutError:
            return f"storage did not answer within {READ_SECONDS:g} s"
        except (StorageError, PepperMissing, ConfigError) as error:
            return str(error)
        return ""

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_seconds)
            try:
                await self.refresh()
            except Exception as error:
                self.trouble = f"{type(error).__name__} inside the gateway"
                _log.exception("%s cannot be read", self._what)
