"""The files below `deploy`, read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONFIGURATION = DEPLOY / "anyport.yaml"
KUBERNETES = DEPLOY / "kubernetes"
LAST_SECONDS = 12.0
"""What a gateway may take at its end beside delay and grace: last words, and storing what is left."""


def read_yaml(path: Path) -> Any:
    """Returns what a file with one document says."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def variables_of(text: str) -> set[str]:
    """Returns the names of all environment variables that a configuration asks for."""
    return set(re.findall(r"\$\{([A-Z_]+)\}", text))


def environ_for(text: str) -> dict[str, str]:
    """Returns a value for each variable of a configuration, no two the same."""
    return {name: f"a-value-of-{name.lower()}" for name in variables_of(text)}
