"""`anyport teams` and `anyport projects`: what keys belong to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.options import ConfigOption, JsonOption, with_grouped_options
from gateway.cli.output import print_json, print_pairs, print_table
from gateway.cli.owners.desk import OwnerDesk, open_desk
from gateway.cli.owners.options import (
    NONE,
    NewOwner,
    NewTeamOption,
    OwnerChanges,
    TeamOption,
)

TeamArgument = Annotated[str, typer.Argument(metavar="TEAM", help="Id or name of a team.")]
ProjectArgument = Annotated[str, typer.Argument(metavar="PROJECT", help="Id or name of a project.")]


def teams_group() -> typer.Typer:
    """Returns the command group of teams."""
    group = typer.Typer(no_args_is_help=True, help="Look after teams, which own projects and keys.")
    group.command("create")(with_grouped_options(create_team))
    group.command("list")(list_teams)
    group.command("show")(show_team)
    group.command("change")(with_grouped_options(change_team))
    group.command("delete")(delete_team)
    return group


def projects_group() -> typer.Typer:
    """Returns the command group of projects."""
    group = typer.Typer(no_args_is_help=True, help="Look after projects, which own keys.")
    group.command("create")(with_grouped_options(create_project))
    group.command("list")(list_projects)
    group.command("show")(show_project)
    group.command("change")(with_grouped_options(change_project))
    group.command("delete")(delete_project)
    return group


def create_team(owner: NewOwner, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Make a team."""
    print_owner(open_desk(config).create("team", owner.wishes()), as_json=as_json)


def create_project(
    owner: NewOwner, team: TeamOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Make a project."""
    wishes = owner.wishes()
    desk = open_desk(config)
    if team:
        wishes["team_id"] = desk.find("team", team)["id"]
    print_owner(desk.create("project", wishes), as_json=as_json)


def list_teams(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the teams."""
    print_owners(open_desk(config).all("team"), ("id", "name"), as_json=as_json)


def list_projects(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the projects."""
    desk = open_desk(config)
    projects = desk.all("project")
    if not as_json and projects:
        teams = names_of(desk, "team")
        projects = [{**each, "team": teams.get(each["team_id"], "")} for each in projects]
    print_owners(projects, ("id", "name", "team"), as_json=as_json)


def show_team(team: TeamArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show a team."""
    print_owner(open_desk(config).find("team", team), as_json=as_json)


def show_project(project: ProjectArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show a project."""
    print_owner(open_desk(config).find("project", project), as_json=as_json)


def change_team(
    team: TeamArgument, changes: OwnerChanges, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Change the name, limits or budgets of a team; what is not named stays."""
    desk = open_desk(config)
    found = desk.find("team", team)
    print_owner(desk.change("team", found["id"], changes.wishes(found)), as_json=as_json)


def change_project(
    project: ProjectArgument,
    changes: OwnerChanges,
    team: NewTeamOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change the name, team, limits or budgets of a project; what is not named stays."""
    desk = open_desk(config)
    found = desk.find("project", project)
    wishes = changes.wishes(found) | belonging(desk, "team", team)
    print_owner(desk.change("project", found["id"], wishes), as_json=as_json)


def delete_team(team: TeamArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Take away a team that nothing belongs to; what it has used stays in the sums."""
    _delete("team", team, config, as_json=as_json)


def delete_project(project: ProjectArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Take away a project that no key belongs to; what it has used stays in the sums."""
    _delete("project", project, config, as_json=as_json)


def belonging(desk: OwnerDesk, word: str, said: str | None) -> dict[str, str | None]:
    """Returns the change of what somebody belongs to, by its id or name; nothing if nobody said so."""
    if said is None:
        return {}
    return {f"{word}_id": None if said == NONE else str(desk.find(word, said)["id"])}


def names_of(desk: OwnerDesk, word: str) -> dict[str, str]:
    """Returns what teams or projects are called, by their ids."""
    return {each["id"]: each["name"] for each in desk.all(word)}


def moment_of(moment_ms: int) -> str:
    """Returns a moment for people, UTC to the second."""
    from gateway.http.usage.sums import moment_text

    return moment_text(moment_ms - moment_ms % 1000)


def _delete(word: str, said: str, config: ConfigOption, *, as_json: bool) -> None:
    desk = open_desk(config)
    found = desk.find(word, said)
    answer = desk.remove(word, found["id"])
    if as_json:
        print_json(answer)
    else:
        print(f"{word} {found['name']} ({found['id']}) is deleted")


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
    print_pairs(_pair(name, value) for name, value in shown.items() if value not in ("", None, []))


def _money(owner: dict[str, Any]) -> tuple[str, str]:
    limits = ", ".join(f"{name} {value}" for name, value in owner["limits"].items() if value is not None)
    return limits, ", ".join(f"{each['usd']}/{each['window']}" for each in owner["budgets"])


def _pair(name: str, value: Any) -> tuple[str, str]:
    return (name.removesuffix("_ms"), moment_of(value)) if name.endswith("_ms") else (name, _text(value))


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
