"""The table of what keys that keep content asked and were answered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "anyport_contents",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("stored_at_ms", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.LargeBinary, nullable=False) for name in ("request", "answer")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("request_bytes", "answer_bytes")),
    )
    op.create_index("anyport_contents_stored", "anyport_contents", ["stored_at_ms"])
