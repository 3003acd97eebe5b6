"""`anyport providers`: which providers there are, and what is known about one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_pairs, print_table
from gateway.cli.providers.check import check_provider
from gateway.cli.providers.files import add_provider, remove_provider
from gateway.cli.providers.known import Known, load_known

if TYPE_CHECKING:
    from gateway.domain import ProviderSpec

READY = "ready"
_COLUMNS = ("PROVIDER", "NAME", "WHERE", "STATE", "CREDENTIALS", "BASE URL")


def providers_group() -> typer.Typer:
    """Returns the command group; without a command it lists."""
    group = typer.Typer(no_args_is_help=False, help="Show the providers, and add your own.")
    group.callback(invoke_without_command=True)(_default)
    group.command("list")(list_providers)
    group.command("show")(show_provider)
    group.command("check")(check_provider)
    group.command("add")(add_provider)
    group.command("remove")(remove_provider)
    return group


def _default(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the providers, or show one of them."""
    if context.invoked_subcommand is None:
        list_providers(config, as_json)


def list_providers(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List all providers, and whether they can be used."""
    known = load_known(config)
    members = [_members(known, spec) for spec in known.registry]
    if as_json:
        print_json(members)
        return
    members.sort(key=lambda each: (each["state"] != READY, each["id"]))
    rows = (
        (each["id"], each["name"], each["where"], each["state"], each["credential_source"], each["base_url"])
        for each in members
    )
    print_table(_COLUMNS, rows)


def show_provider(
    name: Annotated[str, typer.Argument(metavar="ID", help="Id or alias, in any case.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one provider: where it is, where its credential comes from, what it can do."""
    known = load_known(config)
    named = known.registry.get(name)
    if named is None:
        near = known.registry.nearest(name)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; `anyport providers` lists them"
        typer.echo(f"no provider is called {name!r}{hint}", err=True)
        raise typer.Exit(Exit.FAILURE)
    members = _members(known, named.spec) | _details(named.spec)
    if as_json:
        print_json(members)
    else:
        print_pairs((key.replace("_", " "), _text(value)) for key, value in members.items())


def _members(known: Known, spec: ProviderSpec) -> dict[str, Any]:
    provider = known.providers.get(spec.id)
    return {
        "id": spec.id,
        "name": spec.display_name,
        "where": str(spec.connection),
        "state": _state(known, spec),
        "credential_source": provider.source if provider else "none",
        "base_url": provider.base_url if provider else spec.base_url,
        "base_url_source": provider.base_url_source if provider else "default",
    }


def _state(known: Known, spec: ProviderSpec) -> str:
    provider = known.providers.get(spec.id)
    if provider is None:
        return known.problems.get(spec.id, "its base URL needs a variable")
    if not provider.is_ready:
        return "no credential"
    return READY if provider.is_configured or not provider.key_ring.is_empty else "needs no credential"


def _details(spec: ProviderSpec) -> dict[str, Any]:
    from gateway.credentials.variables import env_names

    return {
        "protocol": spec.protocol,
        "operations": sorted(spec.operations),
        "aliases": list(spec.aliases),
        "regions": dict(spec.regions),
        "category": spec.category,
        "docs_url": spec.docs_url,
        "requires_credential": spec.requires_credential,
        "credential_variables": list(env_names(spec.credential_envs)),
        "base_url_variables": list(env_names((*spec.base_url_envs, *spec.base_url_variables))),
        "headers": [name for name, _ in spec.headers],
        "example_models": list(spec.example_models),
    }


def _text(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{key}: {each}" for key, each in value.items())  # pyright: ignore[reportUnknownVariableType]
        case list():
            return ", ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return str(value)
