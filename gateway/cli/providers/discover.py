"""`anyport discover`: model servers on this machine."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.configuration import Configuration, load_configuration, located
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_table

if TYPE_CHECKING:
    from gateway.registry.discovery import Probe

WatchOption = Annotated[bool, typer.Option("--watch", help="Go on looking, and tell what changes.")]
_COLUMNS: Final = ("SERVER", "URL", "STATUS")
_BETWEEN_SECONDS: Final = 2.0


def discover(config: ConfigOption = None, as_json: JsonOption = False, watch: WatchOption = False) -> None:
    """Look for model servers on this machine; exit code 1 if there is none."""
    configuration = load_configuration(config)
    if watch:
        _watch(configuration, as_json=as_json)
        return
    with located(configuration.path):
        probes = _look(configuration)
    if as_json:
        print_json([members(probe) for probe in probes])
    else:
        print_table(_COLUMNS, (_cells(probe) for probe in probes))
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


def _cells(probe: Probe) -> tuple[str, str, str]:
    return probe.provider.spec.id, probe.base_url, status_text(probe)


def _watch(configuration: Configuration, *, as_json: bool) -> None:
    """Prints what there is, then every server whose state is another one, until Ctrl-C."""
    import asyncio

    from gateway.runtime import Runtime

    async def watch() -> None:
        with located(configuration.path):
            runtime = Runtime(configuration.settings, configuration.environ)
        told: dict[str, dict[str, object]] = {}
        try:
            while True:
                probes = await runtime.discovery.look_local()
                _tell(
                    [each for each in probes if told.get(each.provider.spec.id) != members(each)], bool(told), as_json
                )
                told = {each.provider.spec.id: members(each) for each in probes}
                await asyncio.sleep(_BETWEEN_SECONDS)
        finally:
            await runtime.aclose()

    try:
        asyncio.run(watch())
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None


def _tell(news: list[Probe], is_begun: bool, as_json: bool) -> None:
    if as_json:
        for probe in news:
            print(json.dumps(members(probe), ensure_ascii=False))
    elif is_begun:
        for probe in news:
            print("  ".join(_cells(probe)))
    else:
        print_table(_COLUMNS, (_cells(probe) for probe in news))
    sys.stdout.flush()


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
