"""A database that is open: transactions that read and that write, and what goes wrong in them, as our own errors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.errors import ConfigError, Fault
from gateway.storage.base import StorageRefused, StorageUnavailable

_MAX_REASON: Final = 200

Insert = Callable[[Table], Any]
"""The `insert` of a dialect, which knows conflicts; each dialect has a class of its own for it."""


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

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """Gives a transaction that changes nothing."""
        with_errors = translated(self.place)
        async with with_errors, self.reader.connect() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection]:
        """Gives a transaction that is committed at the end, or not at all."""
        with_errors = translated(self.place)
        async with with_errors, self.writer.begin() as connection:
            yield connection

    async def aclose(self) -> None:
        """Drops all connections."""
        await self.reader.dispose()
        if self.writer is not self.reader:
            await self.writer.dispose()


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
    if line == "unable to open database file":
        line = "there is no such file, or it cannot be opened; `anyport db upgrade` makes it"
    return line[:_MAX_REASON]


def unusable(message: str) -> ConfigError:
    """Returns an error that the operator has to mend."""
    return ConfigError([Fault("anyport.yaml", 0, 0, "storage.url", message)])
