"""`anyport discord`: tells Discord of the command, and says whom the bot's token is of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from gateway.cli.configuration import Configuration, load_configuration
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_pairs, print_table

if TYPE_CHECKING:
    from gateway.integrations.discord.rest import Rest
    from gateway.secret import Secret
    from gateway.settings.integrations import DiscordSettings

TOKEN_VARIABLE: Final = "DISCORD_BOT_TOKEN"  # noqa: S105 -- the name of a variable
Answer = TypeVar("Answer")
GuildOption = Annotated[
    list[str] | None,
    typer.Option("--guild", metavar="ID", help="Register for this guild alone, at once; may be repeated."),
]


def discord_group() -> typer.Typer:
    """Returns the command group."""
    group = typer.Typer(no_args_is_help=True, help="Set up a bot at Discord.")
    group.command("register")(register)
    group.command("whoami")(whoami)
    return group


def register(guild: GuildOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Tell Discord of the command /ask: for all guilds, or for those that are named."""
    configuration = load_configuration(config)
    settings = configuration.settings.integrations.discord
    if settings is None:
        raise _failed("integrations.discord is not set; docs/discord.md says how", Exit.USAGE)
    for each in guild or ():
        if not each.isdigit():
            raise _failed(f"--guild must be the id of a guild, which is a number, got {each!r}", Exit.USAGE)
    made = _ask(configuration, lambda rest: _registered(rest, settings, guild or [""]))
    if as_json:
        print_json(made)
        return
    rows = ((f"/{each.get('name', '')}", str(each.get("id", "")), str(each.get("guild_id", "all"))) for each in made)
    print_table(("COMMAND", "ID", "GUILD"), rows)


async def _registered(rest: Rest, settings: DiscordSettings, guilds: list[str]) -> list[dict[str, Any]]:
    from gateway.integrations.discord.command import command

    return [await rest.register(command(settings.models), guild) for guild in guilds]


def whoami(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show whose the bot's token is and which guilds it is in; needs neither a file nor a running gateway."""
    configuration = load_configuration(config)

    async def ask(rest: Rest) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return await rest.current_user(), list(await rest.guilds())

    user, guilds = _ask(configuration, ask)
    settings = configuration.settings.integrations.discord
    shown = [{"id": _said(each, "id"), "name": _said(each, "name"), **_place(settings, each)} for each in guilds]
    if as_json:
        who = {name: user.get(name) for name in ("id", "username", "bot")}
        print_json({"user": who, "guilds": shown})
        return
    kind = "bot" if user.get("bot") is True else "no bot; the token must be a bot's"
    print_pairs([("user", _said(user, "username")), ("id", _said(user, "id")), ("kind", kind)])
    if shown:
        print()
        rows = ((each["id"], each["name"], each["answered"], each["key"] or "-") for each in shown)
        print_table(("GUILD", "NAME", "ANSWERED", "KEY"), rows)


def _place(settings: DiscordSettings | None, guild: dict[str, Any]) -> dict[str, str]:
    place = settings and (settings.guilds.get(_said(guild, "id")) or settings.elsewhere)
    return {"answered": "yes" if place else "no", "key": (place and place.key) or ""}


def _said(members: dict[str, Any], name: str) -> str:
    return "".join(each for each in str(members.get(name, "")) if each.isprintable())


def _ask(configuration: Configuration, work: Callable[[Rest], Awaitable[Answer]]) -> Answer:
    """Returns what Discord answers; ends the command if there is no token, or no good answer."""
    import asyncio

    from gateway.integrations.discord.rest import DEFAULT_API_BASE, DiscordTrouble, Rest
    from gateway.transport.control import ControlClient

    settings = configuration.settings.integrations.discord
    token = _token(configuration)
    base, application = (settings.api_base, settings.application_id) if settings else (DEFAULT_API_BASE, "")

    async def run() -> Answer:
        control = ControlClient()
        try:
            return await work(Rest(control, base, application, token))
        finally:
            await control.aclose()

    try:
        return asyncio.run(run())
    except DiscordTrouble as trouble:
        raise _failed(str(trouble), Exit.FAILURE) from None


def _token(configuration: Configuration) -> Secret:
    from gateway.credentials.errors import InvalidCredential
    from gateway.credentials.variables import first, header_secret

    settings = configuration.settings.integrations.discord
    if settings is not None and settings.bot_token is not None:
        return settings.bot_token
    found = first(configuration.environ, TOKEN_VARIABLE)
    if found is None:
        raise _failed(f"set {TOKEN_VARIABLE} to the bot's token (developer portal, Bot, Reset Token)", Exit.USAGE)
    try:
        return header_secret(found[1], found[0])
    except InvalidCredential as error:
        raise _failed(str(error), Exit.USAGE) from None


def _failed(message: str, code: Exit) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)
