"""SQLite: a file in a directory, one connection that writes and a few that read."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.storage.engine import Database, unusable

BUSY_MS: Final = 10_000
"""How long another process may hold the database."""
_RETRY_SECONDS: Final = 0.02
_OLDEST: Final = (3, 35)
"""Which first had RETURNING."""
_READERS: Final = 4
_MAX_CHECKED_BYTES: Final = 64 * 1024 * 1024
"""Up to this size every page is looked at when the gateway starts; that takes less than a second."""
_MAX_WAL_BYTES: Final = 64 * 1024 * 1024


def open_sqlite(path: Path) -> Database:
    """Returns the database in a file, which need not be there yet."""
    # It quotes every value at the level DEBUG.
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)

    async def prepare() -> None:
        await asyncio.to_thread(_prepare, path)

    return Database(
        place=f"sqlite at {path}",
        reader=_engine(path, is_writer=False),
        writer=_engine(path, is_writer=True),
        insert=insert,
        prepare=prepare,
        lock=_lock,
        try_lock=_try_lock,
    )


async def _lock(connection: AsyncConnection) -> None:
    """Does nothing: there is one transaction that writes at a time."""


async def _try_lock(connection: AsyncConnection) -> bool:
    """Does nothing, ditto."""
    return True


def _engine(path: Path, *, is_writer: bool) -> AsyncEngine:
    # `rw`: a connection never makes the file, which would then be anybody's to read.
    url = URL.create("sqlite+aiosqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"})
    engine = create_async_engine(
        url,
        pool_size=1 if is_writer else _READERS,
        max_overflow=0,
        pool_timeout=BUSY_MS / 1000 + 20,
        hide_parameters=True,
        connect_args={"isolation_level": None, "timeout": BUSY_MS / 1000},
    )
    event.listen(engine.sync_engine, "do_connect", partial(_need, path))
    event.listen(engine.sync_engine, "connect", _set_up_writer if is_writer else _set_up_reader)
    # The driver's own BEGIN comes late and takes the lock later still, when it may be too late to wait for it.
    event.listen(engine.sync_engine, "begin", _begin_writing if is_writer else _begin)
    return engine


def _need(path: Path, *connecting: object) -> None:
    """Raises OSError for a file that cannot be opened.

    The driver would say so, too, but leave a thread behind that ends when it likes.
    """
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no such file; `anyport db upgrade` makes it")
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, "this user may not read and write the file")


def _set_up_writer(connection: Any, record: Any) -> None:
    # What is taken away is overwritten: prompts may be among it.
    pragmas = "PRAGMA synchronous=NORMAL", "PRAGMA secure_delete=ON", f"PRAGMA journal_size_limit={_MAX_WAL_BYTES}"
    _run(connection, *pragmas)


def _set_up_reader(connection: Any, record: Any) -> None:
    _run(connection, "PRAGMA query_only=ON")


def _run(connection: Any, *statements: str) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()


def _begin_writing(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _prepare(path: Path) -> None:
    if sqlite3.sqlite_version_info < _OLDEST:
        raise unusable(f"needs SQLite 3.35 or newer, and Python has {sqlite3.sqlite_version}; use PostgreSQL instead")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        wrong = errno.EISDIR if path.is_dir() else 0 if os.access(path, os.R_OK | os.W_OK) else errno.EACCES
        if wrong:
            raise OSError(wrong, os.strerror(wrong))
    except OSError as error:
        advice = "set storage.url or storage.directory to a place that can be written"
        raise unusable(f"{path} cannot be written: {error.strerror or type(error).__name__}; {advice}") from None
    _check(path)


def _make(path: Path) -> None:
    """Makes an empty file that only this user may read.

    A file that is there is opened by SQLite alone: whichever descriptor of it a process closes, all locks that the
    process has on it are gone (POSIX). Others would then take the database for nobody's, and remove its `-wal` file
    with all that is still to be written into it.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        # A link appears closed already, and never in the place of another's.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _check(path: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY_MS / 1000)) as connection:
            _turn_on_wal(connection)
            if path.stat().st_size <= _MAX_CHECKED_BYTES:
                found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if found != "ok":
                    raise unusable(_broken(path, str(found).splitlines()[-1][:200]))
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):  # which whoever writes next will wait for, and say
            raise unusable(f"{path} cannot be used: {error}") from None
    except sqlite3.DatabaseError as error:
        raise unusable(_broken(path, str(error))) from None


def _turn_on_wal(connection: sqlite3.Connection) -> None:
    """Has readers and the writer not wait for each other, from now on in every connection to the file."""
    end = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # Of several that try at once, some are told so without waiting.
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(_RETRY_SECONDS)


def _broken(path: Path, reason: str) -> str:
    return f"{path} is broken, or no database: {reason}; restore a backup, or move it away to begin anew"
