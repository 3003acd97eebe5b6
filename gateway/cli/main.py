"""The command line. Each command is a module of its own, whose imports happen when it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import typer
from typer.core import TyperGroup

from gateway.cli.batch.command import batch_group
from gateway.cli.bench import bench
from gateway.cli.check import check
from gateway.cli.db import db_group
from gateway.cli.discord import discord_group
from gateway.cli.exits import Exit
from gateway.cli.explain import explain
from gateway.cli.models import models
from gateway.cli.owners.audit import audit
from gateway.cli.owners.groups import projects_group, teams_group
from gateway.cli.owners.keys import keys_group
from gateway.cli.providers.command import providers_group
from gateway.cli.providers.discover import discover
from gateway.cli.reload import reload
from gateway.cli.serving.serve import serve
from gateway.cli.top.command import top
from gateway.cli.usage.command import usage_group
from gateway.cli.usage.requests import requests_group
from gateway.cli.version import version

COMMANDS: Final[Mapping[str, Callable[..., None]]] = {
    "serve": serve,
    "check": check,
    "reload": reload,
    "top": top,
    "models": models,
    "discover": discover,
    "explain": explain,
    "audit": audit,
    "bench": bench,
    "version": version,
}
GROUPS: Final[Mapping[str, Callable[[], typer.Typer]]] = {
    "providers": providers_group,
    "keys": keys_group,
    "teams": teams_group,
    "projects": projects_group,
    "usage": usage_group,
    "requests": requests_group,
    "batch": batch_group,
    "discord": discord_group,
    "db": db_group,
}


class Commands(TyperGroup):
    """The commands of anyport; a wrong configuration ends any of them the same way."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; prints the faults of a ConfigError and exits with 2."""
        from gateway.errors import ConfigError

        try:
            return super().invoke(ctx)
        except ConfigError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(Exit.USAGE) from None


def build_app() -> typer.Typer:
    """Returns the command line with every command of the two tables."""
    app = typer.Typer(
        name="anyport",
        cls=Commands,
        help="An OpenAI-compatible gateway for language models.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # drawing boxes around the help takes twice the time of all the rest
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in COMMANDS.items():
        app.command(name)(command)
    for name, group in GROUPS.items():
        commands = group()
        commands.rich_markup_mode = None
        app.add_typer(commands, name=name)
    return app


def run() -> None:
    """Runs the command line and exits; the console entry of the distribution."""
    build_app()()
