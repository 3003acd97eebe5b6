"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings; default: $ANYPORT_CONFIG, else ./anyport.yaml."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
