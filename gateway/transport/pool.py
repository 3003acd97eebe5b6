"""The connections to one origin: idle ones last in, first out; a limit; a queue, first in, first out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf

from adapters.types import Head
from gateway.transport.base import Fault, Timeouts, TransportError
from gateway.transport.connection import Connection
from gateway.transport.repeated import RepeatedHead
from gateway.transport.sweeper import Sweeper
from gateway.transport.wire import Origin

Dial = Callable[["Pool", Timeouts], Awaitable[Connection]]
"""Opens a connection for a pool, within `Timeouts.connect`; raises TransportError."""


class Pool:
    """Lends connections. A slot is one connection that is open or being opened; `limit` slots exist."""

    __slots__ = (
        "_dial",
        "_idle",
        "_idle_seconds",
        "_is_closed",
        "_limit",
        "_loop",
        "_queue",
        "_reaping",
        "_taken",
        "known",
        "live",
        "origin",
        "sweeper",
    )

    def __init__(
        self,
        origin: Origin,
        *,
        loop: asyncio.AbstractEventLoop,
        sweeper: Sweeper,
        dial: Dial,
        limit: int,
        idle_seconds: float,
    ) -> None:
        self.origin = origin
        self.sweeper = sweeper
        self.live: set[Connection] = set()
        """Connections whose socket is not yet closed, for `Pool.close`."""
        self.known: tuple[RepeatedHead, Head] | None = None
        self._loop = loop
        self._dial = dial
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._idle: dict[Connection, None] = {}
        self._queue: deque[_Ticket] = deque()
        self._taken = 0
        self._reaping: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def is_unused(self) -> bool:
        """True if forgetting the pool loses nothing."""
        return not (self._taken or self.live or self._queue)

    def stats(self) -> tuple[int, int, int]:
        """Returns how many connections are open (or being opened), how many of them idle, and who waits."""
        return self._taken, len(self._idle), sum(not ticket.turn.done() for ticket in self._queue)

    def take(self) -> Connection | None:
        """Returns the idle connection used last, or None."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.is_open:
                return connection
            connection.abort()
        return None

    async def acquire(self, timeouts: Timeouts, *, fresh: bool) -> Connection:
        """Returns a connection that `take` could not give: a new one, or a freed one after a wait."""
        if self._is_closed:
            raise TransportError(Fault.CONNECT, "the transport is closed")
        if self._taken >= self._limit and fresh and self._idle:
            self._evict()
        if self._taken < self._limit:
            self._taken += 1
        else:
            connection = await self._wait_turn(timeouts)
            if connection is not None and not fresh:
                return connection
            if connection is not None and not connection.yield_slot():
                return await self.acquire(timeouts, fresh=True)
        return await self._open(timeouts)

    def give_back(self, connection: Connection) -> None:
        """Takes a clean connection for the next in the queue, or keeps it idle."""
        if self._is_closed:
            connection.abort()
            return
        ticket = self._next_ticket() if self._queue else None
        if ticket is not None:
            ticket.turn.set_result(connection)
            return
        connection.idle_since = self._loop.time()
        self._idle[connection] = None
        if self._reaping is None:
            self._reaping = self._loop.call_later(self._idle_seconds, self._reap)

    def drop(self, connection: Connection) -> None:
        """Forgets a connection that has ended and gives its slot to the next in the queue."""
        self._idle.pop(connection, None)
        self._free_slot()

    async def close(self) -> None:
        """Closes every connection, fails whoever waits, and returns when the sockets are gone."""
        self._is_closed = True
        if self._reaping is not None:
            self._reaping.cancel()
        while (ticket := self._next_ticket()) is not None:
            ticket.turn.set_exception(TransportError(Fault.POOL, "the transport is closed"))
        for connection in tuple(self.live):
            connection.abort()
        for _ in range(100):
            if not self.live:
                return
            await asyncio.sleep(0)

    def _free_slot(self) -> None:
        ticket = self._next_ticket()
        if ticket is not None:
            ticket.turn.set_result(None)
        else:
            self._taken -= 1

    def _next_ticket(self) -> _Ticket | None:
        while self._queue:
            ticket = self._queue.popleft()
            if not ticket.turn.done():
                return ticket
        return None

    async def _open(self, timeouts: Timeouts) -> Connection:
        try:
            connection = await self._dial(self, timeouts)
        except BaseException:
            self._free_slot()
            raise
        if self._is_closed or not connection.is_connected:
            connection.abort()
            self._free_slot()
            raise TransportError(Fault.CONNECT, "the connection was closed as soon as it was open")
        connection.hold_slot()
        return connection

    async def _wait_turn(self, timeouts: Timeouts) -> Connection | None:
        """Returns a freed connection, or None for the right to open one: the slot is then ours."""
        ticket = _Ticket(self._loop, timeouts.pool)
        self._queue.append(ticket)
        self.sweeper.watch(ticket)
        self.sweeper.expect(ticket.deadline)
        try:
            return await ticket.turn
        except asyncio.CancelledError:
            self._pass_on(ticket)
            raise
        finally:
            self.sweeper.unwatch(ticket)

    def _pass_on(self, ticket: _Ticket) -> None:
        """Gives away what was handed to a waiter in the moment of its cancellation."""
        if ticket.turn.cancelled() or not ticket.turn.done() or ticket.turn.exception() is not None:
            return
        connection = ticket.turn.result()
        if connection is None:
            self._free_slot()
        elif connection.is_open:
            self.give_back(connection)
        else:
            connection.abort()

    def _evict(self) -> None:
        oldest = next(iter(self._idle))
        oldest.abort()

    def _reap(self) -> None:
        """Closes connections that were idle for too long, and comes back when the next one may be due."""
        self._reaping = None
        now = self._loop.time()
        for connection in tuple(self._idle):
            due = connection.idle_since + self._idle_seconds
            if due > now:
                self._reaping = self._loop.call_at(due, self._reap)
                return
            connection.abort()


class _Ticket:
    """A place in the queue."""

    __slots__ = ("_seconds", "deadline", "turn")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.turn: asyncio.Future[Connection | None] = loop.create_future()
        self.deadline = loop.time() + seconds
        self._seconds = seconds

    def expire(self) -> None:
        """Fails the waiter."""
        self.deadline = inf
        if not self.turn.done():
            message = f"no free connection within {self._seconds:g} s"
            self.turn.set_exception(TransportError(Fault.POOL, message, setting="upstream.pool_seconds"))
