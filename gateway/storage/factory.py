"""The storage that the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.storage.base import wall_ms

if TYPE_CHECKING:
    from gateway.storage.base import Storage

DATA_VARIABLE: Final = "ANYPORT_DATA_DIR"
_DIRECTORY: Final = ".anyport"
DATABASE_FILE: Final = "anyport.db"
_SQLITE: Final = "sqlite:///"


def data_directory(configured: str | None, environ: Mapping[str, str]) -> Path:
    """Returns where this machine's files are: `storage.directory`, else $ANYPORT_DATA_DIR, else ./.anyport."""
    return Path(configured or environ.get(DATA_VARIABLE) or _DIRECTORY).absolute()


def open_storage(
    url: str | None,
    directory: Path,
    *,
    retention_days: int = 30,
    content_days: int = 7,
    aggregates_days: int = 400,
    now_ms: Callable[[], int] = wall_ms,
) -> Storage:
    """Returns the storage that a URL names, else SQLite's in the directory; it is not connected yet.

    Raises ConfigError. A password in the URL is shown nowhere.
    """
    # Imported here, since that takes a third of a second, which only who wants it should wait.
    from gateway.storage.engine import unusable
    from gateway.storage.postgres import open_postgres
    from gateway.storage.sqlite import open_sqlite
    from gateway.storage.store import SqlStorage

    if url is None or url.startswith(_SQLITE):
        name = DATABASE_FILE if url is None else url.removeprefix(_SQLITE)
        if not name or name.endswith("/") or name == ":memory:" or "?" in name or "\0" in name:
            raise unusable("must name a file: sqlite:///RELATIVE/PATH or sqlite:////ABSOLUTE/PATH, without options")
        database = open_sqlite(directory / name if url is None else Path(name).absolute())
    elif url.startswith(("postgresql://", "postgres://")):
        database = open_postgres(url)
    else:
        raise unusable("must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return SqlStorage(
        database,
        retention_days=retention_days,
        content_days=content_days,
        aggregates_days=aggregates_days,
        now_ms=now_ms,
    )
