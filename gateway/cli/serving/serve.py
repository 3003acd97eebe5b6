"""`anyport serve`: settings in, a running gateway out."""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer

from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, UnauthenticatedOption
from gateway.cli.serving.source import Source

MOST_WORKERS = 64


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of server.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, instead of server.port.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=MOST_WORKERS, help="Processes that share the port.")] = 1,
    watch: Annotated[bool, typer.Option(help="Whether a changed file is loaded by itself.")] = True,
    allow_unauthenticated: UnauthenticatedOption = False,
    worker: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start the gateway and serve until SIGTERM or Ctrl-C."""
    from gateway.cli.serving.privacy import keep_memory_private
    from gateway.http.server import BindError

    keep_memory_private()
    source = Source(config, host, port, allow_unauthenticated, workers)
    try:
        code = _serve(source, watch=watch, worker=worker)
    except (BindError, OSError) as error:
        print(error, file=sys.stderr)
        code = Exit.FAILURE
    finally:
        gc.enable()
    raise typer.Exit(code)


def _serve(source: Source, *, watch: bool, worker: str | None) -> int:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if source.workers > 1 and worker is None:
        from gateway.cli.serving.parent import serve_by_workers

        return serve_by_workers(source.pinned(), console, watch=watch)
    # A start leaves next to no garbage, and looking for it takes a tenth of the time. The application turns it on.
    gc.disable()
    if worker is not None:
        from gateway.cli.serving.worker import serve_as_worker

        return serve_as_worker(source, worker, console)
    from gateway.cli.serving.process import serve_alone

    return serve_alone(source.pinned(), console, watch=watch)
