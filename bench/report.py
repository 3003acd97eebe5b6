"""The table: a row for each measure, a column for each variant, ratios to nginx, and the files of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.measure import Figure

_BASE = "nginx"


def markdown(figures: Sequence[Figure], about: Mapping[str, str], failed: Mapping[str, str]) -> str:
    """Returns the whole report; `failed` are variants that could not be measured, and why."""
    lines = ["# Benchmark", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += [f"- NOT MEASURED {name}: {_last_line(reason)}" for name, reason in failed.items()]
    lines += ["", *table(figures), ""]
    return "\n".join(lines)


def table(figures: Sequence[Figure]) -> list[str]:
    """Returns the lines of one Markdown table, padded so that it reads well in a terminal."""
    variants = list(dict.fromkeys(figure.variant for figure in figures))
    values = {(figure.measure, figure.variant): figure for figure in figures}
    rows = [["", *variants]]
    for measure in _shown(figures):
        base = values.get((measure, _BASE))
        cells = [_cell(values.get((measure, variant)), base) for variant in variants]
        unit = next(figure.unit for figure in figures if figure.measure == measure)
        rows.append([f"{measure} ({unit})" if unit else measure, *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(variants) + 1)]
    lines = [_line(row, widths) for row in rows]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def write(folder: Path, stamp: str, figures: Sequence[Figure], text: str, about: Mapping[str, str]) -> list[Path]:
    """Writes STAMP.json and STAMP.md and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"about": dict(about), "figures": [vars(figure) for figure in figures]}
    paths = [folder / f"{stamp}.json", folder / f"{stamp}.md"]
    paths[0].write_text(json.dumps(data, indent=1) + "\n")
    paths[1].write_text(text)
    return paths


def read(path: Path) -> list[Figure]:
    """Reads the figures of an earlier run."""
    return [Figure(**entry) for entry in json.loads(path.read_text())["figures"]]


def _shown(figures: Sequence[Figure]) -> list[str]:
    """Returns the measures in order; counts of errors only where there were some."""
    by_variant: dict[str, list[str]] = {}
    for figure in figures:
        by_variant.setdefault(figure.variant, []).append(figure.measure)
    # The fullest column gives the order; the others only add what it has not.
    fullest = sorted(by_variant.values(), key=len, reverse=True)
    measures = list(dict.fromkeys(measure for column in fullest for measure in column))
    wrong = {figure.measure for figure in figures if figure.measure.endswith(" errors") and figure.value}
    return [measure for measure in measures if not measure.endswith(" errors") or measure in wrong]


def _cell(figure: Figure | None, base: Figure | None) -> str:
    if figure is None:
        return "-"
    text = _number(figure.value)
    if base is None or base is figure or min(base.value, figure.value) <= 0 or not figure.unit:
        return text
    return f"{text} (x{figure.value / base.value:.2g})"


def _number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1].strip()


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    padded = [cell.strip().rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
    return f"| {' | '.join([first, *padded])} |"
