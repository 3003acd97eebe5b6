"""The tidier: takes away what is too old, in small steps, for as long as the gateway runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from gateway.storage.base import StorageError

BETWEEN_STEPS_SECONDS: Final = 0.2
"""Time for others between two steps, each of which holds up whoever writes for some milliseconds."""
REST_SECONDS: Final = 60.0
"""Time until it looks again, after all was done or nothing could be."""

_log = logging.getLogger("anyport.storage")


class Tidied(Protocol):
    """What a tidier needs of storage."""

    async def tidy(self, now_ms: int) -> int:
        """Does one small step; returns how many rows are left."""
        ...


class Tidier:
    """One task; every replica has one, and storage lets one of them work at a time."""

    def __init__(
        self,
        storage: Tidied,
        *,
        now_ms: Callable[[], int],
        between_steps_seconds: float = BETWEEN_STEPS_SECONDS,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self.left_rows = 0
        """Rows that were too old at the last look."""
        self._storage = storage
        self._now_ms = now_ms
        self._between_steps_seconds = between_steps_seconds
        self._rest_seconds = rest_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the task."""
        self._task = asyncio.create_task(self._run(), name="storage-tidier")

    async def aclose(self) -> None:
        """Ends the task; a step that was begun ends by itself."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        is_failing = False
        while True:
            try:
                self.left_rows = await self._storage.tidy(self._now_ms())
                is_failing = False
            except StorageError as error:
                if not is_failing:
                    _log.warning("old rows stay in storage for now: %s", error)
                is_failing = True
            is_busy = self.left_rows and not is_failing
            await asyncio.sleep(self._between_steps_seconds if is_busy else self._rest_seconds)
