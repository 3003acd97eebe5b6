"""What the pages name is there: files, commands with their options, targets of make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from gateway.cli.main import build_app

ROOT = Path(__file__).parents[1]
PAGES = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
}
_PLACE = re.compile(r"[`(\s]((?:[a-z_]+/)+(?:[a-z_]+\.(?:py|yaml))?|[a-z_]+\.py)(?=[`,:;)\s])")
_FILE = re.compile(r"[`(\s]((?:[a-z_-]+/)*[a-z_-]+\.py|(?:[a-z_-]+/)+[a-z_-]+\.(?:yaml|toml|txt|json))(?=[`,:;)\s])")
_CALL = re.compile(r"(?:`|bin/|^ {4}|^)anyport ([a-z][^`\n]*)", re.MULTILINE)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


@cache
def is_there(name: str) -> bool:
    """Says whether a file or folder is called so, from the top or from within one of the packages."""
    patterns = (name, *(f"{part}/**/{name}" for part in ("gateway", "adapters", "tests")))
    return any(next(ROOT.glob(pattern), None) for pattern in patterns)


@pytest.mark.parametrize("page", ["AGENTS.md", "docs/architecture.md"])
def test_every_place_that_a_page_about_the_code_names_exists(page: str) -> None:
    named = set(_PLACE.findall(PAGES[page]))
    assert len(named) > 10
    assert [name for name in named if not is_there(name)] == []


def test_every_file_that_a_page_names_exists() -> None:
    named = [(page, name) for page, text in PAGES.items() for name in _FILE.findall(text)]
    assert len(named) > 100
    assert [each for each in named if not is_there(each[1])] == []


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Yields every command below one, and the options of each."""
    yield words, {"--help", *(option for each in command.params for option in (*each.opts, *each.secondary_opts))}
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*words, name))


def test_every_command_and_option_that_a_page_names_exists() -> None:
    known = dict(commands(get_command(build_app())))
    groups = {words[:-1] for words in known if words}
    calls = [(page, call) for page, text in PAGES.items() for call in _CALL.findall(text)]
    assert len(calls) > 100
    for page, call in calls:
        words: tuple[str, ...] = ()
        for word in re.findall(r"[^\s,;)]+", call):
            if words not in groups or not word.isalpha() or not word.islower():
                break
            words = (*words, word)
        assert words in known, (page, call)
        assert set(_OPTION.findall(call)) - known[words] == set(), (page, call)


def test_every_target_of_make_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for text in PAGES.values() for said in re.findall(r"`make ([a-z ]+)", text) for name in said.split()}
    assert len(named) > 3
    assert named - targets == set()
