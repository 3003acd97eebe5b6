"""Which tables a database has and which this version needs, and all of them for one that has none."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, select

from gateway.storage.tables import AUDITED, CHANGES, PREFIX, meta, metadata

REVISION: Final = "0003"
"""That of the newest step in `migrations`."""
REVISION_TABLE: Final = "anyport_revision"
_revisions: Final = Table(
    REVISION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{REVISION_TABLE}_pkc"),
)
"""As Alembic makes it."""


def found_in(connection: Connection) -> str:
    """Returns the revision of the tables that there are, empty for none."""
    if not inspect(connection).has_table(REVISION_TABLE):
        return ""
    return ", ".join(sorted(connection.scalars(select(_revisions.c.version_num))))


def make_all(connection: Connection) -> bool:
    """Makes all tables at once, as the steps would one by one; returns False where there is one of them already."""
    if any(name.startswith(PREFIX) for name in inspect(connection).get_table_names()):
        return False
    metadata.create_all(connection, checkfirst=False)
    connection.execute(insert(meta), [{"name": name, "number": 0} for name in (CHANGES, AUDITED)])
    _revisions.create(connection)
    connection.execute(insert(_revisions), {"version_num": REVISION})
    return True
