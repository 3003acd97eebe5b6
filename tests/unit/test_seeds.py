"""docs/seeds.md: every row names a test that exists, or is one of those that are known to be open."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/seeds.md"
OPEN: set[str] = set()
"""Whatever is built leaves this list and says its test in the page."""


def rows() -> Iterator[list[str]]:
    """Yields the cells of every row of the tables that name tests."""
    is_wanted = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            is_wanted = False
        elif cells == ["Behaviour", "Where", "Test"]:
            is_wanted = True
        elif is_wanted and set(line) != set("|-"):
            yield cells


ROWS = list(rows())


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_what_is_open_is_known() -> None:
    assert len(ROWS) > 130
    assert {row[0] for row in ROWS if row[2].startswith("open: ")} == OPEN


@pytest.mark.parametrize("row", [row for row in ROWS if not row[2].startswith("open: ")], ids=lambda row: row[0])
def test_a_behaviour_has_a_test(row: list[str]) -> None:
    said = re.fullmatch(r"`([a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", row[2])
    assert said, row[2]
    assert said[2] in names_in(ROOT / "tests" / said[1])


def test_every_place_exists() -> None:
    places = {place for row in ROWS for place in re.findall(r"`([a-z_]+/[a-z_/.]*)`", row[1])}
    assert [place for place in sorted(places) if not (ROOT / place).exists()] == []
    assert len(places) > 30
