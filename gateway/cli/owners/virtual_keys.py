"""`anyport keys create` and its kin: the keys that clients get."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from gateway.cli.options import ConfigOption, JsonOption, with_grouped_options
from gateway.cli.output import print_json
from gateway.cli.owners.desk import open_desk
from gateway.cli.owners.groups import belonging, moment_of, names_of, print_owner, print_owners
from gateway.cli.owners.options import (
    NONE,
    NewOwner,
    NewTeamOption,
    OwnerChanges,
    TeamOption,
    moment_after,
    seconds_of,
)

_EXPIRES: Final = "--expires"
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Id or name of a key; not the key itself.")]
ProjectOption = Annotated[str | None, typer.Option("--project", help="Id or name of the project it belongs to.")]
RouteOption = Annotated[
    list[str] | None, typer.Option("--route", help="A model that it is for; `*` at the end for all that begin so.")
]
KeepOption = Annotated[
    bool | None,
    typer.Option(
        "--keep-content/--no-keep-content", help="Whether what it asks and is answered is kept for some days, too."
    ),
]
OnlyTeamOption = Annotated[
    str | None, typer.Option("--team", help="Only keys of this team and of its projects; id or name.")
]
ExpiresOption = Annotated[str | None, typer.Option("--expires", metavar="TIME", help="How long it works: 12h, 30d.")]
OverlapOption = Annotated[str, typer.Option("--overlap", metavar="TIME", help="How long the old one works on.")]
NewProjectOption = Annotated[
    str | None, typer.Option("--project", metavar="PROJECT|none", help="Id or name of the project it belongs to.")
]
NewRouteOption = Annotated[
    list[str] | None,
    typer.Option(
        "--route", metavar="MODEL|none", help="The models that it is for, instead of those so far; none: all."
    ),
]
NewExpiresOption = Annotated[
    str | None, typer.Option("--expires", metavar="TIME|none", help="How long it works from now: 12h, 30d.")
]


def add_key_commands(group: typer.Typer) -> None:
    """Adds the commands to `anyport keys`."""
    for command in (create, show, change, rotate, disable, enable):
        group.command(command.__name__)(with_grouped_options(command))
    group.command("list")(list_keys)


def create(
    owner: NewOwner,
    team: TeamOption = None,
    project: ProjectOption = None,
    route: RouteOption = None,
    expires: ExpiresOption = None,
    keep_content: KeepOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it, once; from the first key on, all requests need one."""
    wishes = owner.wishes()
    if expires:
        wishes["expires_at_ms"] = moment_after(_EXPIRES, expires)
    if keep_content:
        wishes["keeps_content"] = True
    desk = open_desk(config)
    if team:
        wishes["team_id"] = desk.find("team", team)["id"]
    if project:
        wishes["project_id"] = desk.find("project", project)["id"]
    _hand_over(desk.create("key", {**wishes, "routes": route or []}), as_json=as_json)


def list_keys(team: OnlyTeamOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the keys that were given out; never a key itself."""
    desk = open_desk(config)
    keys = desk.all("key")
    if team is None and (as_json or not keys):
        print_owners(keys, (), as_json=as_json)
        return
    projects = {each["id"]: each for each in desk.all("project")}
    team_of = {each["id"]: each["team_id"] or projects.get(each["project_id"], {}).get("team_id", "") for each in keys}
    if team is not None:
        id = desk.find("team", team)["id"]
        keys = [each for each in keys if team_of[each["id"]] == id]
    if not as_json:
        teams = names_of(desk, "team")
        keys = [
            {
                **each,
                "team": teams.get(team_of[each["id"]], ""),
                "project": projects.get(each["project_id"], {}).get("name", ""),
                "expires": "" if each["expires_at_ms"] is None else moment_of(each["expires_at_ms"]),
            }
            for each in keys
        ]
    print_owners(keys, ("id", "name", "hint", "status", "team", "project", "expires"), as_json=as_json)


def show(key: KeyArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what is known of a key."""
    print_owner(open_desk(config).find("key", key), as_json=as_json)


def change(
    key: KeyArgument,
    changes: OwnerChanges,
    team: NewTeamOption = None,
    project: NewProjectOption = None,
    route: NewRouteOption = None,
    expires: NewExpiresOption = None,
    keep_content: KeepOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what a key may do and whom it belongs to; what is not named stays, and so does the key itself."""
    desk = open_desk(config)
    found = desk.find("key", key)
    wishes = changes.wishes(found)
    wishes |= belonging(desk, "team", team) | belonging(desk, "project", project)
    if route:
        wishes["routes"] = [] if route == [NONE] else route
    if expires:
        wishes["expires_at_ms"] = None if expires == NONE else moment_after(_EXPIRES, expires)
    if keep_content is not None:
        wishes["keeps_content"] = keep_content
    print_owner(desk.change("key", found["id"], wishes), as_json=as_json)


def rotate(
    key: KeyArgument, overlap: OverlapOption = "0s", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Give out another key in the place of one, and show it, once."""
    seconds = seconds_of("--overlap", overlap)
    desk = open_desk(config)
    _hand_over(desk.rotate(desk.find("key", key)["id"], seconds), as_json=as_json)


def disable(key: KeyArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Have a key work no more."""
    _switch(key, config, is_enabled=False, as_json=as_json)


def enable(key: KeyArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Have a disabled key work again."""
    _switch(key, config, is_enabled=True, as_json=as_json)


def _switch(key: str, config: ConfigOption, *, is_enabled: bool, as_json: bool) -> None:
    desk = open_desk(config)
    print_owner(desk.enable(desk.find("key", key)["id"], is_enabled=is_enabled), as_json=as_json)


def _hand_over(made: dict[str, Any], *, as_json: bool) -> None:
    """Prints the key alone where programs read it, and what people should know beside it."""
    if as_json:
        print_json(made)
        return
    typer.echo(f"{made['name']} ({made['id']}); the key is shown now and never again:", err=True)
    if made["status"] == "disabled":
        typer.echo(f"it stays disabled; `anyport keys enable {made['id']}` has it work again", err=True)
    print(made["key"])
