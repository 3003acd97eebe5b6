"""`anyport batch`: files of requests, run by the gateway when there is room."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.configuration import load_configuration
from gateway.cli.exits import Exit
from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import print_json, print_pairs, print_table

if TYPE_CHECKING:
    from collections.abc import Generator

    from gateway.cli.batch.client import BatchClient

UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="The gateway; default: the one of the configuration. $ANYPORT_API_KEY is sent."),
]
IdArgument = Annotated[str, typer.Argument(help="Id of the batch.")]
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Requests, one JSON object a line.")
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", help="Where answers go; default: FILE.output.jsonl, errors to FILE.errors.jsonl."),
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=100, help="How many.")]
_AT_WORK: Final = ("validating", "in_progress", "finalizing", "cancelling")
_LOOK_SECONDS: Final = 0.5
_COLUMNS: Final = ("ID", "STATUS", "DONE", "FAILED", "TOTAL", "ENDPOINT")


def batch_group() -> typer.Typer:
    """Returns the command group."""
    group = typer.Typer(no_args_is_help=True, help="Run files of requests when there is room.")
    group.command("run")(run)
    group.command("status")(status)
    group.command("cancel")(cancel)
    group.command("list")(list_batches)
    return group


def run(file: FileArgument, output: OutputOption = None, url: UrlOption = None, config: ConfigOption = None) -> None:
    """Run the requests of a file, show how far they are, and write answers and errors beside it."""
    with _asking(url, config) as client:
        endpoint = _endpoint_of(file)
        batch = client.create(client.upload(file), endpoint)
        print(f"{batch['id']} has begun", file=sys.stderr)
        try:
            batch = _followed(client, batch)
        except KeyboardInterrupt:
            print(f"it goes on; see `anyport batch status {batch['id']}`", file=sys.stderr)
            raise typer.Exit(Exit.INTERRUPTED) from None
        wanted = output or file.with_name(f"{file.name}.output.jsonl")
        errors = file.with_name(f"{file.name}.errors.jsonl")
        for id, path in ((batch["output_file_id"], wanted), (batch["error_file_id"], errors)):
            if id:
                client.download(id, path)
                print(f"{path}", file=sys.stderr)
    _show(batch)
    if batch["status"] != "completed" or batch["request_counts"]["failed"]:
        raise typer.Exit(Exit.FAILURE)


def status(id: IdArgument, url: UrlOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show how far a batch is."""
    _print(lambda client: client.batch(id), url, config, as_json)


def cancel(id: IdArgument, url: UrlOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """End a batch early; what is done stays."""
    _print(lambda client: client.cancel(id), url, config, as_json)


def list_batches(
    limit: LimitOption = 20, url: UrlOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the batches of the key, the newest first."""
    with _asking(url, config) as client:
        batches = client.batches(limit)
    if as_json:
        print_json(batches)
    else:
        print_table(_COLUMNS, (_row(batch) for batch in batches))


def _row(batch: dict[str, Any]) -> tuple[str, ...]:
    counts = batch["request_counts"]
    numbers = (str(counts[name]) for name in ("completed", "failed", "total"))
    return batch["id"], batch["status"], *numbers, batch["endpoint"]


def _print(ask: Callable[[BatchClient], dict[str, Any]], url: str | None, config: Path | None, as_json: bool) -> None:
    with _asking(url, config) as client:
        batch = ask(client)
    if as_json:
        print_json(batch)
    else:
        _show(batch)


@contextmanager
def _asking(url: str | None, config: Path | None) -> Generator[BatchClient]:
    from gateway.cli.batch.client import BatchClient, BatchTrouble, key_of, local_url

    if url is None:
        server = load_configuration(config).settings.server
        url = local_url(server.host, server.port)
    try:
        yield BatchClient(url, key_of(os.environ))
    except BatchTrouble as trouble:
        print(trouble, file=sys.stderr)
        raise typer.Exit(Exit.FAILURE) from None


def _endpoint_of(file: Path) -> str:
    """Returns where the requests of a file go: where the first one does."""
    with file.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
    try:
        endpoint: Any = json.loads(first)["url"]
    except (ValueError, KeyError, TypeError):
        raise typer.BadParameter(f"the first line of {file} is no request with a `url`", param_hint="FILE") from None
    return str(endpoint)


def _followed(client: BatchClient, batch: dict[str, Any]) -> dict[str, Any]:
    """Shows a bar on a terminal until the batch has ended, and returns it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(batch["status"], total=None)
        while batch["status"] in _AT_WORK:
            time.sleep(_LOOK_SECONDS)
            batch = client.batch(batch["id"])
            counts = batch["request_counts"]
            done = counts["completed"] + counts["failed"]
            progress.update(bar, description=batch["status"], completed=done, total=counts["total"] or None)
    return batch


def _show(batch: dict[str, Any]) -> None:
    counts = batch["request_counts"]
    pairs = [
        ("id", batch["id"]),
        ("status", batch["status"]),
        ("done", f"{counts['completed']} of {counts['total']}, {counts['failed']} failed"),
        ("output file", batch["output_file_id"] or "none"),
        ("error file", batch["error_file_id"] or "none"),
    ]
    faults: list[dict[str, Any]] = batch["errors"]["data"] if batch["errors"] else []
    pairs += [(f"line {fault['line']}" if fault["line"] else "file", fault["message"]) for fault in faults]
    print_pairs(pairs)
