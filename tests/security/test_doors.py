"""Every path of both doors, and who gets through: a path without a word on that in this file fails here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import Route

from gateway.app import create_app
from gateway.http.admin.app import AdminApp
from gateway.http.admin.table import ROUTES
from gateway.http.drain import DrainSignal
from gateway.runtime import Runtime
from gateway.settings.model import Settings
from tests.security.house import CLIENTS, CONFIG, DEAD, OPERATOR, House, house, roles

OPEN = {("GET", "/health/live"), ("GET", "/health/ready")}
"""What anybody may ask who reaches the port: whether it runs, and nothing else."""
FOR_CLIENTS = {
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/rerank"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/"),
    ("GET", "/v1/usage"),
    ("GET", "/v1/usage/snapshot"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
}
SIGNED = {("POST", "/integrations/discord/interactions")}
"""What no key opens: every request is signed by whom it is from."""
BOT = {"application_id": "1", "public_key": "0f" * 32, "model": "r", "elsewhere": {"key": "named"}}
FOR_THE_OPERATOR = {
    ("POST", "/admin/explain"),
    ("GET", "/admin/routes"),
    ("GET", "/admin/deployments"),
    ("POST", "/admin/deployments/{id:path}/reset"),
    ("GET", "/admin/keys/upstream"),
    ("POST", "/admin/reload"),
    ("GET", "/admin/events"),
    *((method, f"/admin/{what}") for what in ("keys", "projects", "teams") for method in ("GET", "POST")),
    *((method, f"/admin/{what}/{{id}}") for what in ("keys", "projects", "teams") for method in ("GET", "PATCH")),
    *(("POST", f"/admin/keys/{{id}}/{action}") for action in ("rotate", "enable", "disable")),
    *(("DELETE", f"/admin/{what}/{{id}}") for what in ("projects", "teams")),
    ("GET", "/admin/audit"),
    ("GET", "/admin/audit/verdict"),
    ("GET", "/admin/requests"),
    ("GET", "/admin/requests/{id:path}"),
    ("GET", "/admin/usage"),
    ("GET", "/admin/usage/snapshot"),
    ("GET", "/admin/openapi.json"),
}


async def _no_reload(why: str) -> Any:
    raise AssertionError(why)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, str]]]:
    """What both doors really have."""
    environ = {"ANYPORT_DATA_DIR": str(tmp_path_factory.mktemp("data"))}
    settings = {"server": {"access_log": "off"}, "integrations": {"discord": BOT}}
    runtime = Runtime(Settings.model_validate(settings), environ)
    app = create_app(runtime, drain=DrainSignal())
    lease = app.holder.lease()
    main = {("POST", path) for path in lease.app._posts} | {("GET", path) for path, _ in lease.app._gets}
    admin = AdminApp(lambda: runtime, _no_reload, app.feed, app.pardons)
    return {"main": main | _of(app._shell), "admin": _of(admin.door.shell)}


def _of(shell: Any) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for route in shell.routes:
        assert isinstance(route, Route), f"{route} is no path with methods; say here who may reach it"
        found |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
    return found


def test_every_path_of_the_clients_door_has_somebody_that_it_is_for(paths: dict[str, set[tuple[str, str]]]) -> None:
    assert paths["main"] == OPEN | FOR_CLIENTS | SIGNED


def test_every_path_of_the_operators_door_is_for_the_operator(paths: dict[str, set[tuple[str, str]]]) -> None:
    assert paths["admin"] == FOR_THE_OPERATOR
    assert {(route.method, route.path) for route in ROUTES} == FOR_THE_OPERATOR


OF_ALL = {"name", "limits", "budgets"}
BODIES = {
    "POST /admin/explain": {"model", "body", "fail", "seed"},
    "POST /admin/keys/{id}/rotate": {"overlap_seconds"},
    "PATCH /admin/keys/{id}": {
        *OF_ALL,
        "team_id",
        "project_id",
        "tags",
        "routes",
        "expires_at_ms",
        "keeps_content",
    },
    "PATCH /admin/projects/{id}": {*OF_ALL, "team_id"},
    "PATCH /admin/teams/{id}": OF_ALL,
}


def test_every_field_that_the_operator_may_send_is_one_that_was_thought_of() -> None:
    bodies = {f"{route.method} {route.path}": set(route.body["properties"]) for route in ROUTES if route.body}
    made = {f"POST /admin/{what}": BODIES[f"PATCH /admin/{what}/{{id}}"] for what in ("keys", "projects", "teams")}
    assert {path: names for path, names in bodies.items() if names} == {**BODIES, **made}
    assert all(route.body["additionalProperties"] is False for route in ROUTES if route.body)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("doors"), {**CONFIG, "integrations": {"discord": BOT}}) as one:
        yield one


@pytest.fixture(scope="module")
def keys(gateway: House) -> dict[str, str | None]:
    return roles(gateway)


def filled(path: str) -> str:
    return path.replace("{id}", "none").replace("{id:path}", "none/at/all")


@pytest.mark.parametrize("role", [*DEAD, *CLIENTS, OPERATOR])
def test_the_clients_door(gateway: House, keys: dict[str, str | None], role: str) -> None:
    for method, path in sorted(OPEN):
        assert gateway.client(method, path, key=keys[role]).status == 200, path
    for method, path in sorted(FOR_CLIENTS):
        reply = gateway.client(method, path, {} if method == "POST" else None, key=keys[role])
        if role in CLIENTS:
            assert reply.status in (200, 400, 404) or reply.code == "unnamed_key", (path, reply.body)
        else:
            expected = DEAD.get(role, "invalid_api_key")
            assert (reply.status, reply.code) == (401, expected), path
            assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("role", [*DEAD, *CLIENTS, OPERATOR])
def test_no_key_replaces_a_signature(gateway: House, keys: dict[str, str | None], role: str) -> None:
    for method, path in sorted(SIGNED):
        reply = gateway.client(method, path, {"type": 1, "application_id": "1"}, key=keys[role])
        assert (reply.status, reply.code) == (401, "invalid_signature")
        assert gateway.admin(method, path, {}).code == "unknown_url"


@pytest.mark.parametrize("role", [*DEAD, *CLIENTS, OPERATOR])
def test_the_operators_door(gateway: House, keys: dict[str, str | None], role: str) -> None:
    for method, path in sorted(FOR_THE_OPERATOR):
        has_body = method in ("POST", "PATCH")
        reply = gateway.admin(method, filled(path), {} if has_body else None, key=keys[role])
        if role == OPERATOR:
            assert reply.status in (200, 400, 404), (path, reply.body)
        elif role in CLIENTS:
            assert (reply.status, reply.code) == (403, "route_not_allowed"), path
            assert reply.error["type"] == "permission_error"
        else:
            assert (reply.status, reply.code) == (401, "invalid_api_key"), path
            assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("role", [*DEAD, *CLIENTS, OPERATOR])
def test_neither_door_has_the_paths_of_the_other(gateway: House, keys: dict[str, str | None], role: str) -> None:
    for method, path in sorted(FOR_THE_OPERATOR):
        assert gateway.client(method, filled(path), {}, key=keys[role]).code == "unknown_url"
    for method, path in sorted(OPEN | FOR_CLIENTS):
        reply = gateway.admin(method, path, {}, key=keys[role])
        assert reply.status == (404 if role == OPERATOR else 403 if role in CLIENTS else 401)


@pytest.mark.parametrize("wrong", ["no such path", "no such method"])
def test_who_has_no_key_does_not_find_out_what_the_operators_door_has(gateway: House, wrong: str) -> None:
    right = gateway.admin("GET", "/admin/keys", key=None)
    method, path = ("GET", "/admin/nothing") if wrong == "no such path" else ("PUT", "/admin/keys")
    other = gateway.admin(method, path, key=None)
    assert (other.status, other.body) == (right.status, right.body)


def test_no_page_of_another_origin_may_read_an_answer(gateway: House, keys: dict[str, str | None]) -> None:
    for ask, key in ((gateway.client, keys["a virtual key"]), (gateway.admin, keys[OPERATOR])):
        for method in ("GET", "OPTIONS", "POST"):
            reply = ask(
                method, "/v1/models", key=key, origin="http://evil.example", access_control_request_method="POST"
            )
            assert not [name for name in reply.headers if name.startswith("access-control-")]


def test_the_page_of_the_documentation_runs_nothing(gateway: House, keys: dict[str, str | None]) -> None:
    reply = gateway.client("GET", "/docs", key=keys["a virtual key"])
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert b"<script" not in reply.body


def test_the_operators_door_is_on_loopback_alone(gateway: House) -> None:
    for port in (gateway.admin_port, gateway.port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=20)


def test_a_key_works_nowhere_but_in_its_headers(gateway: House, keys: dict[str, str | None]) -> None:
    key = keys["a virtual key"]
    assert key
    places: list[dict[str, str]] = [{"cookie": f"api_key={key}"}, {"api_key": key}, {"x_goog_api_key": key}]
    for headers in places:
        assert gateway.client("GET", "/v1/models", **headers).status == 401
    for query in (f"key={key}", f"api_key={key}", f"access_token={key}"):
        assert gateway.client("GET", f"/v1/models?{query}").status == 401
        assert gateway.admin("GET", f"/admin/keys?{query}", key=None).status == 401


def test_a_key_that_is_there_twice_is_refused_whichever_is_right(gateway: House) -> None:

    for first, second in (("plain-canary-0123456789", "wrong"), ("wrong", "plain-canary-0123456789")):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as one:
            head = f"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {first}\r\n"
            one.sendall(f"{head}authorization: Bearer {second}\r\nconnection: close\r\n\r\n".encode())
            said = one.makefile("rb").read()
        assert said.startswith(b"HTTP/1.1 400")
        assert b"duplicate_header" in said
