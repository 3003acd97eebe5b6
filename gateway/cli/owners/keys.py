"""`anyport keys`: those of clients, and the upstream ones: where they are from and whether they rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from gateway.cli.configuration import Configuration, load_configuration, located
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_table
from gateway.cli.owners.virtual_keys import add_key_commands

if TYPE_CHECKING:
    from gateway.http.admin.states import Rest, UpstreamKey

_COLUMNS = ("PROVIDER", "KEY", "FROM", "MODEL", "STATE", "LEFT", "USES")


def keys_group() -> typer.Typer:
    """Returns the command group."""
    group = typer.Typer(no_args_is_help=True, help="Give out keys to clients, and show those of providers.")
    group.callback()(_keys)
    group.command("upstream")(upstream)
    add_key_commands(group)
    return group


def _keys() -> None:
    """Give out keys to clients, and show those of providers."""


def upstream(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the keys that providers are called with, as the running gateway knows them."""
    import msgspec

    from gateway.cli.admin_client import AdminRefusal, AdminUnavailable

    configuration = load_configuration(config)
    reason = ""
    try:
        keys = _ask(configuration)
    except (AdminUnavailable, AdminRefusal) as error:
        reason = str(error)
        with located(configuration.path):
            keys = _look(configuration)
    if as_json:
        told_by = "configuration" if reason else "gateway"
        print_json({"from": told_by, "reason": reason or None, "data": msgspec.to_builtins(keys)})
        return
    if reason:
        typer.echo(f"from the configuration alone, since {reason}", err=True)
    if keys:
        print_table(_COLUMNS, (row for key in keys for row in _rows(key)))
    else:
        typer.echo("no provider has a key", err=True)


def _ask(configuration: Configuration) -> list[UpstreamKey]:
    import msgspec

    from gateway.cli.admin_client import AdminUnavailable, ask_admin
    from gateway.http.admin.states import UpstreamKey

    answer = ask_admin(configuration.settings.admin, "GET", "/admin/keys/upstream")
    try:
        return msgspec.convert(answer["data"], list[UpstreamKey])
    except (KeyError, TypeError, msgspec.ValidationError):
        raise AdminUnavailable("the running gateway is of another version") from None


def _look(configuration: Configuration) -> list[UpstreamKey]:
    import asyncio
    import time

    from gateway.http.admin.states import upstream_keys
    from gateway.runtime import Runtime

    async def look() -> list[UpstreamKey]:
        runtime = Runtime(configuration.settings, configuration.environ)
        try:
            return upstream_keys(runtime, time.monotonic())
        finally:
            await runtime.aclose()

    return asyncio.run(look())


def _rows(key: UpstreamKey) -> Iterator[tuple[str, ...]]:
    name = f"{key.provider} ({key.deployment})" if key.deployment else key.provider
    yield name, f"{key.key} of {key.of}", key.source, "", _state(key.rest), "", str(key.uses)
    for each in key.models:
        if each.uses or each.rest.state != "ready":
            left = ", ".join(f"{count} {kind}" for kind, count in each.left.items())
            yield "", "", "", each.model, _state(each.rest), left, str(each.uses)


def _state(rest: Rest) -> str:
    if not rest.seconds:
        return rest.state
    by = "told by the provider" if rest.is_told else "our judgement"
    return f"{rest.state} for {rest.seconds:.0f} s ({', '.join(filter(None, (rest.reason, by)))})"
