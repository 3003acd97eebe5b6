"""`anyport serve`: settings in, a running gateway out."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from gateway.app import create_app
from gateway.cli.start import print_start
from gateway.errors import ConfigError, Fault
from gateway.http.drain import DrainSignal
from gateway.http.limits import GuardLimits
from gateway.http.metrics_port import serve_metrics
from gateway.http.server import BindError, default_allowed_hosts, run
from gateway.registry.builtin import load_builtin
from gateway.runtime import Runtime
from gateway.settings.load import find_config, load_settings
from gateway.settings.model import ServerSettings, Settings
from gateway.telemetry.log import setup

EXIT_FAILED = 1
EXIT_USAGE = 2
_FIRST_LOOK_SECONDS = 3.0
"""How long the start table waits for the first look around; serving does not wait."""


def serve(config: Path | None, host: str | None, port: int | None, allow_unauthenticated: bool) -> int:
    """Runs the gateway until it is told to stop; returns the exit code."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        settings = _settings(config, host, port, os.environ)
        _refuse_open_doors(settings.server, allow_unauthenticated)
        runtime = Runtime(settings, os.environ)
    except ConfigError as error:
        for fault in error.faults:
            console.print(str(fault), style="red", markup=False)
        return EXIT_USAGE
    detach = setup(scrub=runtime.scrubber.lines)
    try:
        return _run(runtime, console)
    except (BindError, OSError) as error:
        console.print(str(error), style="red", markup=False)
        return EXIT_FAILED
    finally:
        detach()


def _settings(config: Path | None, host: str | None, port: int | None, environ: Mapping[str, str]) -> Settings:
    path = find_config(config, environ, Path.cwd())
    settings = load_settings(path, environ, set(load_builtin()))
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    return settings.model_copy(update={"server": settings.server.model_copy(update=given)}) if given else settings


def _refuse_open_doors(server: ServerSettings, allow_unauthenticated: bool) -> None:
    """Without keys the gateway spends its owner's money for everyone who reaches the port."""
    if server.api_keys or allow_unauthenticated or _is_loopback(server.host):
        return
    raise ConfigError(
        [
            Fault(
                "anyport.yaml",
                0,
                0,
                "server.api_keys",
                f"no API key is configured, and {server.host} can be reached from other machines: set "
                "server.api_keys, listen on 127.0.0.1, or start with --allow-unauthenticated",
            )
        ]
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _run(runtime: Runtime, console: Console) -> int:
    server = runtime.settings.server
    if server.metrics_port is not None:
        serve_metrics(runtime.metrics, server.metrics_port)
    drain = DrainSignal()

    def ready(url: str) -> None:
        asyncio.get_running_loop().create_task(_announce(runtime, console, url))

    hosts = default_allowed_hosts(server.host)
    return run(
        create_app(runtime, drain=drain),
        host=server.host,
        port=server.port,
        limits=GuardLimits(
            max_body_bytes=server.max_body_bytes,
            allowed_hosts=hosts | frozenset(server.allowed_hosts) if hosts and server.allowed_hosts else None,
        ),
        grace_seconds=server.grace_seconds,
        drain_delay_seconds=server.drain_delay_seconds,
        drain=drain,
        on_ready=ready,
    )


async def _announce(runtime: Runtime, console: Console, url: str) -> None:
    if runtime.settings.discovery.enabled:
        try:
            async with asyncio.timeout(_FIRST_LOOK_SECONDS):
                await runtime.discovery.first_done.wait()
        except TimeoutError:
            console.print("Still looking for model servers on this machine.")
    print_start(console, runtime, url)
    sys.stderr.flush()
