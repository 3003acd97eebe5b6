"""Single requests, as an operator asks for them: by pages, and one with what it asked if its key keeps that."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from typer.testing import CliRunner, Result

from gateway.cli.main import build_app
from tests.http.ledgered import Ledgered
from tests.state.server import free_port

Run = Callable[..., Result]
CANARY = "canary-of-a-prompt"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledgered]:
    one = Ledgered(tmp_path_factory.mktemp("requests"), admin_port=free_port())
    yield one
    one.stop()


@pytest.fixture
def run(gateway: Ledgered, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("ANYPORT_CONFIG", raising=False)
    monkeypatch.chdir(gateway.directory)
    return lambda *arguments: CliRunner().invoke(build_app(), ["requests", *arguments])


def ask(gateway: Ledgered, key: str, text: str = CANARY, **headers: str) -> str:
    """Makes a request and returns the id that its client is told."""
    body = {"model": "fast", "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": f"Bearer {key}", **headers}
    answer = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-request-id"]


def audited(gateway: Ledgered, id: str) -> list[str]:
    page = gateway.admin(f"audit?subject={quote(f'request:{id}')}")
    return [f"{each['actor']}: {each['action']}" for each in page["data"]]


def test_requests_come_by_pages_the_newest_first_and_without_what_they_asked(gateway: Ledgered) -> None:
    made = gateway.made("keys", name="pages", keeps_content=True)
    ids = [ask(gateway, made["key"]) for _ in range(5)]
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = gateway.admin(f"requests?key={made['id']}&limit=2{after}")
        found += page["data"]
        if not page["has_more"]:
            break
        after = f"&after={found[-1]['id']}"
    assert sorted(each["id"] for each in found) == sorted(ids)
    assert [each["at_ms"] for each in found] == sorted((each["at_ms"] for each in found), reverse=True)
    assert CANARY not in json.dumps(found)
    assert all("content" not in each and each["key_id"] == made["id"] for each in found)
    assert {each["cost_usd"] is None for each in found} == {False}


def test_they_can_be_asked_for_by_time_and_by_whether_they_failed(gateway: Ledgered) -> None:
    made = gateway.made("keys", name="times")
    ask(gateway, made["key"])
    (one,) = gateway.admin(f"requests?key={made['id']}")["data"]
    at = quote(one["at"])
    assert len(gateway.admin(f"requests?key={made['id']}&from={at}")["data"]) == 1
    assert gateway.admin(f"requests?key={made['id']}&to={at}")["data"] == []
    assert gateway.admin(f"requests?key={made['id']}&errors=true")["data"] == []
    assert len(gateway.admin(f"requests?key={made['id']}&errors=false")["data"]) == 1


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=yesterday", "from must be a date or a time"),
        ("after=req_nobody", "there is no request 'req_nobody'"),
        ("errors=perhaps", "errors must be one of true, false"),
        ("limit=1001", "limit must be between 1 and 1000"),
        ("model=fast", "unknown parameter 'model'"),
    ],
)
def test_what_is_wrong_is_named(gateway: Ledgered, query: str, said: str) -> None:
    assert said in gateway.admin(f"requests?{query}", status=400)["error"]["message"]


def test_content_is_shown_with_the_request_and_each_reading_is_audited(gateway: Ledgered) -> None:
    id = ask(gateway, gateway.made("keys", name="keeper", keeps_content=True)["key"])
    assert audited(gateway, id) == []
    for count in (1, 2):
        content = gateway.admin(f"requests/{id}")["content"]
        assert json.loads(content["request"])["messages"][0]["content"] == CANARY
        assert json.loads(content["answer"])["object"] == "chat.completion"
        assert content["request_bytes"] == len(content["request"])
        assert audited(gateway, id) == ["admin API: request.read"] * count


def test_of_a_key_that_keeps_nothing_there_is_nothing_to_read(gateway: Ledgered) -> None:
    id = ask(gateway, gateway.made("keys", name="plain")["key"])
    shown = gateway.admin(f"requests/{id}")
    assert (shown["id"], shown["content"]) == (id, None)
    assert audited(gateway, id) == []


def test_a_request_whose_client_chose_the_id_is_found_by_the_whole_of_it(gateway: Ledgered) -> None:
    made = gateway.made("keys", name="chosen")
    ask(gateway, made["key"], **{"x-request-id": "mine"})
    (one,) = gateway.admin(f"requests?key={made['id']}")["data"]
    assert one["id"].startswith("mine/")
    assert gateway.admin(f"requests/{one['id']}")["id"] == one["id"]
    assert "there is no request 'mine'" in gateway.admin("requests/mine", status=404)["error"]["message"]


def test_the_commands_list_and_show_them(gateway: Ledgered, run: Run) -> None:
    id = ask(gateway, gateway.made("keys", name="commands", keeps_content=True)["key"])
    listed = run("list", "--key", "commands")
    assert listed.exit_code == 0, listed.output
    head, line = listed.stdout.splitlines()
    assert head.split()[:4] == ["TIME", "ID", "KEY", "MODEL"]
    assert id in line and CANARY not in line
    (one,) = json.loads(run("list", "--key", "commands", "--json").stdout)["data"]
    assert one["id"] == id
    shown = run("show", id)
    assert shown.exit_code == 0, shown.output
    assert "request (" in shown.stdout and CANARY in shown.stdout
    assert json.loads(run("show", id, "--json").stdout)["content"]["request"].count(CANARY) == 1
    missing = run("show", "req_nobody")
    assert missing.exit_code == 1
    assert "there is no request" in missing.output


def test_without_a_gateway_the_commands_ask_storage_and_are_audited_as_what_they_are(tmp_path: Path, run: Run) -> None:
    one = Ledgered(tmp_path)
    key = one.made("keys", name="away", keeps_content=True)["key"]
    id = ask(one, key)
    one.stop()
    config = tmp_path / "anyport.yaml"
    config.write_text(json.dumps({**one.config, "admin": {}}))
    shown = run("show", id, "--config", str(config))
    assert shown.exit_code == 0, shown.output
    assert CANARY in shown.stdout
    listed = run("list", "--config", str(config), "--json")
    assert [each["id"] for each in json.loads(listed.stdout)["data"]] == [id]
    audit = CliRunner().invoke(build_app(), ["audit", "--subject", f"request:{id}", "--config", str(config)])
    assert "command line" in audit.stdout and "request.read" in audit.stdout
