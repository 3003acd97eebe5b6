"""The operator's door of a real process: who gets in, what is told, and that nothing of it is on the main port."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.engine.explanation import Explanation
from tests.e2e.process import GatewayProcess, clean_environ, run_gateway, start_gateway
from tests.e2e.stage import Stage
from tests.http.guarded_server import Answer, parse_answers, raw_socket, read_all
from tests.upstreams.scripted import json_response

ADMIN_KEY = "admin-canary-0123456789"
CLIENT_KEY = "client-canary-0123456789"
SECRETS = (
    ADMIN_KEY,
    CLIENT_KEY,
    "upstream-canary-1-0123456789",
    "upstream-canary-2-0123456789",
    "own-canary-0123456789",
)
PATHS = (("POST", "/admin/explain"), ("GET", "/admin/keys/upstream"), ("GET", "/admin/deployments"))
MAX_BODY_BYTES = 20_000
ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
}


def config(upstream: str, port: int = 0) -> dict[str, Any]:
    return {
        "server": {"api_keys": [CLIENT_KEY], "max_body_bytes": MAX_BODY_BYTES, "bad_keys_per_minute": None},
        "discovery": {"enabled": False},
        "admin": {"port": port, "key": ADMIN_KEY},
        "providers": {"a": {"base_url": f"{upstream}/v1", "credentials": list(SECRETS[2:4])}},
        "routes": {
            "r": {"deployments": [{"model": "a/one", "limits": {"max_in_flight": 9}}]},
            "own": {"deployments": [{"name": "mine", "model": "a/two", "keys": [SECRETS[4]]}]},
            "cold": {"deployments": [{"model": "a/three"}], "retry": {"attempts": 1}},
        },
    }


class Running:
    """A gateway with an admin API, its upstream, and everything that it has said."""

    def __init__(self, directory: Path, stage: Stage) -> None:
        self.directory = directory
        self.stage = stage
        self.process: GatewayProcess = start_gateway(directory, config=config(stage.url))
        self.port = int(self.process.wait_until_ready().rpartition(":")[2])
        found = re.search(r"The admin API is at http://127\.0\.0\.1:(\d+)/admin", self.process.errors)
        assert found, self.process.errors
        self.admin_port = int(found[1])
        (directory / "known.yaml").write_text(json.dumps(config(stage.url, self.admin_port)))
        self.heard: list[bytes] = []

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = ADMIN_KEY,
        main: bool = False,
        **headers: str,
    ) -> Answer:
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"host: {headers.pop('host', '127.0.0.1')}", "connection: close"]
        lines += [] if key is None else [f"authorization: Bearer {key}"]
        lines += [f"content-length: {len(content)}", "content-type: application/json"] if method == "POST" else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        one = raw_socket(self.port if main else self.admin_port)
        one.sendall("\r\n".join([*lines, "", ""]).encode() + (content if method == "POST" else b""))
        said = read_all(one)
        self.heard.append(said.raw)
        (answer,) = parse_answers(said.raw, is_closed=True)
        return answer

    def chat(self, model: str) -> Answer:
        body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        return self.ask("POST", "/v1/chat/completions", body, key=CLIENT_KEY, main=True)

    def command(self, *arguments: str, file: str = "known.yaml", text: str = "") -> tuple[int, str, str]:
        command = [sys.executable, "-m", "gateway", *arguments, "--config", file]
        done = subprocess.run(
            command, cwd=self.directory, env=clean_environ({}), input=text, capture_output=True, text=True, timeout=60
        )
        self.heard += [done.stdout.encode(), done.stderr.encode()]
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("admin")
    with Stage() as stage:
        running = Running(directory, stage)
        yield running
        assert running.process.stop() == 0
        running.heard += [running.process.errors.encode(), (directory / "stdout.log").read_bytes()]
        assert [secret for secret in SECRETS if any(secret.encode() in said for said in running.heard)] == []


@pytest.mark.parametrize(("method", "path"), [*PATHS, ("GET", "/"), ("GET", "/admin/nothing"), ("GET", "/docs")])
def test_nothing_is_told_without_the_key(running: Running, method: str, path: str) -> None:
    for key in (None, "", "wrong", ADMIN_KEY + "x", ADMIN_KEY[:-1]):
        reply = running.ask(method, path, {"model": "r"}, key=key)
        assert (reply.status, reply.code, reply.headers["www-authenticate"]) == (401, "invalid_api_key", "Bearer")
    assert running.ask(method, path, {}, key=None, x_api_key=ADMIN_KEY).status == 401
    assert running.ask(method, path, {}, key=None, x_api_key=CLIENT_KEY).status == 403
    reply = running.ask(method, path, {"model": "r"}, key=CLIENT_KEY)
    assert (reply.status, reply.code) == (403, "route_not_allowed")
    assert "client's key does not open" in reply.json["error"]["message"]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_the_main_port_has_nothing_of_it(running: Running, method: str, path: str) -> None:
    for key in (ADMIN_KEY, CLIENT_KEY, None):
        for used in ("GET", "POST"):
            assert running.ask(used, path, {"model": "r"}, key=key, main=True).code == "unknown_url"
    assert running.ask("GET", "/v1/models", key=ADMIN_KEY, main=True).status == 401


@pytest.mark.parametrize(
    "path",
    ["/v1/models", "/v1/chat/completions", "/metrics", "/health/ready", "/docs", "/redoc", "/openapi.json", "/admin"],
)
def test_it_has_nothing_of_the_main_port(running: Running, path: str) -> None:
    for method in ("GET", "POST"):
        assert running.ask(method, path, {}).code == "unknown_url"


def test_other_methods_are_refused_by_name(running: Running) -> None:
    for method, path in PATHS:
        reply = running.ask("GET" if method == "POST" else "POST", path, {})
        assert (reply.status, reply.code, reply.headers["allow"]) == (405, "method_not_allowed", method)
    assert running.ask("GET", "/admin/deployments/").code == "unknown_url"


def test_a_request_is_explained_and_not_made(tmp_path: Path) -> None:
    with Stage() as stage:  # of its own: what other tests did to the keys would be part of the explanation
        running = Running(tmp_path, stage)
        running.stage.play(json_response(ANSWER))
        reply = running.ask("POST", "/admin/explain", {"model": "r", "fail": "0=429:20", "seed": 7})
        told = reply.json
        assert set(told) == set(Explanation.__struct_fields__)
        assert [(each["deployment"], each["key"], each["result"]) for each in told["steps"]] == [
            ("a/one", 1, "rate_limit"),
            ("a/one", 2, "ok"),
        ]
        assert ["authorization", "Bearer ***"] in told["request"]["headers"]
        assert (told["seed"], told["end"]["status"]) == (7, 200)
        assert running.stage.requests == []
        assert reply.headers["x-request-id"]
        assert reply.headers["cache-control"] == "no-store"
        assert running.process.stop() == 0


def test_the_body_that_is_explained_is_the_one_that_would_go_out(running: Running) -> None:
    body = {"model": "own", "messages": [{"role": "user", "content": "hé"}], "max_tokens": 5}
    told = running.ask("POST", "/admin/explain", {"model": "own", "body": body, "seed": 0}).json
    running.stage.play(json_response(ANSWER))
    running.ask("POST", "/v1/chat/completions", body, key=CLIENT_KEY, main=True)
    assert told["request"]["body"] == running.stage.last.json()
    assert told["request"]["url"] == f"{running.stage.url}/v1/chat/completions"


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "said"),
    [
        ({"model": "r", "models": 1}, 400, "unknown_parameter", "models", "known are model, body, fail, seed"),
        ({}, 400, "missing_required_parameter", "model", "model"),
        ({"model": 1}, 400, "invalid_type", "model", "a string"),
        ({"model": "r", "fail": 1}, 400, "invalid_type", "fail", "a string"),
        ({"model": "r", "fail": "0=later"}, 400, "invalid_value", "fail", "'later'"),
        ({"model": "r", "seed": "x"}, 400, "invalid_type", "seed", "whole number"),
        ({"model": "r", "seed": -1}, 400, "invalid_value", "seed", "between 0 and"),
        ({"model": "r", "seed": True}, 400, "invalid_type", "seed", "whole number"),
        ({"model": "r", "body": []}, 400, "invalid_type", None, "object"),
        ({"model": "r", "body": {"x": 1}}, 400, "missing_required_parameter", "body", "messages"),
        ({"model": "r", "body": {"messages": []}}, 400, "empty_array", "messages", "messages"),
        ({"model": "s"}, 404, "model_not_found", "model", "'s'"),
        (b"", 400, "empty_body", None, "empty"),
        (b"[1]", 400, "invalid_type", None, "object"),
        (b'{"model": "r"', 400, "invalid_json", None, "JSON"),
        (b'{"model": "r", "model": "own"}', 400, "duplicate_key", None, "model"),
        (b" " * (MAX_BODY_BYTES + 1), 413, "request_too_large", None, "max_body_bytes"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    running: Running, body: Any, status: int, code: str, param: str | None, said: str
) -> None:
    reply = running.ask("POST", "/admin/explain", body)
    assert (reply.status, reply.code) == (status, code)
    assert param is None or reply.json["error"]["param"] == param
    assert said in reply.json["error"]["message"]


def test_a_body_that_is_not_said_to_be_json_is_refused(running: Running) -> None:
    head = (
        f"POST /admin/explain HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN_KEY}\r\nconnection: close\r\n"
    )
    one = raw_socket(running.admin_port)
    one.sendall(head.encode() + b'content-type: text/plain\r\ncontent-length: 13\r\n\r\n{"model":"r"}')
    (answer,) = read_all(one).answers
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


def test_a_web_page_cannot_reach_it_by_another_name(running: Running) -> None:
    reply = running.ask("GET", "/admin/deployments", host="evil.example")
    assert (reply.status, reply.code) == (400, "invalid_host")


def test_what_is_no_http_is_refused_as_on_the_main_port(running: Running) -> None:
    one = raw_socket(running.admin_port)
    one.sendall(b"GET /admin/deployments HTTP/1.1\r\nno header\r\n\r\n")
    (answer,) = read_all(one).answers
    assert (answer.status, answer.code) == (400, "invalid_http")


def keys_of(running: Running) -> dict[tuple[str, int], Any]:
    return {(each["deployment"], each["key"]): each for each in running.ask("GET", "/admin/keys/upstream").json["data"]}


def test_keys_that_rest_are_told_with_the_reason(running: Running) -> None:
    limits = [("retry-after", "600"), ("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "30s")]
    wrong = {"error": {"message": "no such key", "code": "invalid_api_key"}}
    running.stage.play(json_response({}, 429, limits), json_response(wrong, 401))
    assert running.chat("cold").status == 429
    assert running.chat("cold").status == 502
    first, second = keys_of(running)["", 1], keys_of(running)["", 2]
    assert [(each["provider"], each["of"], each["source"]) for each in (first, second)] == [("a", 2, "config")] * 2
    resting = [each["rest"] for key in (first, second) for each in key["models"] if each["model"] == "three"]
    assert (resting[0]["state"], resting[0]["reason"], resting[0]["is_told"]) == ("resting", "rate_limit", True)
    assert 500 < resting[0]["seconds"] <= 600
    assert first["rest"]["state"] == "ready", "with other models the key can be used"
    assert (second["rest"]["reason"], second["rest"]["is_told"]) == ("auth", False)
    left = [each["left"] for each in first["models"] if each["model"] == "three"]
    assert left == [{"requests": 0}]
    own = keys_of(running)["mine", 1]
    assert (own["provider"], own["of"], own["source"], own["rest"]["state"]) == ("a", 1, "config", "ready")
    code, text, _ = running.command("keys", "upstream")
    assert code == 0
    assert re.search(r"\na +2 of 2 +config +resting for \d+ s \(auth, our judgement\)", text)
    assert re.search(r"three +resting for \d+ s \(rate_limit, told by the provider\) +0 requests +1\n", text)


def test_deployments_are_told_with_their_health(running: Running) -> None:
    running.stage.play(json_response(ANSWER), json_response({}, 500), json_response({}, 500), json_response({}, 500))
    assert running.chat("own").status == 200
    assert running.chat("own").status == 502
    found = {each["deployment"]: each for each in running.ask("GET", "/admin/deployments").json["data"]}
    assert set(found) >= {"a/one", "mine", "a/three"}
    mine = found["mine"]
    assert (mine["provider"], mine["model"], mine["routes"], mine["in_flight"]) == ("a", "two", ["own"], 0)
    assert mine["consecutive_failures"] >= 2
    assert (mine["attempts"] > mine["failures"] >= 2, mine["window_seconds"]) == (True, 10)
    assert mine["latency_ms"] > 0
    assert (mine["obstacle"], mine["ejected_seconds"], mine["cooling_seconds"]) == ("", 0.0, 0.0)
    assert found["a/one"]["limits"] == {"max_in_flight": 9, "requests_per_minute": None, "tokens_per_minute": None}


def test_a_model_that_a_client_has_named_is_told_as_well(running: Running) -> None:
    running.stage.play(json_response(ANSWER))
    running.chat("a/whatever")
    found = [each["deployment"] for each in running.ask("GET", "/admin/deployments").json["data"]]
    assert found.count("a/whatever") == 1


def test_the_command_explains_with_the_live_state(running: Running) -> None:
    running.stage.play(json_response({}, 429, [("retry-after", "600")]))
    running.chat("a/live")
    code, text, errors = running.command("explain", "a/live", "--live", "--json", "--seed", "5")
    assert (code, errors) == (0, "")
    told = json.loads(text)
    assert told["seed"] == 5
    assert any(each["reason"] == "rate_limit" for each in told["stages"][0]["candidates"][0]["resting"])
    fresh = json.loads(running.command("explain", "a/live", "--json", "--seed", "5")[1])
    assert fresh["stages"][0]["candidates"][0]["resting"] == []
    body = '{"messages": [{"role": "user", "content": "from standard input"}], "stream": true}'
    told = json.loads(running.command("explain", "r", "--live", "--json", "--body", "-", text=body)[1])
    assert (told["stream"], told["request"]["body"]["messages"][0]["content"]) == (True, "from standard input")


def test_the_command_says_what_the_gateway_refuses(running: Running) -> None:
    code, text, errors = running.command("explain", "s", "--live")
    assert (code, text) == (1, "")
    assert "'s'" in errors


def test_the_command_says_why_there_is_nothing_live(running: Running) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        wrong = config(running.stage.url, closed.getsockname()[1])
        (running.directory / "wrong.yaml").write_text(json.dumps(wrong))
        code, _, errors = running.command("explain", "r", "--live", file="wrong.yaml")
        assert (code, "no gateway answers at 127.0.0.1:" in errors) == (1, True)
        code, text, errors = running.command("keys", "upstream", file="wrong.yaml")
        assert (code, "from the configuration alone, since no gateway answers" in errors) == (0, True)
        assert "1 of 2" in text
        told = json.loads(running.command("keys", "upstream", "--json", file="wrong.yaml")[1])
        assert (told["from"], len(told["data"])) == ("configuration", 3)
    wrong["admin"] = {"port": running.admin_port, "key": "another-canary"}
    (running.directory / "wrong.yaml").write_text(json.dumps(wrong))
    code, _, errors = running.command("explain", "r", "--live", file="wrong.yaml")
    assert (code, "refuses this admin.key; was it started with another one?" in errors) == (1, True)
    wrong["admin"] = {"port": running.port, "key": ADMIN_KEY}
    (running.directory / "wrong.yaml").write_text(json.dumps(wrong))
    code, _, errors = running.command("explain", "r", "--live", file="wrong.yaml")
    assert (code, "no such path" in errors) == (1, True)


def test_the_process_ends_although_somebody_keeps_a_connection_open(tmp_path: Path) -> None:
    with Stage() as stage:
        running = Running(tmp_path, stage)
        idle = [raw_socket(running.admin_port) for _ in range(3)]
        idle[0].sendall(
            f"GET /admin/deployments HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN_KEY}\r\n\r\n".encode()
        )
        assert idle[0].recv(100).startswith(b"HTTP/1.1 200")
        idle[1].sendall(b"POST /admin/explain HTTP/1.1\r\nhost: localhost\r\n")
        head = f"POST /admin/explain HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {ADMIN_KEY}\r\n"
        idle[2].sendall(f"{head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{".encode())
        began = time.monotonic()
        assert running.process.stop() == 0
        assert time.monotonic() - began < 12
        assert "error" not in running.process.errors
        for one in idle:
            one.close()


def test_a_port_that_is_taken_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = json.dumps({"admin": {"port": port, "key": ADMIN_KEY}})
        code, errors = run_gateway(tmp_path, "--port", "0", config=said)
    assert code == 1
    assert errors == f"cannot listen on 127.0.0.1:{port}: address already in use (admin.host, admin.port)\n"


def test_without_a_port_there_is_no_door(tmp_path: Path) -> None:
    gateway = start_gateway(tmp_path, config={"discovery": {"enabled": False}, "admin": {"key": ADMIN_KEY}})
    gateway.wait_until_ready()
    assert gateway.stop() == 0
    assert "admin" not in gateway.errors
