"""`anyport usage`: what requests used and cost, and what a task did between two snapshots."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.configuration import load_configuration
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_table
from gateway.cli.usage.desk import UsageDesk, end

if TYPE_CHECKING:
    from gateway.http.usage.snapshot import Counters, Snapshot

_DAYS: Final = 30
_COLUMNS: Final = {
    "requests": "REQUESTS",
    "errors": "ERRORS",
    "input_tokens": "INPUT",
    "cached_tokens": "CACHED",
    "output_tokens": "OUTPUT",
    "reasoning_tokens": "REASONING",
    "unpriced": "UNPRICED",
}
_Only = list[str] | None
ByOption = Annotated[
    str, typer.Option(help="With commas between them: key, team, project, route, model, provider, deployment.")
]
PerOption = Annotated[str | None, typer.Option(metavar="day|hour", help="One row for each day or hour, UTC.")]
FromOption = Annotated[str | None, typer.Option("--from", help="Date or full hour, UTC; default: 30 days ago.")]
ToOption = Annotated[str | None, typer.Option("--to", help="The first date or hour that is not in it.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
SnapshotArgument = Annotated[Path, typer.Argument(help="What `anyport usage snapshot` has printed.")]


def _only(name: str) -> Any:
    return typer.Option(f"--{name}", help=f"Only this {name}; may be repeated.")


def usage_group() -> typer.Typer:
    """Returns the command group."""
    group = typer.Typer(help="Show what requests used and cost.")
    group.callback(invoke_without_command=True)(usage)
    group.command("snapshot")(snapshot)
    group.command("delta")(delta)
    return group


def usage(
    context: typer.Context,
    by: ByOption = "model",
    per: PerOption = None,
    start: FromOption = None,
    to: ToOption = None,
    key: Annotated[_Only, _only("key")] = None,
    team: Annotated[_Only, _only("team")] = None,
    project: Annotated[_Only, _only("project")] = None,
    route: Annotated[_Only, _only("route")] = None,
    model: Annotated[_Only, _only("model")] = None,
    provider: Annotated[_Only, _only("provider")] = None,
    deployment: Annotated[_Only, _only("deployment")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show what requests used and cost."""
    if context.invoked_subcommand:
        return
    if per not in (None, "day", "hour"):
        raise typer.BadParameter(f"--per must be day or hour, not {per!r}")
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    desk = UsageDesk(load_configuration(config))
    groups = [name.strip() for name in by.split(",") if name.strip()] + ([per] if per else [])
    parameters = [("by", ",".join(groups)), ("from", start or _usual_start())] + ([("to", to)] if to else [])
    owners = {"key": key, "team": team, "project": project}
    parameters += [(word, desk.id_of(word, said)) for word, all_said in owners.items() for said in all_said or ()]
    others = {"route": route, "model": model, "provider": provider, "deployment": deployment}
    parameters += [(name, said) for name, all_said in others.items() for said in all_said or ()]
    answer = desk.sums(parameters)
    if answer["pending_records"]:
        typer.echo(f"not in it yet: {answer['pending_records']} requests, which wait for storage", err=True)
    if as_json:
        print_json(answer)
    elif as_csv:
        _print_csv(groups, answer["data"])
    else:
        _print(groups, answer["data"])


def snapshot(config: ConfigOption = None) -> None:
    """Print all counters as JSON, to be compared with later ones."""
    print_json(UsageDesk(load_configuration(config)).snapshot())


def delta(
    before: SnapshotArgument,
    after: Annotated[Path | None, typer.Argument(help="A later one; default: now.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was used between two snapshots, or since one."""
    import msgspec

    from gateway.cli.usage.delta import NoDelta, delta_of

    first = _read(before)
    if after is None:
        desk = UsageDesk(load_configuration(config))
        second = _as_snapshot(desk.snapshot(first.models_from), "the answer of the gateway")
    else:
        second = _read(after)
    try:
        found = delta_of(first, second)
    except NoDelta as error:
        end(str(error))
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    rows = [("", "all", found.totals)]
    rows += [("key", _called(each.key_name, each.key), each.counters) for each in found.owners]
    rows += [("model", f"{each.provider}/{each.model}", each.counters) for each in _by_model(found.models or ())]
    print_table(("", "WHAT", *_COLUMNS.values(), "USD"), ((word, of, *_cells(used)) for word, of, used in rows))
    if found.models is None:
        moments = f"{first.models_from} and {second.models_from}"
        typer.echo(f"models are not compared: they are counted from {moments}", err=True)


def _usual_start() -> str:
    return f"{datetime.fromtimestamp(time.time(), UTC) - timedelta(days=_DAYS):%Y-%m-%d}"


def _print_csv(groups: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    from gateway.http.usage.sums import as_csv, columns_of

    print(as_csv(columns_of(groups), rows), end="")


def _print(groups: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    from gateway.records import dollars

    table = [
        [
            *(_called(row.get(f"{group}_name", ""), row[group]) for group in groups),
            *(str(row[name]) for name in _COLUMNS),
            row["cost_usd"],
        ]
        for row in rows
    ]
    if groups:
        totals = [str(sum(row[name] for row in rows)) for name in _COLUMNS]
        money = dollars(sum(row["cost_nano_usd"] for row in rows))
        table.append(["total", *[""] * (len(groups) - 1), *totals, money])
    if rows:
        print_table([*(group.upper() for group in groups), *_COLUMNS.values(), "USD"], table)
    else:
        typer.echo("there were no requests", err=True)


def _called(name: str, value: str) -> str:
    return f"{name} ({value})" if name not in ("", value) else value or "(none)"


def _cells(used: Counters) -> Iterable[str]:
    from gateway.records import dollars

    return [*(str(getattr(used, name)) for name in _COLUMNS), dollars(used.cost_nano_usd)]


def _by_model(rows: Sequence[Any]) -> list[Any]:
    """Returns rows of models, those of all keys together."""
    from msgspec.structs import replace

    from gateway.http.usage.snapshot import added

    names = dict.fromkeys((row.provider, row.model) for row in rows)
    groups = ([row for row in rows if (row.provider, row.model) == name] for name in names)
    return [replace(group[0], key="", counters=added(row.counters for row in group)) for group in groups]


def _read(path: Path) -> Snapshot:
    import json

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        end(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}")
    try:
        return _as_snapshot(json.loads(text), str(path))
    except ValueError:
        end(f"{path} is no JSON; `anyport usage snapshot` prints what it should hold")


def _as_snapshot(value: Any, where: str) -> Snapshot:
    import msgspec

    from gateway.http.usage.snapshot import SNAPSHOT, Snapshot

    try:
        found = msgspec.convert(value, Snapshot)
    except msgspec.ValidationError as error:
        end(f"{where} is no snapshot: {error}")
    if found.object != SNAPSHOT:
        end(f"{where} is no snapshot, but {found.object!r}")
    return found
