"""Virtual keys through the admin API of a real process: made, shown once, used, changed, ended."""

from __future__ import annotations

import http.client
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import GatewayProcess, start_gateway

ADMIN_KEY = "admin-canary-0123456789"
CONFIG = {
    "server": {"bad_keys_per_minute": None},
    "discovery": {"enabled": False},
    "admin": {"port": 0, "key": ADMIN_KEY},
    "routes": {"r": {"deployments": [{"model": "demo/echo"}]}, "s": {"deployments": [{"model": "demo/echo"}]}},
}
Reply = tuple[int, dict[str, Any]]


class Gateway:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: GatewayProcess = start_gateway(directory, config=CONFIG)
        self.port = int(self.process.wait_until_ready().rpartition(":")[2])
        found = re.search(r"The admin API is at http://127\.0\.0\.1:(\d+)/admin", self.process.errors)
        assert found
        self.admin_port = int(found[1])

    def admin(self, method: str, path: str, body: Any = None, *, key: str = ADMIN_KEY) -> Reply:
        return self._ask(self.admin_port, method, f"/admin/{path}", body, key)

    def made(self, path: str, **fields: Any) -> dict[str, Any]:
        status, answer = self.admin("POST", path, fields)
        assert status == 200, answer
        return answer

    def chat(self, key: str | None, model: str = "r") -> tuple[int, str | None]:
        body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        status, answer = self._ask(self.port, "POST", "/v1/chat/completions", body, key)
        return status, answer.get("error", {}).get("code")

    def client(self, path: str, key: str) -> Reply:
        return self._ask(self.port, "GET", path, None, key)

    def _ask(self, port: int, method: str, path: str, body: Any, key: str | None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("keys"))
    assert one.chat(None) == (200, None)  # an open gateway, before the first key
    yield one
    assert one.process.stop() == 0
    assert "sk-anyport-" not in one.process.errors


def test_a_key_works_at_once_and_closes_the_gateway(gateway: Gateway) -> None:
    key = gateway.made("keys", name="first")
    assert re.fullmatch(r"sk-anyport-[A-Za-z0-9_-]{43}", key["key"])
    assert key["key"].startswith(key["hint"])
    assert gateway.chat(key["key"]) == (200, None)
    assert gateway.chat(None) == gateway.chat("sk-anyport-else") == (401, "invalid_api_key")


def test_a_key_is_shown_once_and_stored_nowhere(gateway: Gateway) -> None:
    key = gateway.made("keys", name="once")
    shown = gateway.admin("GET", f"keys/{key['id']}")[1]
    assert {**shown, "key": key["key"]} == key
    assert "digest" not in shown
    gateway.chat(key["key"])
    for file in gateway.directory.rglob("*"):
        assert not file.is_file() or key["key"].encode() not in file.read_bytes()


def test_keys_are_disabled_enabled_expired_and_rotated(gateway: Gateway) -> None:
    key = gateway.made("keys", name="life")
    path, first = f"keys/{key['id']}", key["key"]
    assert gateway.admin("POST", f"{path}/disable")[1]["status"] == "disabled"
    assert gateway.chat(first) == (401, "key_revoked")
    assert gateway.admin("POST", f"{path}/enable")[1]["status"] == "active"
    assert gateway.chat(first) == (200, None)
    second = gateway.admin("POST", f"{path}/rotate", {"overlap_seconds": 600})[1]["key"]
    assert gateway.chat(first) == gateway.chat(second) == (200, None)
    third = gateway.admin("POST", f"{path}/rotate")[1]["key"]
    assert gateway.chat(first) == (401, "invalid_api_key")
    assert gateway.chat(second) == (401, "key_revoked")
    assert gateway.chat(third) == (200, None)
    assert gateway.admin("PATCH", path, {"expires_at_ms": 1})[1]["status"] == "expired"
    assert gateway.chat(third) == (401, "key_expired")


