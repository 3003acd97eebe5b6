"""What storage says at a start: what can never work is refused with its place, and what is only away is waited for."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.answers import completion
from tests.e2e.process import GatewayProcess, run_gateway, start_gateway
from tests.e2e.stage import Stage
from tests.upstreams.scripted import json_response
from tests.workers.test_keys import anyport

HEAD = "server: {access_log: 'off'}\ndiscovery: {enabled: false}\n"
HELLO: Any = [{"role": "user", "content": "hello"}]
ECHO: Any = {"model": "demo/echo", "messages": HELLO}
AWAY = "storage:\n  url: postgresql://user:hunter2@127.0.0.1:9/base\n"


@pytest.mark.parametrize(
    ("storage", "place", "reason", "workers"),
    [
        ("  url: mysql://user:hunter2@host/base\n", "anyport.yaml:4:8  storage.url", "sqlite:///", "1"),
        ("  url: postgresql://user:hunt/er2@host/base\n", "anyport.yaml:4:8  storage.url", "as %XX", "2"),
        (
            "  url: postgresql://user:hunter2@127.0.0.1:9/b?sslmode=perhaps\n",
            "anyport.yaml:4:8  storage.url",
            "options",
            "1",
        ),
        ("  url: sqlite:///taken/base.db\n", "anyport.yaml:4:8  storage.url", "cannot be written", "1"),
        ("  url: sqlite:///taken\n", "anyport.yaml:4:8  storage.url", "is broken, or no database", "2"),
        ("  directory: taken\n", "anyport.yaml:4:14  storage.directory", "taken", "1"),
    ],
)
def test_storage_that_can_never_be_used_lets_nothing_start(
    tmp_path: Path, storage: str, place: str, reason: str, workers: str
) -> None:
    (tmp_path / "taken").write_text("a file, where a directory or a database should be" * 50)
    code, said = run_gateway(tmp_path, "--port", "0", "--workers", workers, config=f"{HEAD}storage:\n{storage}")
    assert code == 2
    assert place in said
    assert reason in said
    assert "hunt" not in said
    assert "Traceback" not in said


def test_a_database_of_a_newer_version_lets_nothing_start(tmp_path: Path) -> None:
    (tmp_path / "anyport.yaml").write_text(HEAD)
    anyport(tmp_path, "keys", "create", "--name", "first")
    with sqlite3.connect(tmp_path / ".anyport" / "anyport.db") as database:
        database.execute("UPDATE anyport_revision SET version_num = '9999'")
    database.close()
    code, said = run_gateway(tmp_path, "--port", "0", config=HEAD)
    assert code == 2
    assert "was written by a newer version of Anyport" in said
    assert "run that version, or restore a backup" in said
    assert "Traceback" not in said


def test_a_database_that_is_away_keeps_nobody_from_starting(tmp_path: Path) -> None:
    config = f"{HEAD}{AWAY}".replace("access_log: 'off'", "access_log: 'off', api_keys: [sk-of-a-client]")
    process = started(tmp_path, config)
    answer = ask(process, "sk-of-a-client")
    assert answer.json()["choices"][0]["message"]["content"] == "hello"
    assert ask(process, "sk-anyport-of-somebody").status_code == 503
    assert process.stop() == 0
    assert "hunter2" not in process.errors


def test_while_nobody_knows_whether_there_are_keys_nobody_passes(tmp_path: Path) -> None:
    process = started(tmp_path, f"{HEAD}{AWAY}", "--host", "0.0.0.0")
    for key in (None, "sk-anyport-of-somebody"):
        answer = ask(process, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "keys_unavailable")
    assert process.stop() == 0


def test_a_virtual_key_closes_the_door_as_a_key_of_the_file_does(tmp_path: Path) -> None:
    code, said = run_gateway(tmp_path, "--port", "0", "--host", "0.0.0.0", config=HEAD)
    assert code == 2
    assert "`anyport keys create --name NAME`" in said
    key = anyport(tmp_path, "keys", "create", "--name", "first")
    process = started(tmp_path, HEAD, "--host", "0.0.0.0")
    process.wait_for(f"Keys and usage are kept in {tmp_path / '.anyport'}")
    assert ask(process, None).status_code == 401
    assert ask(process, key).status_code == 200
    assert process.stop() == 0


def test_no_request_waits_for_what_is_read_only_once(stage: Stage, tmp_path: Path) -> None:
    stage.play(json_response(completion("Hi")))
    config = f"{HEAD}providers: {{mine: {{base_url: '{stage.url}/v1', requires_credential: false}}}}\n"
    process = started(tmp_path, config, environ={"PYTHONPROFILEIMPORTTIME": "1"})
    process.wait_for("| genai_prices.data\n")  # before the first request
    said = process.wait_for("curl")
    body = {"model": "mine/m", "messages": HELLO}
    assert httpx2.post(f"{process.url}/v1/chat/completions", json=body, timeout=30).status_code == 200
    imported = [line for line in process.errors[len(said) :].splitlines() if line.startswith("import time:")]
    assert process.stop() == 0
    assert [line for line in imported if "price" in line] == []


def started(directory: Path, config: str, *arguments: str, **more: Any) -> GatewayProcess:
    process = start_gateway(directory, config=config, arguments=("--port", "0", *arguments), **more)
    process.wait_until_ready()
    process.url = process.url.replace("0.0.0.0", "127.0.0.1")
    return process


def ask(process: GatewayProcess, key: str | None) -> httpx2.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return httpx2.post(f"{process.url}/v1/chat/completions", headers=headers, json=ECHO, timeout=30)
