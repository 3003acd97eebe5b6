"""What the documentation promises of security names the tests that hold it, and every test here is named."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| What ", "|---"))]


def test_every_promise_names_tests_that_are_there() -> None:
    assert len(ROWS) > 20
    for row in ROWS:
        named = re.findall(r"`([^`]+)`", row.rstrip(" |").rpartition(" | ")[2])
        assert named, row
        for name in named:
            assert any(TESTS.glob(name)), (name, row)


def test_every_module_of_these_tests_is_named() -> None:
    modules = {path.name for path in Path(__file__).parent.glob("test_*.py")} - {Path(__file__).name}
    assert modules == {name for name in modules if f"security/{name}" in PAGE}