def test_a_key_is_for_its_routes_only(gateway: Gateway) -> None:
    key = gateway.made("keys", name="narrow", routes=["r", "demo/*"])["key"]
    assert gateway.chat(key, "r") == gateway.chat(key, "demo/echo") == (200, None)
    assert gateway.chat(key, "s") == (404, "model_not_found")
    listed = gateway.client("/v1/models", key)[1]["data"]
    assert [each["id"] for each in listed] == ["r"]
    assert [gateway.client(f"/v1/models/{name}", key)[0] for name in ("r", "s")] == [200, 404]


def test_teams_projects_and_keys_belong_together(gateway: Gateway) -> None:
    team = gateway.made("teams", name="search", budgets=[{"usd": "10.5", "window": "month"}])
    other = gateway.made("teams", name="other")
    project = gateway.made("projects", name="crawler", team_id=team["id"])
    key = gateway.made("keys", name="bot", project_id=project["id"], limits={"requests_per_minute": 60})
    assert team["budgets"] == [{"usd": "10.5", "window": "month"}]
    assert key["limits"] == {"requests_per_minute": 60, "tokens_per_minute": None, "max_in_flight": None}
    status, answer = gateway.admin("POST", "keys", {"name": "x", "project_id": project["id"], "team_id": other["id"]})
    assert (status, answer["error"]["param"]) == (400, "team_id")
    listed = gateway.admin("GET", f"keys?project_id={project['id']}&prefix=BO")[1]
    assert [each["id"] for each in listed["data"]] == [key["id"]]
    changed = gateway.admin("PATCH", f"teams/{team['id']}", {"budgets": [{"usd": 0.1}], "name": "found"})[1]
    assert (changed["name"], changed["budgets"]) == ("found", [{"usd": "0.1", "window": "total"}])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 1}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a", "colour": 1}, "colour"),
        ({"name": "a", "id": "key_x"}, "id"),
        ({"name": "a", "digest": "x"}, "digest"),
        ({"name": "a", "team_id": "team_none"}, "team_id"),
        ({"name": "a", "routes": ["nothing"]}, "routes"),
        ({"name": "a", "routes": "r"}, "routes"),
        ({"name": "a", "limits": {"rpm": 1}}, "limits.rpm"),
        ({"name": "a", "limits": {"max_in_flight": -1}}, "limits.max_in_flight"),
        ({"name": "a", "limits": {"max_in_flight": True}}, "limits.max_in_flight"),
        ({"name": "a", "expires_at_ms": "tomorrow"}, "expires_at_ms"),
        ({"name": "a", "budgets": [{"usd": 1, "window": "year"}]}, "budgets[0].window"),
        ({"name": "a", "budgets": [{"usd": 1}, {"usd": 2}]}, "budgets[1].window"),
        *(
            ({"name": "a", "budgets": [{"usd": usd}]}, "budgets[0].usd")
            for usd in (
                "NaN",
                "Infinity",
                "-1",
                -0.5,
                1e308,
                "1e308",
                "0.0000000001",
                "ten",
                "",
                None,
                True,
                [],
                10**15,
            )
        ),
    ],
)
def test_what_is_wrong_is_refused_by_name(gateway: Gateway, fields: dict[str, Any], param: str) -> None:
    status, answer = gateway.admin("POST", "keys", fields)
    assert (status, answer["error"]["param"]) == (400, param)
    assert param in answer["error"]["message"]


def test_what_is_not_there_is_not_found(gateway: Gateway) -> None:
    for method, path in (("GET", "keys/none"), ("PATCH", "teams/none"), ("POST", "keys/none/rotate")):
        assert gateway.admin(method, path, {})[0] == 404
    assert gateway.admin("GET", "keys?limit=0")[0] == gateway.admin("GET", "keys?x=1")[0] == 400


