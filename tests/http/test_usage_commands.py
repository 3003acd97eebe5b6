"""`anyport usage` beside a running gateway, and without one."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import build_app
from tests.http.ledgered import FILE_KEY, Ledgered
from tests.state.server import free_port

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledgered]:
    one = Ledgered(
        tmp_path_factory.mktemp("commands"), admin_port=free_port(), api_keys=[{"key": FILE_KEY, "name": "of-file"}]
    )
    yield one
    one.stop()


@pytest.fixture
def run(gateway: Ledgered, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("ANYPORT_CONFIG", raising=False)
    monkeypatch.chdir(gateway.directory)
    return lambda *arguments: CliRunner().invoke(build_app(), ["usage", *arguments])


def test_sums_are_a_table_with_exact_money_and_a_total(gateway: Ledgered, run: Run) -> None:
    keys = [gateway.made("keys", name=name) for name in ("laptop", "server")]
    costs = [gateway.chat(each["key"], model) for each in keys for model in ("fast", "slow", "fast")]
    by_route = run("--by", "key,route")
    assert by_route.exit_code == 0, by_route.output
    head, *lines = by_route.stdout.splitlines()
    assert head.split() == [
        *("KEY", "ROUTE", "REQUESTS", "ERRORS", "INPUT", "CACHED", "OUTPUT", "REASONING", "UNPRICED", "USD")
    ]
    found = next(line for line in lines if line.startswith(f"laptop ({keys[0]['id']})") and " fast " in line)
    assert found.split()[3] == "2"
    assert round(float(found.split()[-1]) * 10**9) == costs[0] + costs[2]
    assert lines[-1].startswith("total")
    laptop = run("--by", "", "--key", "laptop", "--json", "--from", "2026-01-01")
    (row,) = json.loads(laptop.stdout)["data"]
    assert (row["requests"], row["cost_nano_usd"]) == (3, sum(costs[:3]))


def test_the_same_is_to_be_had_by_time_and_as_csv(gateway: Ledgered, run: Run) -> None:
    made = gateway.made("keys", name="hourly")
    gateway.chat(made["key"])
    shown = run("--by", "provider", "--per", "hour", "--key", made["id"], "--csv")
    (row,) = csv.DictReader(shown.stdout.splitlines())
    assert (row["provider"], row["requests"]) == ("demo", "1")
    assert row["hour"].endswith(":00Z")


@pytest.mark.parametrize("word", ["key", "team", "project"])
def test_an_owner_that_never_was_is_an_error_that_names_it(gateway: Ledgered, run: Run, word: str) -> None:
    made = gateway.made(f"{word}s", name=f"known {word}")
    for known in ((), (f"--{word}", made["id"]), (f"--{word}", made["name"])):
        result = run(*known, f"--{word}", "nope")
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"there is no {word} 'nope'" in result.stderr
    assert run(f"--{word}", made["id"]).exit_code == 0
    for path in ("usage", "usage/snapshot"):
        refused = gateway.admin(f"{path}?{word}={made['id']}&{word}=nope", status=400)["error"]
        assert (refused["code"], refused["param"]) == ("invalid_value", word)
        assert f"there is no {word} 'nope'" in refused["message"]


def test_keys_of_the_file_and_what_was_deleted_are_known_by_what_they_have_used(gateway: Ledgered, run: Run) -> None:
    team = gateway.made("teams", name="short-lived")
    key = gateway.made("keys", name="moved", team_id=team["id"])
    gateway.chat(key["key"])
    gateway.admin(f"keys/{key['id']}", method="PATCH", team_id=None)
    gateway.admin(f"teams/{team['id']}", method="DELETE")
    (row,) = json.loads(run("--team", team["id"], "--by", "team", "--json").stdout)["data"]
    assert (row["team"], row["requests"]) == (team["id"], 1)
    assert run("--team", "short-lived").exit_code == 1
    assert run("--key", "of-file").exit_code == 0


def test_names_of_today_are_beside_ids(gateway: Ledgered, run: Run) -> None:
    team = gateway.made("teams", name="old name")
    key = gateway.made("keys", name="named", team_id=team["id"])
    before = gateway.directory / "names.json"
    before.write_text(run("snapshot").stdout)
    gateway.chat(key["key"])
    gateway.admin(f"teams/{team['id']}", method="PATCH", name="new name")
    shown = run("--by", "team,key", "--team", "new name", "--csv")
    (row,) = csv.DictReader(shown.stdout.splitlines())
    assert (row["team"], row["team_name"], row["key_name"]) == (team["id"], "new name", "named")
    (owner,) = json.loads(run("delta", str(before), "--json").stdout)["owners"]
    assert (owner["key_name"], owner["team_name"], owner["project_name"]) == ("named", "new name", "")
    assert f"named ({key['id']})" in run("delta", str(before)).stdout


def test_a_task_is_measured_by_two_snapshots(gateway: Ledgered, run: Run) -> None:
    key = gateway.made("keys", name="task")
    gateway.chat(key["key"])
    before = gateway.directory / "before.json"
    before.write_text(run("snapshot").stdout)
    cost = sum(gateway.chat(key["key"], model) for model in ("fast", "slow"))
    since = json.loads(run("delta", str(before), "--json").stdout)
    assert (since["totals"]["requests"], since["totals"]["cost_nano_usd"]) == (2, cost)
    assert [row["key"] for row in since["owners"]] == [key["id"]]
    assert [row["model"] for row in since["models"]] == ["echo"]
    after = gateway.directory / "after.json"
    after.write_text(run("snapshot").stdout)
    assert json.loads(run("delta", str(before), str(after), "--json").stdout)["totals"] == since["totals"]
    assert "demo/echo" in run("delta", str(before)).stdout
    wrong = run("delta", str(after), str(before))
    assert (wrong.exit_code, "wrong order" in wrong.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--by", "colour"), 1, "by must name each of"),
        (("--per", "minute"), 2, "must be day or hour"),
        (("--from", "yesterday"), 1, "from must be a date or a full hour"),
        (("--from", "2026-11-22", "--to", "2026-11-21"), 1, "must be before to"),
        (("--json", "--csv"), 2, "exclude each other"),
        (("delta", "nowhere.json"), 1, "nowhere.json cannot be read"),
        (("delta", "anyport.yaml"), 1, "anyport.yaml is no snapshot"),
    ],
)
def test_what_makes_no_sense_is_said(run: Run, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_without_a_gateway_storage_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Ledgered(tmp_path)
    key = gateway.made("keys", name="mine")
    cost = gateway.chat(key["key"])
    gateway.stop()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANYPORT_CONFIG", raising=False)
    result = CliRunner().invoke(build_app(), ["usage", "--by", "key", "--json"])
    assert "directly from storage" in result.stderr
    (row,) = json.loads(result.stdout)["data"]
    assert (row["key"], row["key_name"], row["cost_nano_usd"]) == (key["id"], "mine", cost)
    counters = json.loads(CliRunner().invoke(build_app(), ["usage", "snapshot"]).stdout)
    assert counters["totals"]["cost_nano_usd"] == cost
