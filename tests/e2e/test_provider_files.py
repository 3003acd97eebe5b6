"""`anyport providers add` and `remove`, and a gateway that serves what they wrote without being started again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.process import GatewayProcess, clean_environ, start_gateway
from tests.e2e.stage import Stage
from tests.upstreams.scripted import json_response

SECONDS = 20.0
ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
}


def anyport(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "providers", *arguments],
        cwd=directory,
        env=clean_environ(environ),
        capture_output=True,
        text=True,
        timeout=60,
    )


def status(url: str, model: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=SECONDS).status_code


def becomes(ask: Callable[[], object], wanted: object) -> bool:
    deadline = time.monotonic() + SECONDS
    while (found := ask()) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    return found == wanted


@pytest.fixture
def running(tmp_path: Path) -> Iterator[GatewayProcess]:
    process = start_gateway(tmp_path, environ={"ANYPORT_DATA_DIR": str(tmp_path / "data"), "ACME_KEY": "acme-key-1"})
    process.wait_until_ready()
    yield process
    assert process.stop() == 0


def test_an_added_provider_is_served_and_a_removed_one_is_not(
    running: GatewayProcess, tmp_path: Path, scripted: Stage
) -> None:
    scripted.play(json_response(ANSWER))
    url = f"{scripted.url}/v1"
    assert status(running.url, "acme/m") == 404
    added = anyport(tmp_path, "add", "--name", "acme", "--url", url, "--key-env", "ACME_KEY", ACME_KEY="acme-key-1")
    assert (added.returncode, added.stderr) == (0, "")
    assert (tmp_path / "providers.d/acme.yaml").read_text() == (
        f"# Written by `anyport providers add`.\nbase_url: {url}\ncredential_envs:\n- ACME_KEY\n"
    )
    assert scripted.looks[0].headers["authorization"] == "Bearer acme-key-1"
    assert becomes(lambda: status(running.url, "acme/m"), 200)
    assert scripted.last.headers["authorization"] == "Bearer acme-key-1"
    again = anyport(tmp_path, "add", "--name", "acme", "--url", url)
    assert (again.returncode, again.stderr) == (
        1,
        "'acme' is a name of the provider 'acme' already; choose another one\n",
    )
    removed = anyport(tmp_path, "remove", "acme")
    assert (removed.returncode, removed.stdout) == (0, "removed providers.d/acme.yaml\n")
    assert becomes(lambda: status(running.url, "acme/m"), 404)


def test_a_server_of_anthropics_kind_gets_its_key_as_anthropic_wants_it(tmp_path: Path, scripted: Stage) -> None:
    scripted.play(json_response({"data": []}))
    name = ("--name", "claude-here", "--url", scripted.url, "--protocol", "anthropic", "--key-env", "K")
    added = anyport(tmp_path, "add", *name, "--json", K="key-1")
    assert added.returncode == 0, added.stderr
    said = json.loads(added.stdout)
    assert (said["file"], said["status"]) == ("providers.d/claude-here.yaml", "ok")
    look = scripted.looks[0].headers
    assert (look["x-api-key"], look["anthropic-version"]) == ("key-1", "2023-06-01")


def test_a_server_that_does_not_answer_is_added_and_said_to_be_offline(tmp_path: Path) -> None:
    added = anyport(tmp_path, "add", "--name", "later", "--url", "http://127.0.0.1:9/v1")
    assert added.returncode == 1
    assert "OFFLINE" in added.stdout
    assert (
        added.stderr
        == "providers.d/later.yaml is written all the same; `anyport providers remove later` takes it away\n"
    )


@pytest.mark.parametrize("name", ["openai", "GPT", "../up", "Mine", "a b"])
def test_a_name_that_is_taken_or_none_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    added = anyport(tmp_path, "add", "--name", name, "--url", "http://127.0.0.1:9/v1")
    assert added.returncode in (1, 2)
    assert name in added.stderr
    assert list(tmp_path.rglob("*.yaml")) == []


def test_a_provider_that_a_route_names_is_not_removed(tmp_path: Path) -> None:
    anyport(tmp_path, "add", "--name", "acme", "--url", "http://127.0.0.1:9/v1")
    (tmp_path / "anyport.yaml").write_text("routes: {fast: {deployments: [{model: acme/m}]}}\n")
    removed = anyport(tmp_path, "remove", "acme")
    assert removed.returncode == 2
    assert "unknown provider 'acme'" in removed.stderr
    assert (tmp_path / "providers.d/acme.yaml").exists()
    other = anyport(tmp_path, "remove", "other")
    assert other.stderr == "no file in providers.d is about 'other'; those that have one: acme\n"
