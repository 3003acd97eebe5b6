"""`anyport check`: does everything that `serve` does before it listens, and says what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.configuration import Configuration, located
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, JsonOption, UnauthenticatedOption
from gateway.cli.output import fault_members, print_json, print_pairs, print_table
from gateway.cli.serving.route_summary import RouteSummary, summaries
from gateway.cli.serving.source import Source

if TYPE_CHECKING:
    from gateway.errors import Fault
    from gateway.runtime import Runtime


def check(
    config: ConfigOption = None, allow_unauthenticated: UnauthenticatedOption = False, as_json: JsonOption = False
) -> None:
    """Check the configuration and say what it means, or everything that is wrong with it."""
    from gateway.errors import ConfigError

    try:
        source = Source(config, allow_unauthenticated=allow_unauthenticated)
        configuration = source.load()
        with located(configuration.path):
            runtime = _build(configuration, source)
    except ConfigError as error:
        _print_faults(error.faults, as_json)
        raise typer.Exit(Exit.USAGE) from None
    summary = _summary(configuration, runtime)
    if as_json:
        print_json(summary)
    else:
        _print_summary(configuration.path, summary, summaries(runtime))


def _build(configuration: Configuration, source: Source) -> Runtime:
    import asyncio

    from gateway.runtime import Runtime

    async def build() -> Runtime:
        runtime = Runtime(configuration.settings, configuration.environ)
        try:
            _refuse_open(runtime, source)
            if runtime.settings.storage.url is not None:
                _ = runtime.shared.stored.thing.storage  # reads the URL
        finally:
            await runtime.aclose()
        return runtime

    return asyncio.run(build())


def _refuse_open(runtime: Runtime, source: Source) -> None:
    """Raises ConfigError if strangers could call without a key, as far as that is known without asking storage."""
    from gateway.cli.serving.premises import Stock, refuse

    has_keys = False if runtime.shared.stored.thing.is_absent() else None
    refuse(runtime.settings, source.standing(runtime.settings.server), Stock(has_keys))


def _places(runtime: Runtime) -> dict[str, str | None]:
    """Returns where storage and state are, by their URLs; null where there is none."""
    from gateway.settings.scalars import MEMORY_URL
    from gateway.state.address import read_address

    state, stored = runtime.settings.state.url.reveal(), runtime.shared.stored.thing
    return {
        "storage.url": None if runtime.settings.storage.url is None else stored.storage.place,
        "state.url": None if state == MEMORY_URL else f"redis at {read_address(state).place}",
    }


def _print_faults(faults: Sequence[Fault], as_json: bool) -> None:
    if as_json:
        print_json({"ok": False, "faults": [fault_members(fault) for fault in faults]})
    else:
        for fault in faults:
            print(fault)


def _summary(configuration: Configuration, runtime: Runtime) -> dict[str, Any]:
    settings = configuration.settings
    ready = runtime.catalogue.ready()
    return {
        "ok": True,
        "file": str(configuration.path) if configuration.path else None,
        "host": settings.server.host,
        "port": settings.server.port,
        "api_keys": len(settings.server.api_keys),
        "providers": [
            {
                "id": provider.spec.id,
                "base_url": provider.base_url,
                "base_url_source": provider.base_url_source,
                "credentials": len(provider.key_ring.secrets) or int(not provider.key_ring.is_empty),
                "credential_source": provider.source,
            }
            for provider in ready
        ],
        "places": _places(runtime),
        "routes": {route.name: route.members() for route in summaries(runtime)},
        "warnings": runtime.warnings,
    }


def _print_summary(path: Path | None, summary: dict[str, Any], routes: Sequence[RouteSummary]) -> None:
    print(f"{path}: ok" if path else "no file, all settings have their defaults: ok")
    print()
    keys = summary["api_keys"]
    host = f"[{summary['host']}]" if ":" in summary["host"] else summary["host"]
    print_pairs(
        [
            ("listens on", f"{host}:{summary['port']}"),
            ("clients", _key_demand(keys)),
            *((name, f"{place}, not connected to now") for name, place in summary["places"].items() if place),
        ]
    )
    if summary["providers"]:
        print()
        rows = (
            (each["id"], each["base_url"], _origin(each["credentials"], each["credential_source"]))
            for each in summary["providers"]
        )
        print_table(("PROVIDER", "BASE URL", "CREDENTIALS"), rows)
    if routes:
        print()
        cells = (
            (each.name, each.strategy, ", ".join(each.deployments), ", ".join(each.fallbacks), each.share_left_out)
            for each in routes
        )
        print_table(("ROUTE", "STRATEGY", "DEPLOYMENTS", "FALLBACKS", "LEFT OUT"), cells)
    for warning in summary["warnings"]:
        print(f"\nwarning: {warning}")


def _key_demand(keys: int) -> str:
    match keys:
        case 0:
            return "need no key, until `anyport keys create` has made the first one"
        case 1:
            return "must present the key"
        case _:
            return f"must present one of {keys} keys"


def _origin(credentials: int, source: str) -> str:
    return f"{credentials} from {source}" if credentials else "none"
