"""`anyport requests`: what became of single requests, and what they asked if their key keeps that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gateway.cli.configuration import load_configuration
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_pairs, print_table
from gateway.cli.usage.desk import UsageDesk

KeyOption = Annotated[str | None, typer.Option("--key", help="Id or name of the key; else of all.")]
FromOption = Annotated[str | None, typer.Option("--from", help="Date or time, UTC.")]
ToOption = Annotated[str | None, typer.Option("--to", help="The first date or time that is not in it.")]
ErrorsOption = Annotated[bool, typer.Option("--errors", help="Only those that failed.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")]
AfterOption = Annotated[str | None, typer.Option("--after", metavar="ID", help="Only those before this one.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `x-request-id` of the answer.")]
_COLUMNS = ("TIME", "ID", "KEY", "MODEL", "DEPLOYMENT", "STATUS", "ERROR", "TOKENS", "USD", "SECONDS")


def requests_group() -> typer.Typer:
    """Returns the command group."""
    group = typer.Typer(no_args_is_help=True, help="Show what became of single requests.")
    group.callback()(_requests)
    group.command("list")(list_requests)
    group.command("show")(show)
    return group


def _requests() -> None:
    """Show what became of single requests."""


def list_requests(
    key: KeyOption = None,
    start: FromOption = None,
    end: ToOption = None,
    errors: ErrorsOption = False,
    limit: LimitOption = 50,
    after: AfterOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List requests, the newest first; neither what they asked nor what they were answered."""
    desk = UsageDesk(load_configuration(config))
    wishes = {"from": start, "to": end, "after": after, "key": desk.id_of("key", key) if key else None}
    query: dict[str, Any] = {name: value for name, value in wishes.items() if value}
    page = desk.requests({**query, "limit": limit, **({"errors": "true"} if errors else {})})
    if as_json:
        print_json(page)
        return
    if not page["data"]:
        typer.echo("there are no requests", err=True)
        return
    print_table(_COLUMNS, map(_row, page["data"]))
    if page["has_more"]:
        typer.echo(f"there may be more; `--after {page['data'][-1]['id']}` shows them", err=True)


def show(id: IdArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show one request, with what it asked and was answered if its key keeps that; the audit log says so then."""
    from gateway.credentials.scrub import visible

    request = UsageDesk(load_configuration(config)).request(id)
    if as_json:
        print_json(request)
        return
    content = request.pop("content")
    print_pairs((name, visible(str(value))) for name, value in request.items() if value not in (None, "", []))
    if content is None:
        return
    for name in ("request", "answer"):
        lines = [visible(line) for line in content[name].split("\n")]
        print(f"\n{name} ({content[f'{name}_bytes']} bytes):", *lines, sep="\n")


def _row(request: Mapping[str, Any]) -> tuple[str, ...]:
    from gateway.credentials.scrub import visible

    tokens = f"{request['input_tokens']}+{request['output_tokens']}"
    cost, seconds = request["cost_usd"], f"{request['total_ms'] / 1000:.2f}"
    texts = (visible(request[name] or "") for name in ("at", "id", "key_id", "route", "deployment"))
    status = str(request["status"])
    return (*texts, status, request["error"] or "", tokens, "unknown" if cost is None else cost, seconds)
