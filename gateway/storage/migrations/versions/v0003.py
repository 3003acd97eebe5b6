"""Files and batches."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def text(name: str) -> sa.Column[Any]:
    """Returns a column of text."""
    return sa.Column(name, sa.Text, nullable=False)


def number(name: str) -> sa.Column[Any]:
    """Returns a column of whole numbers."""
    return sa.Column(name, sa.BigInteger, nullable=False)


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "anyport_files",
        sa.Column("id", sa.Text, primary_key=True),
        *(text(name) for name in ("owner", "name", "purpose")),
        *(number(name) for name in ("bytes", "created_at_ms")),
        sa.Column("is_whole", sa.Boolean, nullable=False),
    )
    op.create_index("anyport_files_owner", "anyport_files", ["owner", "created_at_ms", "id"])
    op.create_table(
        "anyport_file_parts",
        sa.Column("file_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "anyport_batches",
        sa.Column("id", sa.Text, primary_key=True),
        *(text(name) for name in ("owner", "status")),
        *(number(name) for name in ("created_at_ms", "expires_at_ms")),
        text("holder"),
        number("held_until_ms"),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
    op.create_index("anyport_batches_owner", "anyport_batches", ["owner", "created_at_ms", "id"])
    op.create_index("anyport_batches_status", "anyport_batches", ["status"])
    op.create_table(
        "anyport_batch_lines",
        sa.Column("batch_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        number("state"),
        text("custom_id"),
        sa.Column("body", sa.LargeBinary, nullable=False),
        text("holder"),
        *(number(name) for name in ("held_until_ms", "tries")),
        sa.Column("result", sa.LargeBinary),
    )
    op.create_index("anyport_batch_lines_state", "anyport_batch_lines", ["batch_id", "state", "number"])
