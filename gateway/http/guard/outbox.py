"""Answers that go out together, after what must be written down before them.

Theory. Each answer is preceded by a record in a file, which costs a system call. Where many requests are at work,
several end in one turn of the event loop: their records are written at once, and then their answers are sent. Where few
are, nothing is put off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sized
from typing import Final

_MANY: Final = 8
"""Requests at work from which on more than one is likely to end in a turn."""

_log = logging.getLogger("anyport.http")


class Outbox:
    """What one server puts off to the end of a turn."""

    __slots__ = ("_answers", "_at_work", "_loop", "_records")

    def __init__(self, loop: asyncio.AbstractEventLoop, at_work: Sized) -> None:
        """`at_work` are the requests of the server."""
        self._loop = loop
        self._at_work = at_work
        self._records: list[Callable[[], None]] = []
        self._answers: list[Callable[[], None]] = []

    @property
    def is_busy(self) -> bool:
        """Whether it is worth to put anything off."""
        return len(self._at_work) >= _MANY

    @property
    def is_holding(self) -> bool:
        """Whether something must be written down before any answer that comes now."""
        return bool(self._records)

    def before(self, write_down: Callable[[], None]) -> None:
        """Has something written down at the end of this turn, before the answers; it never raises."""
        if not self._records:
            self._loop.call_soon(self.release)
        self._records.append(write_down)

    def after(self, answer: Callable[[], None]) -> None:
        """Has an answer sent behind that."""
        self._answers.append(answer)

    def release(self) -> None:
        """Does all of it now."""
        records, self._records = self._records, []
        answers, self._answers = self._answers, []
        for action in (*records, *answers):
            try:
                action()
            except Exception:  # one that fails must not keep the others back
                _log.exception("an answer was not sent")
