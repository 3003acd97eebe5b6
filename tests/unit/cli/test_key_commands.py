"""The commands about keys, teams and projects, directly in storage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import build_app

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ANYPORT_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("ANYPORT_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(build_app(), list(arguments))


def test_a_key_is_made_shown_rotated_disabled_and_enabled(run: Run) -> None:
    assert run("teams", "create", "--name", "search", "--budget", "10.50/month").exit_code == 0
    assert run("projects", "create", "--name", "crawler", "--team", "search").exit_code == 0
    made = run("keys", "create", "--name", "bot", "--project", "crawler", "--rpm", "60", "--expires", "30d")
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    assert key.startswith("sk-anyport-")
    assert "no admin API is configured" in made.stderr
    assert "never again" in made.stderr
    shown = json.loads(run("keys", "show", "bot", "--json").stdout)
    assert (shown["status"], shown["limits"]["requests_per_minute"]) == ("active", 60)
    assert key not in run("keys", "list").stdout
    other = run("keys", "rotate", shown["id"], "--overlap", "1h").stdout.strip()
    assert other.startswith("sk-anyport-")
    assert other != key
    assert json.loads(run("keys", "disable", "bot", "--json").stdout)["status"] == "disabled"
    assert json.loads(run("keys", "enable", "bot", "--json").stdout)["status"] == "active"
    assert json.loads(run("teams", "list", "--json").stdout)["data"][0]["budgets"] == [
        {"usd": "10.5", "window": "month"}
    ]
    assert "crawler" in run("projects", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("keys", "create", "--name", "a", "--team", "none"), 1, "there is no team 'none'"),
        (("keys", "create", "--name", "a", "--route", "nothing"), 1, "nothing serves 'nothing'"),
        (("keys", "create", "--name", "a", "--budget", "NaN/day"), 1, "budgets[0].usd"),
        (("keys", "create", "--name", "a", "--budget", "1/year"), 1, "budgets[0].window"),
        (("keys", "create", "--name", "a", "--expires", "soon"), 2, "is no time"),
        (("keys", "show", "none"), 1, "there is no key 'none'"),
    ],
)
def test_what_cannot_be_is_said(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr


def test_a_name_of_several_keys_is_none(run: Run) -> None:
    for _ in range(2):
        assert run("keys", "create", "--name", "twin").exit_code == 0
    result = run("keys", "disable", "twin")
    assert (result.exit_code, "several keys are called 'twin'" in result.stderr) == (1, True)
