"""The tables. All begin with `anyport_`, so that others may live in the same database."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, LargeBinary, MetaData, String, Table, Text

PREFIX: Final = "anyport_"


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str, **options: Any) -> Column[int]:
    return Column(name, BigInteger, nullable=False, **options)


_SUMMED: Final = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
SUMS: Final = ("requests", "errors", "cancelled", "estimated", "unpriced", *_SUMMED, "cost_nano_usd")
"""The columns of `hours` that are added up."""
LABELS: Final = ("key_id", "team_id", "project_id", "route", "model", "provider", "deployment")
"""The columns of `hours` that tell of what the sums are."""
OWNER_LABELS: Final = LABELS[:3]

# Tables are values that no one changes after this module was loaded.
metadata: Final = MetaData()

records: Final = Table(
    "anyport_records",
    metadata,
    Column("id", Text, primary_key=True),
    _number("stored_at_ms"),
    _number("at_ms"),
    _text("operation"),
    _text("route"),
    _number("status"),
    _text("key_id"),
    _text("team_id"),
    _text("project_id"),
    _text("deployment"),
    _text("provider"),
    _text("model"),
    Column("stream", Boolean, nullable=False),
    Column("error", Text),
    *(_number(name) for name in _SUMMED),
    _text("usage_source"),
    Column("cost_nano_usd", BigInteger),
    _text("price_version"),
    Column("ttft_ms", Float),
    Column("total_ms", Float, nullable=False),
    Column("overhead_ms", Float, nullable=False),
    _text("attempts"),
    _text("fallback"),
    _text("hedged"),
    Column("is_cancelled", Boolean, nullable=False),
    Index("anyport_records_at", "at_ms", "id"),
    Index("anyport_records_key", "key_id", "at_ms"),
    Index("anyport_records_stored", "stored_at_ms"),
)

contents: Final = Table(
    "anyport_contents",
    metadata,
    Column("id", Text, primary_key=True),
    _number("stored_at_ms"),
    Column("request", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    _number("request_bytes"),
    _number("answer_bytes"),
    Index("anyport_contents_stored", "stored_at_ms"),
)

# The series is a digest of all labels: together they are longer than what an index takes.
hours: Final = Table(
    "anyport_usage_hours",
    metadata,
    Column("hour_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("series", LargeBinary(16), primary_key=True),
    *(_text(name) for name in LABELS),
    *(_number(name) for name in SUMS),
    Index("anyport_usage_hours_key", "key_id", "hour_ms"),
    Index("anyport_usage_hours_team", "team_id", "hour_ms"),
    Index("anyport_usage_hours_project", "project_id", "hour_ms"),
)


def _owners(name: str, *more: Column[Any]) -> Table:
    # The document is all of the owner; columns beside it are what is looked for.
    return Table(
        f"anyport_{name}",
        metadata,
        Column("id", Text, primary_key=True),
        _text("folded_name"),
        *more,
        _number("version", index=True),
        Column("document", LargeBinary, nullable=False),
    )


keys: Final = _owners(
    "keys", Column("digest", LargeBinary, nullable=False, unique=True), _text("team_id"), _text("project_id")
)
teams: Final = _owners("teams")
projects: Final = _owners("projects", _text("team_id"))

audit: Final = Table(
    "anyport_audit",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    _number("at_ms"),
    _text("actor"),
    _text("action"),
    _text("subject"),
    _text("details"),
    Column("digest", LargeBinary, nullable=False),
    Index("anyport_audit_subject", "subject", "sequence"),
)

files: Final = Table(
    "anyport_files",
    metadata,
    Column("id", Text, primary_key=True),
    _text("owner"),
    _text("name"),
    _text("purpose"),
    _number("bytes"),
    _number("created_at_ms"),
    Column("is_whole", Boolean, nullable=False),
    Index("anyport_files_owner", "owner", "created_at_ms", "id"),
)
file_parts: Final = Table(
    "anyport_file_parts",
    metadata,
    Column("file_id", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)
# The document is all of the batch but for the counts of its lines.
batches: Final = Table(
    "anyport_batches",
    metadata,
    Column("id", Text, primary_key=True),
    _text("owner"),
    _text("status"),
    _number("created_at_ms"),
    _number("expires_at_ms"),
    _text("holder"),
    _number("held_until_ms"),
    Column("document", LargeBinary, nullable=False),
    Index("anyport_batches_owner", "owner", "created_at_ms", "id"),
    Index("anyport_batches_status", "status"),
)
batch_lines: Final = Table(
    "anyport_batch_lines",
    metadata,
    Column("batch_id", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _number("state"),
    _text("custom_id"),
    Column("body", LargeBinary, nullable=False),
    _text("holder"),
    _number("held_until_ms"),
    _number("tries"),
    Column("result", LargeBinary),
    Index("anyport_batch_lines_state", "batch_id", "state", "number"),
)

meta: Final = Table("anyport_meta", metadata, Column("name", String(64), primary_key=True), _number("number"))
CHANGES: Final = "changes"
"""The row of `meta` that counts the changes of owners; whoever changes one holds it until the end."""
AUDITED: Final = "audited"
"""The row that counts the entries of the audit log."""
