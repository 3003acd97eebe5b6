"""`anyport models`: what GET /v1/models would list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from gateway.cli.configuration import Configuration, load_configuration, located
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_table

if TYPE_CHECKING:
    from gateway.registry.discovery import Probe
    from gateway.runtime import ModelEntry


def models(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List every model that the gateway would serve now, asking local servers and providers for theirs."""
    configuration = load_configuration(config)
    with located(configuration.path):
        entries, silent = _look(configuration)
    for probe in silent:
        typer.echo(f"{probe.provider.spec.id}: no list of models: {probe.detail or probe.status}", err=True)
    if as_json:
        print_json([{"id": entry.id, "owned_by": entry.owner} for entry in entries])
    else:
        print_table(("MODEL", "OWNER"), ((entry.id, entry.owner) for entry in entries))


def _look(configuration: Configuration) -> tuple[list[ModelEntry], list[Probe]]:
    """Returns the models, and the hosted providers that did not tell theirs."""
    import asyncio

    from gateway.runtime import Runtime

    async def look() -> tuple[list[ModelEntry], list[Probe]]:
        runtime = Runtime(configuration.settings, configuration.environ)
        try:
            _, hosted = await asyncio.gather(runtime.discovery.look_local(), runtime.discovery.look_hosted())
            return runtime.models(), [probe for probe in hosted if probe.status != "ok"]
        finally:
            await runtime.aclose()

    return asyncio.run(look())
