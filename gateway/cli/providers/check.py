"""`anyport providers check ID`: asks a provider for its models, which costs nothing and tells whether the key works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.configuration import Configuration, load_configuration, located
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_pairs
from gateway.cli.providers.discover import members, status_text

if TYPE_CHECKING:
    from gateway.registry.discovery import Probe

_SHOWN_MODELS = 10


def check_provider(
    name: Annotated[str, typer.Argument(metavar="ID", help="Id or alias, in any case.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask one provider for its models with the configured credential; exit code 1 unless it answers."""
    configuration = load_configuration(config)
    with located(configuration.path):
        probe = ask_provider(configuration, name)
    if isinstance(probe, str):
        typer.echo(probe, err=True)
        raise typer.Exit(Exit.FAILURE)
    if as_json:
        print_json(members(probe))
    else:
        print_pairs(probe_pairs(probe))
    if probe.status != "ok":
        raise typer.Exit(Exit.FAILURE)


def probe_pairs(probe: Probe) -> list[tuple[str, str]]:
    """Returns what came of it, line by line."""
    shown = ", ".join(probe.models[:_SHOWN_MODELS]) + (", ..." if len(probe.models) > _SHOWN_MODELS else "")
    return [
        ("provider", probe.provider.spec.id),
        ("url", probe.base_url),
        ("credential", probe.provider.source),
        ("status", status_text(probe)),
        ("detail", probe.detail),
        ("models", shown),
    ]


def ask_provider(configuration: Configuration, name: str) -> Probe | str:
    """Returns what a provider answers, or why it cannot be asked; raises ConfigError."""
    import asyncio

    from gateway.runtime import Runtime

    async def ask() -> Probe | str:
        runtime = Runtime(configuration.settings, configuration.environ)
        try:
            provider = runtime.catalogue.find(name)
            if isinstance(provider, str):
                return provider
            return provider.lack or await runtime.discovery.ask(provider)
        finally:
            await runtime.aclose()

    return asyncio.run(ask())
