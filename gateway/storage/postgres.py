"""PostgreSQL, through asyncpg (extra `postgres`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from gateway.storage.engine import Database, unusable

_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 30.0
_CONNECTIONS: Final = 4
_LOCK: Final = 0x616E79706F7274
"""The number of our lock among those of the database: `anyport` in ASCII."""


def open_postgres(url: str) -> Database:
    """Returns the database that a URL names; raises ConfigError, which quotes nothing of the URL."""
    if find_spec("asyncpg") is None:
        raise unusable("needs the package asyncpg: run `pip install -e '.[postgres]'` in Anyport's folder")
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=_connector(url),
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_ANSWER_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,
    )
    return Database(_place(url), engine, engine, insert, _prepare, _lock, _try_lock)


def _connector(url: str) -> Callable[..., Awaitable[Any]]:
    # asyncpg reads the URL itself, as all of PostgreSQL's programs do: `sslmode`, several hosts, sockets.
    package: Any = import_module("asyncpg")

    async def connect() -> Any:
        try:
            return await package.connect(url, timeout=_CONNECT_SECONDS, command_timeout=_ANSWER_SECONDS)
        except ValueError:  # would quote parts of the URL
            raise unusable("cannot be read: look at its options, and write special characters as %XX") from None

    return connect


def _place(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or parse_qs(parts.query).get("host", ["localhost"])[0], parts.port or 5432
    except ValueError:
        raise unusable("its host or port cannot be read; write special characters of the password as %XX") from None
    if "@" in parts.path + parts.query + parts.fragment:
        raise unusable("its host cannot be told; write special characters of the password as %XX")
    return f"postgresql at {f'[{host}]' if ':' in host else host}:{port}{parts.path}"


async def _prepare() -> None:
    """Does nothing: the database is there or not."""


async def _lock(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})


async def _try_lock(connection: AsyncConnection) -> bool:
    answer = await connection.execute(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": _LOCK})
    return bool(answer.scalar_one())