def test_a_team_is_taken_away_when_nothing_belongs_to_it(gateway: Gateway) -> None:
    team = gateway.made("teams", name="short")
    project = gateway.made("projects", name="lived", team_id=team["id"])
    key = gateway.made("keys", name="owned", project_id=project["id"])
    status, answer = gateway.admin("DELETE", f"teams/{team['id']}")
    assert status == 400
    assert f"project '{project['id']}'" in answer["error"]["message"]
    status, answer = gateway.admin("DELETE", f"projects/{project['id']}")
    assert (status, f"key '{key['id']}'" in answer["error"]["message"]) == (400, True)
    assert gateway.admin("PATCH", f"keys/{key['id']}", {"project_id": None})[0] == 200
    assert gateway.admin("DELETE", f"projects/{project['id']}") == (200, {"id": project["id"], "deleted": True})
    assert gateway.admin("DELETE", f"teams/{team['id']}")[0] == 200
    assert gateway.admin("GET", f"teams/{team['id']}")[0] == gateway.admin("DELETE", f"teams/{team['id']}")[0] == 404
    rows = gateway.admin("GET", f"audit?subject=team:{team['id']}")[1]["data"]
    assert [row["action"] for row in rows] == ["team.delete", "team.create"]
    assert gateway.chat(key["key"]) == (200, None)
    assert gateway.admin("DELETE", f"keys/{key['id']}")[0] == 405


def test_every_change_is_in_the_audit_log(gateway: Gateway) -> None:
    key = gateway.made("keys", name="noted")
    gateway.admin("POST", f"keys/{key['id']}/disable")
    rows = gateway.admin("GET", f"audit?subject=key:{key['id']}")[1]["data"]
    assert [(row["action"], row["actor"]) for row in rows] == [
        ("key.disable", "admin API"),
        ("key.create", "admin API"),
    ]
    assert rows[1]["details"] == {"name": "noted"}


def test_no_client_comes_near_it(gateway: Gateway) -> None:
    key = gateway.made("keys", name="client")["key"]
    for path in ("keys", "teams", "projects", "audit"):
        assert gateway.admin("GET", path, key=key)[0] == 403
        assert gateway.admin("GET", path, key="wrong")[0] == 401


def test_known_keys_go_on_while_storage_is_locked_away(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    key = gateway.made("keys", name="steady")["key"]
    (database,) = tmp_path.rglob("anyport.db")
    with sqlite3.connect(database) as connection:
        connection.execute("alter table anyport_meta rename to anyport_hidden")
    deadline = time.monotonic() + 20
    while gateway.chat("sk-anyport-else")[0] != 503 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert gateway.chat("sk-anyport-else") == (503, "keys_unavailable")
    assert gateway.chat(key) == (200, None)
    assert gateway.chat("sk-else") == (401, "invalid_api_key")
    with sqlite3.connect(database) as connection:
        connection.execute("alter table anyport_hidden rename to anyport_meta")
    gateway.process.stop()


def test_a_path_says_all_methods_that_it_takes(gateway: Gateway) -> None:
    status, answer = gateway.admin("DELETE", "keys/none")
    assert (status, answer["error"]["code"]) == (405, "method_not_allowed")
    assert "takes GET, PATCH only" in answer["error"]["message"]


def test_changes_at_the_same_time_undo_none_of_each_other(gateway: Gateway) -> None:
    id = gateway.made("keys", name="contested")["id"]
    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            gateway.admin("POST", f"keys/{id}/enable")
            asked = [(f"keys/{id}/disable", "POST", None), (f"keys/{id}", "PATCH", {"tags": [f"t{number}"]})]
            asked += [(f"keys/{id}", "PATCH", {"name": f"name {number}"}), (f"keys/{id}", "PATCH", {"routes": ["r*"]})]
            answers = list(pool.map(lambda one: gateway.admin(one[1], one[0], one[2]), asked))
            assert [status for status, _ in answers] == [200] * len(asked)
            _, found = gateway.admin("GET", f"keys/{id}")
            said = (found["status"], found["tags"], found["name"], found["routes"])
            assert said == ("disabled", [f"t{number}"], f"name {number}", ["r*"])
