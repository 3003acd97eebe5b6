"""What a real gateway tells of itself while it serves, and to whom."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.telemetry.feed import MOST_LISTENERS
from tests.e2e.stage import Stage
from tests.http.events import Listener
from tests.http.guarded_server import raw_socket
from tests.http.test_admin import ADMIN_KEY, ANSWER, CLIENT_KEY, SECRETS, Running
from tests.upstreams.scripted import json_response

USED = {**ANSWER, "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Stage() as stage:
        running = Running(tmp_path_factory.mktemp("events"), stage)
        yield running
        assert running.process.stop() == 0
        assert "Traceback" not in running.process.errors


@pytest.fixture
def listener(running: Running) -> Iterator[Listener]:
    one = Listener(running.admin_port, ADMIN_KEY)
    yield one
    one.close()
    said = json.dumps(one.events)
    assert [secret for secret in SECRETS if secret in said] == []


def test_a_request_is_told_with_what_it_took_and_cost(running: Running, listener: Listener) -> None:
    running.stage.play(json_response(USED))
    reply = running.chat("own")
    told = listener.wait_for("request", lambda data: data["id"] == reply.headers["x-request-id"]).data
    assert (told["model"], told["deployment"], told["status"], told["error"]) == ("own", "mine", 200, None)
    assert (told["prompt_tokens"], told["completion_tokens"], told["attempts"]) == (7, 3, 1)
    assert (told["provider"], told["operation"], told["stream"], told["hedged"]) == ("a", "chat", False, False)
    assert told["total_ms"] >= told["ttft_ms"] > 0
    assert told["cost_usd"] is None, "nobody knows what that costs"
    assert (listener.headers["content-type"], listener.headers["cache-control"]) == (
        "text/event-stream; charset=utf-8",
        "no-store",
    )


def test_a_request_that_is_not_admitted_is_told_twice(running: Running, listener: Listener) -> None:
    reply = running.ask("POST", "/v1/chat/completions", {"model": "r"}, key="wrong", main=True)
    assert reply.status == 401
    refused = listener.wait_for("refusal").data
    assert (refused["status"], refused["error"], refused["key"]) == (401, "invalid_api_key", "")
    assert (refused["limit"], refused["of"]) == (None, None)
    assert listener.wait_for("request", lambda data: data["status"] == 401).data["attempts"] == 0


def test_a_request_over_the_limit_of_its_key_is_told_with_the_name_of_the_key(
    running: Running, listener: Listener
) -> None:
    made = running.ask("POST", "/admin/keys", {"name": "laptop", "limits": {"requests_per_minute": 1}})
    assert made.status == 200
    running.stage.play(json_response(USED))
    body = {"model": "own", "messages": [{"role": "user", "content": "x"}]}
    statuses = [
        running.ask("POST", "/v1/chat/completions", body, key=made.json["key"], main=True).status for _ in range(2)
    ]
    assert statuses == [200, 429]
    refused = listener.wait_for("refusal", lambda data: data["status"] == 429).data
    assert (refused["key"], refused["model"], refused["error"]) == ("laptop", "own", "rate_limit_exceeded")
    assert (refused["limit"], refused["of"]) == ("requests", f"key:{made.json['id']}")
    told = listener.wait_for("request", lambda data: data["status"] == 200 and data["key"] == "laptop").data
    assert told["prompt_tokens"] == 7
    assert made.json["key"] not in json.dumps(listener.events)


def test_only_the_wanted_kinds_are_told(running: Running) -> None:
    one = Listener(running.admin_port, ADMIN_KEY, "?types=refusal,key_rest")
    running.ask("POST", "/v1/chat/completions", {"model": "r"}, key="wrong", main=True)
    one.wait_for("refusal")
    one.close()
    assert {each.kind for each in one.events} == {"refusal"}


def test_rests_are_told_when_they_begin_and_when_they_end(running: Running, listener: Listener) -> None:
    running.stage.play(json_response({}, 429, [("retry-after", "1")]), json_response(USED))
    assert running.chat("a/resting").status == 200
    began = listener.wait_for("key_rest", lambda data: data["deployment"] == "a/resting").data
    assert (began["provider"], began["of"], began["reason"]) == ("a", 2, "rate_limit")
    assert (began["seconds"], began["is_told"]) == (1.0, True)
    ended = listener.wait_for("key_rest_ended", lambda data: data["deployment"] == "a/resting").data
    assert ended["key"] == began["key"]
    running.stage.play(json_response({}, 503, [("retry-after", "1")]))
    running.chat("a/cooling")
    assert listener.wait_for("cool_down", lambda data: data["deployment"] == "a/cooling").data["is_told"]
    listener.wait_for("cool_down_ended", lambda data: data["deployment"] == "a/cooling")


def test_an_ejection_and_the_return_are_told(running: Running, listener: Listener) -> None:
    running.stage.play(json_response({}, 500))
    for _ in range(4):
        running.chat("a/failing")
    told = listener.wait_for("ejection", lambda data: data["deployment"] == "a/failing").data
    assert told["reason"] == "server"
    running.stage.play(json_response(USED))
    deadline = time.monotonic() + 20
    while running.chat("a/failing").status != 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    listener.wait_for("return", lambda data: data["deployment"] == "a/failing")


def test_ids_only_rise(running: Running, listener: Listener) -> None:
    running.stage.play(json_response(USED))
    for _ in range(5):
        running.chat("own")
    listener.wait_for("request")
    numbers = [each.number for each in listener.events]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("?types=request,nothing", "invalid_value", "types"),
        ("?type=request", "unknown_parameter", "type"),
        ("?types=request&types=refusal", "invalid_value", "types"),
    ],
)
def test_a_wrong_wish_is_refused_by_name(running: Running, query: str, code: str, param: str) -> None:
    reply = running.ask("GET", f"/admin/events{query}")
    assert (reply.status, reply.code, reply.json["error"]["param"]) == (400, code, param)


def test_nobody_listens_without_the_key(running: Running) -> None:
    assert running.ask("GET", "/admin/events", key=None).status == 401
    assert running.ask("GET", "/admin/events", key=CLIENT_KEY).status == 403
    assert running.ask("GET", "/admin/events", key=ADMIN_KEY, main=True).status == 404


def test_no_more_listen_than_may_and_who_leaves_makes_room(running: Running) -> None:
    listeners = [Listener(running.admin_port, ADMIN_KEY) for _ in range(MOST_LISTENERS)]
    reply = running.ask("GET", "/admin/events")
    assert (reply.status, reply.code) == (429, "too_many_listeners")
    assert "8 listen already" in reply.json["error"]["message"]
    for one in listeners:
        one.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        again = Listener(running.admin_port, ADMIN_KEY)
        again.close()
        if again.status == 200:
            break
        time.sleep(0.1)
    assert again.status == 200


def flood(port: int, count: int) -> None:
    """Has so many requests refused, over one connection."""
    request = b"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer x\r\ncontent-length: 0\r\n\r\n"
    with raw_socket(port) as client:
        for _ in range(count // 100):
            client.sendall(request * 100)
            said = b""
            while said.count(b"HTTP/1.1 ") < 100:
                said += client.recv(1 << 20)


def test_who_does_not_read_loses_events_and_hears_how_many(tmp_path: Path) -> None:
    with Stage() as stage:
        running = Running(tmp_path, stage)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", running.admin_port))
            slow.settimeout(20)
            head = f"GET /admin/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN_KEY}\r\n\r\n"
            slow.sendall(head.encode())
            assert slow.recv(20).startswith(b"HTTP/1.1 200")
            flood(running.port, 12_000)  # far more than the buffers of the system hold
            data = b""
            while b'{"events":' not in data:
                piece = slow.recv(1 << 20)
                assert piece, "it ended without a word of the loss"
                data = data[-100:] + piece
            lost = int(data.partition(b'{"events":')[2].partition(b"}")[0])
            assert 0 < lost < 24_000
        assert running.process.stop() == 0


def test_it_goes_on_over_a_reload_and_ends_well_with_the_gateway(tmp_path: Path) -> None:
    with Stage() as stage:
        running = Running(tmp_path, stage)
        stage.play(json_response(USED))
        one = Listener(running.admin_port, ADMIN_KEY)
        file = tmp_path / "anyport.yaml"
        changed: dict[str, Any] = json.loads(file.read_text())
        price = {"input_usd_per_million": 1, "output_usd_per_million": 2}
        changed["routes"]["new"] = {"deployments": [{"model": "a/new", "price": price}]}
        (tmp_path / "next").write_text(json.dumps(changed))
        os.replace(tmp_path / "next", file)
        told = one.wait_for("reload").data
        assert (told["ok"], told["faults"]) == (True, [])
        assert "new" in told["changes"]
        assert running.chat("new").status == 200
        assert one.wait_for("request", lambda data: data["model"] == "new").data["cost_usd"] == "0.000013"
        (tmp_path / "next").write_text("server: {port: high}")
        os.replace(tmp_path / "next", file)
        refused = one.wait_for("reload", lambda data: not data["ok"]).data
        assert "server.port" in refused["faults"][0]
        assert running.process.stop() == 0
        one.wait_for_end()
        assert one.has_ended_well
        one.close()


def test_trouble_of_storage_is_told_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    import sqlite3

    with Stage() as stage:
        running = Running(tmp_path, stage)
        assert running.ask("POST", "/admin/teams", {"name": "first"}).status == 200  # makes the database
        one = Listener(running.admin_port, ADMIN_KEY, "?types=trouble,trouble_ended")
        (database,) = tmp_path.rglob("anyport.db")
        with sqlite3.connect(database) as connection:
            connection.execute("alter table anyport_meta rename to anyport_hidden")
        assert one.wait_for("trouble").data["what"] == "storage"
        with sqlite3.connect(database) as connection:
            connection.execute("alter table anyport_hidden rename to anyport_meta")
        assert one.wait_for("trouble_ended").data["what"] == "storage"
        one.close()
        running.process.stop()
