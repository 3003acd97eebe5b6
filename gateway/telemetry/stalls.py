"""Notices that the event loop stands still: then nobody is answered, whatever health says before and after."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self

STALL_SECONDS: Final = 1.0
"""What is shorter is a busy machine."""
_BEATS: Final = 4
"""So often in this time the loop shows that it runs, and the thread looks."""
_SHOWN: Final = 6
"""Calls that the log names."""

_log = logging.getLogger("anyport")


class StallWatch:
    """While it is entered, a thread watches the event loop, tells in the log where it stands still, and counts.

    `ended` is called on the loop with the seconds of each standstill.
    """

    def __init__(
        self,
        ended: Callable[[float], None],
        *,
        stall_seconds: float = STALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ended = ended
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._beat = clock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
        self._loop_thread = 0
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begins to watch the loop that runs."""
        self._loop_thread = threading.get_ident()
        self._beat = self._clock()
        self._beating = asyncio.create_task(self._run(), name="stall-watch")
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the watch."""
        self._over.set()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])

    async def _run(self) -> None:
        pause = self._stall_seconds / _BEATS
        while True:
            await asyncio.sleep(pause)
            stood = self._clock() - self._beat - pause
            self._beat = self._clock()
            if stood >= self._stall_seconds:
                _log.error("the event loop goes on after %.1f s in which nobody was answered", stood)
                self._ended(stood)

    def _watch(self) -> None:
        told = 0.0
        while not self._over.wait(self._stall_seconds / _BEATS):
            beat = self._beat
            if beat != told and self._clock() - beat >= self._stall_seconds:
                told = beat
                _log.error("the event loop stands still, at %s", self._place())

    def _place(self) -> str:
        """Returns where the loop's thread is, innermost first: lines of code, no values."""
        # There is no other way to look at another thread.
        frame = sys._current_frames().get(self._loop_thread)  # pyright: ignore[reportPrivateUsage]
        lines = ((each.f_code, line) for each, line in traceback.walk_stack(frame)) if frame else ()
        places = (f"{'/'.join(Path(code.co_filename).parts[-2:])}:{line} {code.co_name}" for code, line in lines)
        return " in ".join(islice(places, _SHOWN))
