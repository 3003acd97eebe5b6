"""`python -m docs.generate` writes every generated file; with `--check` it names the ones that differ."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from docs.generate.fidelity import fidelity_page
from docs.generate.metrics import metrics_table
from docs.generate.providers import providers_faults, providers_page, providers_schema
from docs.generate.settings import configuration_page, example_yaml, settings_schema

ROOT = Path(__file__).parents[2]
GENERATED: tuple[tuple[str, Callable[[], str]], ...] = (
    ("config/anyport.example.yaml", example_yaml),
    ("config/schema/anyport.schema.json", settings_schema),
    ("config/schema/providers.schema.json", providers_schema),
    ("docs/configuration.md", configuration_page),
    ("docs/fidelity.md", fidelity_page),
    ("docs/metrics.md", metrics_table),
    ("docs/providers.md", providers_page),
)
"""Path below the root, and what returns the content of that file."""
CHECKS: tuple[Callable[[], list[str]], ...] = (providers_faults,)
"""Further checks; each returns what is wrong, one line per fault."""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 1 if a checked file differs or a check finds a fault, 2 for a wrong argument."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m docs.generate [--check]", file=sys.stderr)
        return 2
    if not arguments:
        for path, content in GENERATED:
            target = ROOT / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content(), encoding="utf-8")
        return 0
    faults = [f"{path} differs; run `make docs`" for path, content in GENERATED if _differs(path, content())]
    faults += [fault for check in CHECKS for fault in check()]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def _differs(path: str, content: str) -> bool:
    target = ROOT / path
    return not target.is_file() or target.read_text(encoding="utf-8") != content


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
