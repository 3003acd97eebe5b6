"""`anyport bench`: the benchmark of this checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

import gateway
from gateway.cli.exits import Exit


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A rough answer in less than a minute.")] = False,
) -> None:
    """Measure the gateway on this machine, beside nginx and haproxy where they are installed."""
    root = Path(gateway.__file__).parent.parent
    if not (root / "bench" / "__main__.py").is_file():
        print("the benchmark is part of the source checkout: run `make bench` there", file=sys.stderr)
        raise typer.Exit(Exit.FAILURE)
    command = [sys.executable, "-m", "bench", *(["--quick"] if quick else [])]
    raise typer.Exit(subprocess.run(command, cwd=root, check=False).returncode)  # noqa: S603 - our own module
