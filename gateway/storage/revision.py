"""Which tables a database has, and which this version needs."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

REVISION: Final = "0003"
"""That of the newest step in `migrations`."""
REVISION_TABLE: Final = "anyport_revision"
_revisions: Final = Table(REVISION_TABLE, MetaData(), Column("version_num", String, primary_key=True))


def found_in(connection: Connection) -> str:
    """Returns the revision of the tables that there are, empty for none."""
    if not inspect(connection).has_table(REVISION_TABLE):
        return ""
    return ", ".join(sorted(connection.scalars(select(_revisions.c.version_num))))
