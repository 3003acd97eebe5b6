"""Keys and their limits where several processes serve: known to all, and counted by all together or not at all."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.process import clean_environ, run_gateway
from tests.e2e.stage import Stage
from tests.reload.gateway import ADMIN_KEY, HELLO, Running, Start, settings, until

DEAD_SECONDS = 5.0
"""How long a key that was disabled may work on anywhere."""
LIMITED: Any = [
    ("keys", {"name": "bot", "limits": {"requests_per_minute": 5}}, "limits"),
    ("teams", {"name": "search", "budgets": [{"usd": "1", "window": "day"}]}, "budgets"),
    ("projects", {"name": "crawler", "limits": {"max_in_flight": 1}}, "limits"),
]


def anyport(directory: Path, *arguments: str) -> str:
    """Runs a command beside the configuration and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=directory,
        env=clean_environ({}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def admin(gateway: Running, method: str, path: str, **body: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    return httpx2.request(method, f"{gateway.admin_url}/admin/{path}", headers=headers, json=body, timeout=30)


def statuses(gateway: Running, key: str, count: int = 24) -> list[int]:
    """Returns what so many requests are answered with, each on a connection of its own: so all workers are asked."""
    headers = {"authorization": f"Bearer {key}"}
    url, body = f"{gateway.url}/v1/chat/completions", {"model": "main", "messages": HELLO}
    return [httpx2.post(url, headers=headers, json=body, timeout=30).status_code for _ in range(count)]


def test_a_key_works_and_is_dead_in_all_workers_soon(start: Start) -> None:
    gateway = start("--no-watch")
    made = admin(gateway, "POST", "keys", name="bot").json()
    until(lambda: set(statuses(gateway, made["key"])) == {200}, DEAD_SECONDS + 10)
    assert admin(gateway, "POST", f"keys/{made['id']}/disable").status_code == 200
    disabled = time.monotonic()
    until(lambda: set(statuses(gateway, made["key"])) == {401}, DEAD_SECONDS + 10)
    assert time.monotonic() - disabled < DEAD_SECONDS + 10  # the machine of tests is a busy one


@pytest.mark.parametrize(("path", "wishes", "field"), LIMITED)
def test_limits_that_nobody_could_count_are_refused_where_they_are_made(
    start: Start, path: str, wishes: dict[str, Any], field: str
) -> None:
    gateway = start("--no-watch")
    refused = admin(gateway, "POST", path, **wishes)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_value", field)
    assert "set state.url to redis://" in error["message"]
    free = admin(gateway, "POST", path, name="free").json()
    assert admin(gateway, "PATCH", f"{path}/{free['id']}", **wishes).status_code == 400
    assert admin(gateway, "GET", path).json()["data"] == [_without_key(free)]


def _without_key(owner: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in owner.items() if name != "key"}


def test_workers_do_not_start_beside_limits_that_nobody_could_count(tmp_path: Path) -> None:
    config = "discovery: {enabled: false}\nstate:\n  url: memory://\n"
    (tmp_path / "anyport.yaml").write_text(config)
    anyport(tmp_path, "keys", "create", "--name", "plain")
    anyport(tmp_path, "keys", "create", "--name", "held-short", "--rpm", "5")
    code, said = run_gateway(tmp_path, "--workers", "2", "--port", "0", config=config)
    assert code == 2
    assert "anyport.yaml:3:8  state.url  limits and budgets" in said
    assert "'held-short' has some" in said
    assert "Traceback" not in said


def test_limits_that_are_made_behind_the_back_of_workers_are_in_the_log(start: Start) -> None:
    gateway = start("--no-watch")
    anyport(gateway.directory, "keys", "create", "--name", "held-short", "--rpm", "5")
    gateway.gateway.wait_for("'held-short' is allowed more than its limits: limits and budgets of keys")


def test_a_disabled_key_with_limits_keeps_no_workers_from_starting(tmp_path: Path, scripted: Stage) -> None:
    (tmp_path / "anyport.yaml").write_text("{}")
    anyport(tmp_path, "keys", "create", "--name", "old", "--rpm", "5")
    anyport(tmp_path, "keys", "disable", "old")
    gateway = Running(tmp_path, settings(scripted.url), ("--workers", "2", "--no-watch"))
    gateway.stop()


def test_a_reload_does_not_take_away_what_limits_are_counted_by(tmp_path: Path, scripted: Stage) -> None:
    (tmp_path / "anyport.yaml").write_text("{}")
    anyport(tmp_path, "keys", "create", "--name", "held-short", "--rpm", "5")
    # Nobody is there: that Redis is away keeps nobody from serving.
    away = settings(scripted.url, state={"url": "redis://127.0.0.1:9/0"})
    gateway = Running(tmp_path, away, ("--workers", "2", "--no-watch"))
    try:
        gateway.write(settings(scripted.url))
        refused = gateway.reload()
        assert refused.status_code == 422
        (fault,) = refused.json()["error"]["details"]["faults"]
        assert (fault["path"], "'held-short' has some" in fault["message"]) == ("state.url", True)
    finally:
        gateway.stop()
