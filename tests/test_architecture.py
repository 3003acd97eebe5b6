"""The rules of the code base that a machine can hold: layers, sizes, imports, words."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "adapters")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80
FORBIDDEN_IN_ADAPTERS = frozenset(
    {"asyncio", "socket", "ssl", "os", "time", "random", "logging", "threading", "subprocess", "pathlib", "secrets"}
    | {"gateway", "httpx", "httpx2", "fastapi", "starlette", "pydantic", "requests", "urllib"}
)
HEAVY = {"openai", "redis", "sqlalchemy", "numpy", "langchain_openai", "hypothesis", "pytest", "rich", "typer"}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler", "service"}
# Written in two parts, so that this file does not hold what it looks for.
UNFINISHED = ("TO" + "DO", "FIX" + "ME", "X" + "XX:", "HA" + "CK:")
MACHINES = ("/wo" + "rk/", "/ho" + "me/", "/r" + "oot/", "/Us" + "ers/")
INDEXES = ("pypi." + "org", "pypi" + "thonhosted", "--index" + "-url")
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".txt", ".sse", ".cfg", ".sh", ""}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def tracked() -> tuple[Path, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return tuple(path for path in paths if path.suffix in TEXT and path.is_file())


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} has a relative import"
            yield node.module or ""


def test_the_contracts_on_imports_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 broken" in ran.stdout


def test_files_are_short() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    lengths = {
        (name_of(path), node.name): (node.end_lineno or node.lineno) - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_modules_and_public_names_say_what_they_are() -> None:
    silent: list[str] = []
    for path in SOURCES:
        module = tree(path)
        if module.body and not ast.get_docstring(module):
            silent.append(name_of(path))
        definitions = (
            node for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        )
        public = [node for node in definitions if not node.name.startswith("_")]
        silent += [f"{name_of(path)}: {node.name}" for node in public if not ast.get_docstring(node)]
    assert silent == []


def test_annotations_are_never_evaluated() -> None:
    evaluated: list[str] = []
    for path in SOURCES:
        body = tree(path).body
        has_code = any(not isinstance(node, ast.Expr) for node in body)
        futures = [node for node in body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
        if has_code and not futures and path.name not in ("__init__.py", "__main__.py"):
            evaluated.append(name_of(path))
    assert evaluated == []


def test_modules_are_named_for_what_they_hold() -> None:
    assert [name_of(path) for path in SOURCES if path.stem in VAGUE_NAMES] == []


def test_adapters_import_nothing_that_does_io() -> None:
    found = {
        (name_of(path), name)
        for path in SOURCES
        if path.is_relative_to(ROOT / "adapters")
        for name in imports(path)
        if name.partition(".")[0] in FORBIDDEN_IN_ADAPTERS
    }
    assert {name for _, name in found} <= {"urllib.parse"}, found  # takes strings apart, and nothing else


def test_every_package_says_what_it_is_for() -> None:
    packages = {path.parent for path in SOURCES}
    assert [name_of(package) for package in packages if not (package / "__init__.py").is_file()] == []
    silent = [name_of(package) for package in packages if not ast.get_docstring(tree(package / "__init__.py"))]
    # The adapters' root is empty on purpose: its modules are imported one by one.
    assert [name for name in silent if name != "adapters"] == []


def run(code: str) -> list[str]:
    """Returns the words that `code` prints in a fresh interpreter."""
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def test_starting_imports_nothing_heavy() -> None:
    assert run(f"import sys, gateway.app; print(*({HEAVY!r} & sys.modules.keys()))") == []


def test_importing_the_adapters_needs_msgspec_alone() -> None:
    code = (
        "import sys, msgspec; before = set(sys.modules); import adapters.openai; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(*sorted(new - sys.stdlib_module_names))"
    )
    assert set(run(code)) <= {"adapters", "msgspec"}


def test_nothing_is_left_for_later() -> None:
    sources = [path for path in tracked() if path.suffix in (".py", ".md", ".yaml", ".toml")]
    found = [
        f"{name_of(path)}: {word}"
        for path in sources
        for word in UNFINISHED
        if word in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert found == []


def test_no_file_names_a_machine_or_a_package_index() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()[:120]}"
        for path in tracked()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if any(word in line for word in (*MACHINES, *INDEXES))
    ]
    assert found == []


def test_the_layers_of_the_documentation_are_those_that_are_held() -> None:
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    held = [set(layer.replace("|", " ").split()) for layer in configured["contracts"][0]["layers"]]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = page.partition("## Layers")[2].split("```")[1]
    told = [
        {word for word in line.split() if word.partition(".")[0] in PACKAGES} for line in block.strip().splitlines()
    ]
    assert told == held


def test_every_package_has_a_place_in_the_table_of_places() -> None:
    places = (ROOT / "AGENTS.md").read_text(encoding="utf-8").partition("## Where things live")[2].partition("\n## ")[0]
    packages = sorted({name_of(path.parent) for path in SOURCES if path.parent.parent.name == "gateway"})
    assert [package for package in packages if f"`{package}/`" not in places] == []
