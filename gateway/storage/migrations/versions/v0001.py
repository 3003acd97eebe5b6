"""The first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SUMMED = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


def text(name: str) -> sa.Column[Any]:
    """Returns a column of text."""
    return sa.Column(name, sa.Text, nullable=False)


def number(name: str) -> sa.Column[Any]:
    """Returns a column of whole numbers."""
    return sa.Column(name, sa.BigInteger, nullable=False)


def upgrade() -> None:
    """Makes all tables."""
    records()
    hours()
    owners()
    audit()
    meta = op.create_table("anyport_meta", sa.Column("name", sa.String(64), primary_key=True), number("number"))
    op.bulk_insert(meta, [{"name": "changes", "number": 0}, {"name": "audited", "number": 0}])


def records() -> None:
    """Makes the table of single records."""
    op.create_table(
        "anyport_records",
        sa.Column("id", sa.Text, primary_key=True),
        *(number(name) for name in ("stored_at_ms", "at_ms")),
        *(text(name) for name in ("operation", "route")),
        number("status"),
        *(text(name) for name in ("key_id", "team_id", "project_id", "deployment", "provider", "model")),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        *(number(name) for name in SUMMED),
        text("usage_source"),
        sa.Column("cost_nano_usd", sa.BigInteger),
        text("price_version"),
        sa.Column("ttft_ms", sa.Float),
        *(sa.Column(name, sa.Float, nullable=False) for name in ("total_ms", "overhead_ms")),
        *(text(name) for name in ("attempts", "fallback", "hedged")),
        sa.Column("is_cancelled", sa.Boolean, nullable=False),
    )
    op.create_index("anyport_records_at", "anyport_records", ["at_ms", "id"])
    op.create_index("anyport_records_key", "anyport_records", ["key_id", "at_ms"])
    op.create_index("anyport_records_stored", "anyport_records", ["stored_at_ms"])


def hours() -> None:
    """Makes the table of sums."""
    labels = ("key_id", "team_id", "project_id", "route", "model", "provider", "deployment")
    counts = ("requests", "errors", "cancelled", "estimated", "unpriced")
    op.create_table(
        "anyport_usage_hours",
        sa.Column("hour_ms", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("series", sa.LargeBinary(16), primary_key=True),
        *(text(name) for name in labels),
        *(number(name) for name in (*counts, *SUMMED, "cost_nano_usd")),
    )
    for name in ("key", "team", "project"):
        op.create_index(f"anyport_usage_hours_{name}", "anyport_usage_hours", [f"{name}_id", "hour_ms"])


def owners() -> None:
    """Makes the tables of keys, teams and projects."""
    more = {
        "keys": (sa.Column("digest", sa.LargeBinary, nullable=False, unique=True), text("team_id"), text("project_id")),
        "teams": (),
        "projects": (text("team_id"),),
    }
    for name, columns in more.items():
        op.create_table(
            f"anyport_{name}",
            sa.Column("id", sa.Text, primary_key=True),
            text("folded_name"),
            *columns,
            number("version"),
            sa.Column("document", sa.LargeBinary, nullable=False),
        )
        op.create_index(f"ix_anyport_{name}_version", f"anyport_{name}", ["version"])


def audit() -> None:
    """Makes the audit log."""
    op.create_table(
        "anyport_audit",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        number("at_ms"),
        *(text(name) for name in ("actor", "action", "subject", "details")),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )
    op.create_index("anyport_audit_subject", "anyport_audit", ["subject", "sequence"])
