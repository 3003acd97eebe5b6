"""Routes and deployments over the admin API: what there is, and rests that an operator ends."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stage import Stage
from tests.http.events import Listener
from tests.http.test_admin import ADMIN_KEY, ANSWER, Running
from tests.upstreams.scripted import json_response


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Stage() as stage:
        running = Running(tmp_path_factory.mktemp("live"), stage)
        yield running
        assert running.process.stop() == 0


def state(running: Running, name: str) -> Any:
    return {each["deployment"]: each for each in running.ask("GET", "/admin/deployments").json["data"]}[name]


def test_routes_are_listed_with_their_deployments(running: Running) -> None:
    found = {each["route"]: each for each in running.ask("GET", "/admin/routes").json["data"]}
    assert found["own"] == {
        "route": "own",
        "aliases": [],
        "strategy": "weighted",
        "deployments": ["mine"],
        "lacking": {},
        "fallbacks": [],
        "mirror": "",
        "is_served": True,
        "reason": "",
    }
    assert set(found) == {"r", "own", "cold"}


def test_a_pause_that_the_provider_asked_for_is_ended(running: Running) -> None:
    running.stage.play(json_response({}, 503, [("retry-after", "600")]))
    assert running.chat("a/paused").status == 503
    assert state(running, "a/paused")["obstacle"] == "cooling down"
    reply = running.ask("POST", "/admin/deployments/a/paused/reset")
    assert (reply.status, reply.json["obstacle"], reply.json["cooling_seconds"]) == (200, "", 0.0)
    running.stage.play(json_response(ANSWER))
    assert running.chat("a/paused").status == 200


def test_the_rests_of_its_keys_end_with_it(running: Running) -> None:
    running.stage.play(json_response({}, 429, [("retry-after", "600")]))
    assert running.chat("a/limited").status == 429
    running.stage.play(json_response(ANSWER))
    assert running.chat("a/limited").status == 429
    assert running.ask("POST", "/admin/deployments/a/limited/reset").status == 200
    assert running.chat("a/limited").status == 200


def test_an_ejection_is_ended_and_told(running: Running) -> None:
    running.stage.play(json_response({}, 500))
    for _ in range(4):
        running.chat("a/broken")
    assert state(running, "a/broken")["consecutive_failures"] >= 5
    listener = Listener(running.admin_port, ADMIN_KEY, "?types=return")
    assert running.ask("POST", "/admin/deployments/a/broken/reset").json["obstacle"] == ""
    assert listener.wait_for("return").data["deployment"] == "a/broken"
    listener.close()
    assert state(running, "a/broken")["consecutive_failures"] == 0


def test_it_is_in_the_audit_log(running: Running) -> None:
    running.ask("POST", "/admin/deployments/a/one/reset")
    (row,) = running.ask("GET", "/admin/audit?subject=deployment:a/one").json["data"]
    assert (row["actor"], row["action"]) == ("admin API", "deployment.reset")


def test_a_deployment_that_is_not_there_is_not_found(running: Running) -> None:
    reply = running.ask("POST", "/admin/deployments/a/none/reset")
    assert (reply.status, reply.code) == (404, "unknown_url")
    assert "there is no deployment 'a/none'" in reply.json["error"]["message"]


def test_what_the_audit_log_cannot_be_told_does_not_happen(tmp_path: Path) -> None:
    with Stage() as stage:
        running = Running(tmp_path, stage)
        stage.play(json_response({}, 503, [("retry-after", "600")]))
        running.chat("a/paused")
        assert running.ask("GET", "/admin/audit").status == 200  # whoever wants something of storage makes it
        (database,) = tmp_path.rglob("anyport.db")
        import sqlite3

        with sqlite3.connect(database) as connection:
            connection.execute("alter table anyport_meta rename to anyport_hidden")
        reply = running.ask("POST", "/admin/deployments/a/paused/reset")
        assert (reply.status, reply.code) == (503, "ledger_unavailable")
        assert state(running, "a/paused")["obstacle"] == "cooling down"
        running.process.stop()


def test_the_commands_do_the_same_through_the_gateway(running: Running) -> None:
    def done(*arguments: str) -> str:
        code, text, errors = running.command(*arguments)
        assert (code, "directly in storage" in errors) == (0, False), errors
        return text

    done("teams", "create", "--name", "search", "--rpm", "5")
    done("projects", "create", "--name", "crawler", "--team", "search")
    changed = json.loads(done("teams", "change", "search", "--tpm", "100", "--budget", "1/day", "--json"))
    assert changed["limits"] == {"requests_per_minute": 5, "tokens_per_minute": 100, "max_in_flight": None}
    code, _, errors = running.command("teams", "delete", "search")
    assert (code, "belongs to it" in errors) == (1, True)
    done("projects", "change", "crawler", "--team", "none")
    assert "is deleted" in done("teams", "delete", "search")
    page = json.loads(done("audit", "--subject", f"team:{changed['id']}", "--json"))
    assert [(each["action"], each["actor"]) for each in page["data"]] == [
        ("team.delete", "admin API"),
        ("team.change", "admin API"),
        ("team.create", "admin API"),
    ]


def test_whoever_meddled_with_the_audit_log_is_found_out_by_a_command(tmp_path: Path) -> None:
    with Stage() as stage:
        running = Running(tmp_path, stage)
        for name in ("one", "two"):
            assert running.command("teams", "create", "--name", name)[0] == 0
        code, text, _ = running.command("audit", "--verify")
        assert (code, text.startswith("2 entries are as they were written; the last digest is ")) == (0, True)
        database = sqlite3.connect(running.directory / ".anyport" / "anyport.db", timeout=20)
        database.execute("UPDATE anyport_audit SET actor = 'nobody' WHERE sequence = 2")
        database.commit()
        database.close()
        code, text, _ = running.command("audit", "--verify")
        assert (code, text.startswith("entry 2 was changed, or is missing")) == (1, True)
        assert running.ask("GET", "/admin/audit/verdict").json["broken_at"] == 2
        running.process.stop()
