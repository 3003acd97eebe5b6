"""`anyport discover`: model servers on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from gateway.cli.configuration import Configuration, load_configuration, located
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_table

if TYPE_CHECKING:
    from gateway.registry.discovery import Probe


def discover(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Look for model servers on this machine; exit code 1 if there is none."""
    configuration = load_configuration(config)
    with located(configuration.path):
        probes = _look(configuration)
    if as_json:
        print_json([members(probe) for probe in probes])
    else:
        print_table(("SERVER", "URL", "STATUS"), ((p.provider.spec.id, p.base_url, status_text(p)) for p in probes))
    if not any(probe.status == "ok" for probe in probes):
        raise typer.Exit(Exit.FAILURE)


def status_text(probe: Probe) -> str:
    """Returns `[OK] n models`, `[OFFLINE]`, `[AUTH]` or `[ERROR ...]`."""
    if probe.status == "ok" and not probe.models and probe.detail:
        return "[OK]"
    if probe.status == "ok":
        number = len(probe.models)
        return f"[OK] {number} model{'' if number == 1 else 's'}"
    if probe.status == "error":
        return f"[ERROR {probe.detail}]"
    return f"[{probe.status.upper()}]"


def members(probe: Probe) -> dict[str, object]:
    """Returns a probe for JSON."""
    return {
        "id": probe.provider.spec.id,
        "base_url": probe.base_url,
        "status": probe.status,
        "models": list(probe.models),
        "detail": probe.detail,
    }


def _look(configuration: Configuration) -> list[Probe]:
    import asyncio

    from gateway.runtime import Runtime

    async def look() -> list[Probe]:
        runtime = Runtime(configuration.settings, configuration.environ)
        try:
            return await runtime.discovery.look_local()
        finally:
            await runtime.aclose()

    return asyncio.run(look())
