"""What all connections of one server have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Sized

from gateway.http.guard.limits import GuardLimits
from gateway.http.guard.outbox import Outbox
from gateway.http.guard.response_head import header_lines, status_line
from gateway.http.guard.sweeper import Sweeper


class Shared:
    """Limits, the one timer, the outbox, and response lines that change once a second."""

    def __init__(self, limits: GuardLimits) -> None:
        self.limits = limits
        self.sweeper = Sweeper(limits.tick_seconds())
        self._outbox: Outbox | None = None
        self._default_headers: object = None
        self._default_lines = b""
        self._first_lines: dict[int, bytes] = {}

    def outbox(self, loop: asyncio.AbstractEventLoop, at_work: Sized) -> Outbox:
        """Returns that of the server whose requests at work these are."""
        if self._outbox is None:
            self._outbox = Outbox(loop, at_work)
        return self._outbox

    def default_lines(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Returns uvicorn's default headers (the date), encoded once per new list."""
        if headers is not self._default_headers:
            self._default_headers = headers
            self._default_lines = header_lines(headers)
            self._first_lines.clear()
        return self._default_lines

    def first_lines(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Returns status line and default headers."""
        if headers is not self._default_headers:
            self.default_lines(headers)
        lines = self._first_lines.get(status)
        if lines is None:
            lines = self._first_lines[status] = status_line(status) + self._default_lines
        return lines
