"""A database that is open: transactions that read and that write, and what goes wrong in them, as our own errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import Table, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.errors import ConfigError, Fault
from gateway.storage.base import StorageRefused, StorageUnavailable

_MAX_REASON: Final = 200

Answer = TypeVar("Answer")
Work = Callable[[AsyncConnection], Awaitable[Answer]]
Insert = Callable[[Table], Any]
"""The `insert` of a dialect, which knows conflicts; each dialect has a class of its own for it."""


def _no_tasks() -> set[asyncio.Task[Any]]:
    return set()


@dataclass(frozen=True, slots=True)
class Database:
    """One database, whichever it is."""

    place: str
    reader: AsyncEngine
    writer: AsyncEngine
    insert: Insert
    prepare: Callable[[], Awaitable[None]]
    """Makes what must be there before the first connection, and refuses what cannot be used; raises ConfigError."""
    lock: Callable[[AsyncConnection], Awaitable[None]]
    """Has all other processes wait that ask for this, until the transaction ends."""
    try_lock: Callable[[AsyncConnection], Awaitable[bool]]
    """Does the same, unless another one did: then it returns false."""

    _running: set[asyncio.Task[Any]] = field(default_factory=_no_tasks, init=False)

    async def read(self, work: Work[Answer]) -> Answer:
        """Returns what `work` reads in a transaction."""
        return await self._to_the_end(self._in(self.reader, work))

    async def write(self, work: Work[Answer]) -> Answer:
        """Returns what `work` says; what it does is committed at its end, or none of it."""
        return await self._to_the_end(self._in(self.writer, work))

    async def aclose(self) -> None:
        """Lets what is running end, and drops all connections."""
        if self._running:
            await asyncio.wait(self._running)
        await self.reader.dispose()
        if self.writer is not self.reader:
            await self.writer.dispose()

    async def _in(self, engine: AsyncEngine, work: Work[Answer]) -> Answer:
        async with translated(self.place), engine.begin() as connection:
            return await work(connection)

    async def _to_the_end(self, transaction: Coroutine[Any, Any, Answer]) -> Answer:
        # In a task that a cancellation does not reach: a driver that is cut short leaves its connection, and what that
        # has locked, to the garbage collection. How long a transaction may take is bounded by each database.
        task = asyncio.create_task(transaction)
        self._running.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait([task])
        return task.result()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # of one that nobody waits for any more: whoever did knows that it may have failed


@asynccontextmanager
async def translated(place: str) -> AsyncGenerator[None]:
    """Turns what drivers raise into our errors; nothing of statements and values is in them."""
    try:
        yield
    except (exc.DataError, exc.IntegrityError) as error:
        raise StorageRefused(f"{place}: {reason_of(error)}") from None
    except (exc.SQLAlchemyError, OSError, TimeoutError) as error:
        raise StorageUnavailable(f"{place}: {reason_of(error)}") from None


def reason_of(error: BaseException) -> str:
    """Returns in one line what a driver says; further lines quote values."""
    cause: BaseException = error
    while isinstance(cause, exc.DBAPIError) and cause.orig is not None:
        cause = cause.orig
    if isinstance(cause, TimeoutError | exc.TimeoutError):
        return "no answer in time"
    said = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
    # SQLAlchemy puts the class of the driver's error before its words.
    line = said.splitlines()[0].rpartition(">: ")[2]
    return line[:_MAX_REASON]


def unusable(message: str) -> ConfigError:
    """Returns an error that the operator has to mend."""
    return ConfigError([Fault("anyport.yaml", 0, 0, "storage.url", message)])
