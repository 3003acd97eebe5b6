"""`anyport teams` and `anyport projects`: what keys belong to."""

from __future__ import annotations

from typing import Any

import typer

from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_pairs, print_table
from gateway.cli.owner_desk import open_desk
from gateway.cli.owner_options import (
    BudgetOption,
    InFlightOption,
    NameOption,
    RpmOption,
    TeamOption,
    TpmOption,
    wishes_of,
)


def teams_group() -> typer.Typer:
    """Returns the command group of teams."""
    group = typer.Typer(no_args_is_help=True, help="Make and list teams, which own projects and keys.")
    group.command("create")(create_team)
    group.command("list")(list_teams)
    return group


def projects_group() -> typer.Typer:
    """Returns the command group of projects."""
    group = typer.Typer(no_args_is_help=True, help="Make and list projects, which own keys.")
    group.command("create")(create_project)
    group.command("list")(list_projects)
    return group


def create_team(
    name: NameOption,
    rpm: RpmOption = None,
    tpm: TpmOption = None,
    in_flight: InFlightOption = None,
    budget: BudgetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a team."""
    print_owner(open_desk(config).create("team", wishes_of(name, rpm, tpm, in_flight, budget)), as_json=as_json)


def create_project(
    name: NameOption,
    team: TeamOption = None,
    rpm: RpmOption = None,
    tpm: TpmOption = None,
    in_flight: InFlightOption = None,
    budget: BudgetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a project."""
    desk = open_desk(config)
    wishes = wishes_of(name, rpm, tpm, in_flight, budget)
    if team:
        wishes["team_id"] = desk.find("team", team)["id"]
    print_owner(desk.create("project", wishes), as_json=as_json)


def list_teams(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the teams."""
    print_owners(open_desk(config).all("team"), ("id", "name"), as_json=as_json)


def list_projects(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the projects."""
    print_owners(open_desk(config).all("project"), ("id", "name", "team_id"), as_json=as_json)


def print_owners(owners: list[dict[str, Any]], columns: tuple[str, ...], *, as_json: bool) -> None:
    """Prints a table, or JSON."""
    if as_json:
        print_json({"data": owners})
    elif owners:
        titles = [*(name.upper().replace("_", " ") for name in columns), "LIMITS", "BUDGETS"]
        print_table(titles, ([*(str(each[name]) for name in columns), *_money(each)] for each in owners))
    else:
        typer.echo("there are none", err=True)


def print_owner(owner: dict[str, Any], *, as_json: bool) -> None:
    """Prints one owner, or JSON."""
    if as_json:
        print_json(owner)
        return
    limits, budgets = _money(owner)
    shown = {**owner, "limits": limits, "budgets": budgets}
    print_pairs((name, _text(value)) for name, value in shown.items() if value not in ("", None, []))


def _money(owner: dict[str, Any]) -> tuple[str, str]:
    limits = ", ".join(f"{name} {value}" for name, value in owner["limits"].items() if value is not None)
    return limits, ", ".join(f"{each['usd']}/{each['window']}" for each in owner["budgets"])


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
