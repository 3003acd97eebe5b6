"""`anyport serve`: settings in, a running gateway out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.configuration import Configuration, load_configuration, located
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.http.admin import AdminListener
    from gateway.http.limits import GuardLimits
    from gateway.runtime import Runtime
    from gateway.settings.model import ServerSettings

_FIRST_LOOK_SECONDS = 3.0
"""How long the start table waits for the first look around; serving does not wait."""


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of server.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, instead of server.port.")] = None,
    allow_unauthenticated: Annotated[
        bool, typer.Option("--allow-unauthenticated", help="Serve other machines without any API key.")
    ] = False,
) -> None:
    """Start the gateway and serve until SIGTERM or Ctrl-C."""
    from rich.console import Console

    from gateway.http.server import BindError
    from gateway.runtime import Runtime
    from gateway.telemetry.log import setup

    configuration = _with_options(load_configuration(config), host, port)
    _refuse_open_doors(configuration.settings.server, allow_unauthenticated)
    with located(configuration.path):
        runtime = Runtime(configuration.settings, configuration.environ)
    detach = setup(scrub=runtime.scrubber.lines)
    try:
        code = _run(runtime, Console(stderr=True, highlight=False, soft_wrap=True))
    except (BindError, OSError) as error:
        print(error, file=sys.stderr)
        code = Exit.FAILURE
    finally:
        detach()
    raise typer.Exit(code)


def _with_options(configuration: Configuration, host: str | None, port: int | None) -> Configuration:
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    if not given:
        return configuration
    from gateway.settings.load import with_server

    return Configuration(configuration.path, with_server(configuration.settings, given), configuration.environ)


def _refuse_open_doors(server: ServerSettings, allow_unauthenticated: bool) -> None:
    """Without keys the gateway spends its owner's money for everyone who reaches the port."""
    from gateway.errors import ConfigError, Fault
    from gateway.http.server import is_loopback

    if server.api_keys or allow_unauthenticated or is_loopback(server.host):
        return
    message = (
        f"no API key is configured, and other machines can reach {server.host}: set server.api_keys, "
        "listen on 127.0.0.1, or start with --allow-unauthenticated"
    )
    raise ConfigError([Fault("anyport", 0, 0, "server.api_keys", message)])


def _run(runtime: Runtime, console: Console) -> int:
    import asyncio

    from gateway.app import create_app
    from gateway.http.drain import DrainSignal
    from gateway.http.metrics_port import HOST, serve_metrics
    from gateway.http.server import run

    server = runtime.settings.server
    if server.metrics_port is not None:
        metrics = serve_metrics(runtime.metrics, server.metrics_port)
        console.print(f"Metrics are at http://{HOST}:{metrics.server_port}/metrics")
    admin = _admin(runtime, console)
    drain = DrainSignal()
    announcing: set[asyncio.Task[None]] = set()

    def ready(url: str) -> None:
        announcing.add(asyncio.get_running_loop().create_task(_announce(runtime, console, url)))

    return run(
        create_app(runtime, drain=drain, beside=admin),
        host=server.host,
        port=server.port,
        limits=_limits(server),
        grace_seconds=server.grace_seconds,
        drain_delay_seconds=server.drain_delay_seconds,
        drain=drain,
        on_ready=ready,
    )


def _admin(runtime: Runtime, console: Console) -> AdminListener | None:
    from gateway.http.admin import AdminListener

    if runtime.settings.admin.port is None:
        return None
    listener = AdminListener(runtime)
    console.print(f"The admin API is at {listener.url}/admin")
    return listener


def _limits(server: ServerSettings) -> GuardLimits:
    from gateway.http.limits import GuardLimits
    from gateway.http.server import default_allowed_hosts

    hosts = None  # the server's own default: any name, but on loopback only that of the machine
    if server.allowed_hosts:
        own = default_allowed_hosts(server.host) or default_allowed_hosts("127.0.0.1") or frozenset()
        hosts = own | {name.lower() for name in server.allowed_hosts}
    return GuardLimits(max_body_bytes=server.max_body_bytes, allowed_hosts=hosts)


async def _announce(runtime: Runtime, console: Console, url: str) -> None:
    import asyncio

    from gateway.cli.start import print_start

    if runtime.settings.discovery.enabled:
        try:
            async with asyncio.timeout(_FIRST_LOOK_SECONDS):
                await runtime.discovery.first_done.wait()
        except TimeoutError:
            console.print("Still looking for model servers on this machine.")
    print_start(console, runtime, url)
