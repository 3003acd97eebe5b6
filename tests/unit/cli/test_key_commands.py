"""The commands about keys, teams and projects, directly in storage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
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


def words(result: Result) -> str:
    return " ".join(result.stderr.replace("│", " ").split())


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
        (("keys", "create", "--name", "a", "--budget", "NaN/day"), 2, "Invalid value for --budget: 'NaN/day' must be"),
        (("keys", "create", "--name", "a", "--budget", "1/year"), 2, "Invalid value for --budget: '1/year' must end"),
        (("teams", "create", "--name", "a", "--budget", "1", "--budget", "2/total"), 2, "is the second one for total"),
        (("keys", "create", "--name", "a", "--expires", "soon"), 2, "Invalid value for --expires: 'soon' is no time"),
        (("keys", "show", "none"), 1, "there is no key 'none'"),
    ],
)
def test_what_cannot_be_is_said(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, said in words(result)) == (code, True), result.stderr


def test_keys_are_listed_with_the_names_of_their_teams_and_projects(run: Run) -> None:
    for name in ("search", "other"):
        run("teams", "create", "--name", name)
    run("projects", "create", "--name", "crawler", "--team", "search")
    run("keys", "create", "--name", "bot", "--project", "crawler", "--expires", "30d")
    run("keys", "create", "--name", "person", "--team", "search")
    run("keys", "create", "--name", "stranger", "--team", "other")
    run("keys", "create", "--name", "nobody's")
    head, *lines = run("keys", "list").stdout.splitlines()
    assert head.split()[:7] == ["ID", "NAME", "HINT", "STATUS", "TEAM", "PROJECT", "EXPIRES"]
    bot = next(line for line in lines if " bot " in line)
    assert re.search(r" active +search +crawler +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$", bot)
    assert len(lines) == 4
    found = json.loads(run("keys", "list", "--team", "search", "--json").stdout)["data"]
    assert ({each["name"] for each in found}, "team" in found[0]) == ({"bot", "person"}, False)
    assert "stranger" not in run("keys", "list", "--team", "search").stdout
    assert "there is no team 'nope'" in run("keys", "list", "--team", "nope").stderr
    assert re.search(r" crawler +search", run("projects", "list").stdout)


def test_people_see_moments_as_dates_and_programs_as_numbers(run: Run) -> None:
    run("keys", "create", "--name", "bot", "--expires", "30d")
    shown = dict(line.split(maxsplit=1) for line in run("keys", "show", "bot").stdout.splitlines())
    known = json.loads(run("keys", "show", "bot", "--json").stdout)
    for name in ("created_at", "expires_at"):
        assert datetime.fromisoformat(shown[name]).timestamp() == known[f"{name}_ms"] // 1000
        assert f"{name}_ms" not in shown


def test_a_disabled_key_stays_so_when_it_is_rotated_which_is_said(run: Run) -> None:
    run("keys", "create", "--name", "bot")
    assert "stays disabled" not in run("keys", "rotate", "bot").stderr
    run("keys", "disable", "bot")
    rotated = run("keys", "rotate", "bot")
    assert "it stays disabled; `anyport keys enable key_" in rotated.stderr
    assert rotated.stdout.count("\n") == 1


def test_a_name_of_several_keys_is_none(run: Run) -> None:
    for _ in range(2):
        assert run("keys", "create", "--name", "twin").exit_code == 0
    result = run("keys", "disable", "twin")
    assert (result.exit_code, "several keys are called 'twin'" in result.stderr) == (1, True)


@pytest.mark.parametrize("group", ["teams", "projects"])
def test_a_name_of_a_team_or_project_is_taken_once(run: Run, group: str) -> None:
    for name in ("search", "other"):
        assert run(group, "create", "--name", name).exit_code == 0
    for arguments in (("create", "--name", "search"), ("change", "other", "--name", "search")):
        result = run(group, *arguments)
        assert (result.exit_code, "name: another" in result.stderr) == (1, True), result.stderr
    assert run(group, "change", "other", "--name", "other", "--rpm", "5").exit_code == 0
    assert run(group, "show", "search").exit_code == 0


def test_what_is_not_named_in_a_change_stays(run: Run) -> None:
    run("teams", "create", "--name", "search", "--rpm", "60", "--tpm", "1000", "--budget", "10/month")
    changed = run("teams", "change", "search", "--rpm", "none", "--in-flight", "3", "--name", "found", "--json")
    assert changed.exit_code == 0, changed.output
    team = json.loads(changed.stdout)
    assert (team["name"], team["budgets"]) == ("found", [{"usd": "10", "window": "month"}])
    assert team["limits"] == {"requests_per_minute": None, "tokens_per_minute": 1000, "max_in_flight": 3}
    changed = run("teams", "change", "found", "--budget", "1/day", "--budget", "5", "--json")
    assert json.loads(changed.stdout)["budgets"] == [{"usd": "1", "window": "day"}, {"usd": "5", "window": "total"}]
    run("teams", "change", "found", "--budget", "none")
    shown = json.loads(run("teams", "show", team["id"], "--json").stdout)
    assert (shown["budgets"], shown["limits"]) == ([], team["limits"])


def test_keys_and_projects_change_whom_they_belong_to(run: Run) -> None:
    run("teams", "create", "--name", "search")
    run("projects", "create", "--name", "crawler")
    run("keys", "create", "--name", "bot", "--route", "demo/*", "--expires", "1d")
    project = json.loads(run("projects", "change", "crawler", "--team", "search", "--json").stdout)
    key = json.loads(run("keys", "change", "bot", "--project", "crawler", "--rpm", "5", "--json").stdout)
    assert project["team_id"].startswith("team_")
    assert (key["project_id"], key["limits"]["requests_per_minute"]) == (project["id"], 5)
    assert (key["routes"], key["expires_at_ms"] is None) == (["demo/*"], False)
    arguments = ("--project", "none", "--route", "none", "--expires", "none")
    key = json.loads(run("keys", "change", "bot", *arguments, "--json").stdout)
    assert (key["project_id"], key["routes"], key["expires_at_ms"]) == ("", [], None)


def test_a_team_is_deleted_when_nothing_belongs_to_it(run: Run) -> None:
    run("teams", "create", "--name", "search")
    run("projects", "create", "--name", "crawler", "--team", "search")
    refused = run("teams", "delete", "search")
    assert (refused.exit_code, "belongs to it" in refused.stderr) == (1, True)
    assert "project crawler (project_" in run("projects", "delete", "crawler").stdout
    assert run("teams", "delete", "search").exit_code == 0
    assert "there is no team 'search'" in run("teams", "show", "search").stderr


def test_who_changed_what_is_listed(run: Run) -> None:
    run("teams", "create", "--name", "search")
    team = json.loads(run("teams", "change", "search", "--rpm", "5", "--json").stdout)
    run("projects", "create", "--name", "crawler")
    listed = run("audit")
    assert re.search(r"\n3 +2\d{3}-.*Z +command line +project.create +project:", listed.stdout)
    page = json.loads(run("audit", "--subject", f"team:{team['id']}", "--json").stdout)
    assert [each["action"] for each in page["data"]] == ["team.change", "team.create"]
    older = run("audit", "--limit", "1", "--before", "3")
    assert ("team.change" in older.stdout, "`--before 2` shows them" in older.stderr) == (True, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("teams", "change", "search", "--rpm", "-1"), 2, "neither a whole number nor `none`"),
        (("teams", "change", "search", "--rpm", "∞"), 2, "neither a whole number nor `none`"),
        (("teams", "change", "search", "--budget", "-1/day"), 2, "--budget: '-1/day' must be between 0"),
        (("teams", "change", "none", "--rpm", "1"), 1, "there is no team 'none'"),
        (("keys", "create", "--name", "a", "--expires", "-1d"), 2, "--expires: '-1d' is no time"),
        (("keys", "create", "--name", "a", "--expires", "9999999w"), 1, "expires_at_ms"),
        (("audit", "--limit", "0"), 2, "greater than or equal to 1"),
    ],
)
def test_a_change_that_cannot_be_is_said(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    run("teams", "create", "--name", "search")
    result = run(*arguments)
    assert (result.exit_code, said in words(result)) == (code, True), result.stderr
