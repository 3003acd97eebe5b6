"""`anyport audit`: who changed what."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_table
from gateway.cli.owners.desk import open_desk

SubjectOption = Annotated[
    str, typer.Option("--subject", metavar="WORD:ID", help="Only what was done to this, such as key:ID or team:ID.")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")]
BeforeOption = Annotated[int | None, typer.Option("--before", min=1, help="Only those with a lower number.")]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Say instead whether anything in it was changed or taken out since.")
]


def audit(
    subject: SubjectOption = "",
    limit: LimitOption = 50,
    before: BeforeOption = None,
    verify: VerifyOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who changed keys, teams, projects and deployments, the newest first."""
    desk = open_desk(config)
    if verify:
        _verify(desk.verify_audit(), as_json=as_json)
        return
    page = desk.audits(subject, before, limit)
    if as_json:
        print_json(page)
        return
    if not page["data"]:
        typer.echo("there are no entries", err=True)
        return
    print_table(("NUMBER", "TIME", "WHO", "WHAT", "TO", "DETAILS"), map(_row, page["data"]))
    if page["has_more"]:
        last = page["data"][-1]["sequence"]
        typer.echo(f"there are more; `--before {last}` shows them", err=True)


def _verify(verdict: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(verdict)
    elif verdict["broken_at"] is None:
        typer.echo(f"{verdict['entries']} entries are as they were written; the last digest is {verdict['digest']}")
    else:
        typer.echo(f"entry {verdict['broken_at']} was changed, or is missing; those before it are as they were written")
    if verdict["broken_at"] is not None:
        raise typer.Exit(1)


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    from gateway.telemetry.access_log import clean

    moment = datetime.fromtimestamp(entry["at_ms"] // 1000, UTC)
    details = clean(json.dumps(entry["details"], ensure_ascii=False)) if entry["details"] else ""
    time = f"{moment:%Y-%m-%d %H:%M:%S}Z"
    return str(entry["sequence"]), time, entry["actor"], entry["action"], clean(entry["subject"]), details
