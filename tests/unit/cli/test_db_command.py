"""`anyport db`: upgrade and current."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import build_app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), list(arguments), env={"ANYPORT_DATA_DIR": None, "ANYPORT_CONFIG": None})


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_upgrade_makes_the_tables_and_current_shows_them(directory: Path) -> None:
    before = run("db", "current")
    assert (before.exit_code, before.stdout) == (1, "")
    assert "`anyport db upgrade` makes it" in before.stderr
    assert run("db", "upgrade").exit_code == run("db", "upgrade").exit_code == 0
    after = run("db", "current")
    place = f"sqlite at {directory}/.anyport/anyport.db"
    assert (after.exit_code, after.stdout) == (0, f"{place}: tables 0003, up to date\n")
    told = json.loads(run("db", "current", "--json").stdout)
    assert told == {"place": place, "found": "0003", "needed": "0003"}


def test_an_empty_database_is_not_current(directory: Path) -> None:
    (directory / ".anyport").mkdir()
    (directory / ".anyport" / "anyport.db").touch()
    result = run("db", "current")
    assert result.exit_code == 1
    assert "no tables, this version needs 0003; run `anyport db upgrade`" in result.stdout


def test_a_place_that_cannot_be_used_is_named_with_its_line(directory: Path) -> None:
    (directory / "file").touch()
    (directory / "anyport.yaml").write_text(
        f"server: {{port: 9000}}\nstorage:\n  url: sqlite:///{directory}/file/x.db\n"
    )
    result = run("db", "upgrade")
    assert result.exit_code == 2
    assert result.stderr.startswith("anyport.yaml:3:8  storage.url  ")
    assert "cannot be written" in result.stderr


def test_a_server_that_is_away_ends_the_command_without_the_password(directory: Path) -> None:
    (directory / "anyport.yaml").write_text("storage: {url: 'postgresql://u:hunter2@127.0.0.1:1/base'}\n")
    for command in ("upgrade", "current"):
        result = run("db", command)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "postgresql at 127.0.0.1:1/base: " in result.stderr
        assert "hunter2" not in result.output


@pytest.mark.parametrize("url", ["hunter2", "sqlite:///x?mode=ro", "mysql://u:hunter2@h/d"])
def test_other_urls_are_faults_of_the_file(directory: Path, url: str) -> None:
    (directory / "anyport.yaml").write_text(f"storage: {{url: '{url}'}}\n")
    result = run("db", "current")
    assert result.exit_code == 2
    assert "storage.url" in result.stderr
    assert "hunter2" not in result.output
