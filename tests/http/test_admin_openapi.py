"""The description of the admin API and what is really there: neither has anything that the other one has not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator

from gateway.app import create_app
from gateway.http.admin.app import AdminApp
from gateway.http.admin.openapi import describe
from gateway.http.admin.table import ROUTES, AdminRoute
from gateway.http.drain import DrainSignal
from gateway.reload.reloader import Reloaded
from gateway.runtime import Runtime
from gateway.settings.load import load_settings
from tests.http.test_admin_keys import Gateway

DOCS = Path(__file__).parents[2] / "docs"


def name_of(route: AdminRoute) -> str:
    return f"{route.method} {route.path}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("described"))
    yield one
    assert one.process.stop() == 0


async def served(tmp_path: Path) -> set[tuple[str, str]]:
    """Returns method and path of everything that the application has."""

    async def reload(why: str) -> Reloaded:
        return Reloaded(True, 0.0)

    runtime = Runtime(load_settings(None, {}, ()), {"ANYPORT_DATA_DIR": str(tmp_path)})
    app = create_app(runtime, drain=DrainSignal())
    shell = AdminApp(lambda: app.holder.current, reload, app.feed, app.pardons).door.shell
    found = {(method, each.path) for each in shell.routes if isinstance(each, APIRoute) for method in each.methods}
    await runtime.aclose()
    return found


async def test_every_path_that_is_served_is_described_and_the_other_way_round(tmp_path: Path) -> None:
    described = {(route.method, route.path) for route in ROUTES}
    assert await served(tmp_path) == described
    paths = describe()["paths"]
    assert {(method.upper(), path) for path, each in paths.items() for method in each} == {
        (method, path.replace(":path", "")) for method, path in described
    }


def test_the_gateway_describes_itself_to_who_has_the_key(gateway: Gateway) -> None:
    status, document = gateway.admin("GET", "openapi.json")
    assert (status, document) == (200, json.loads(json.dumps(describe())))
    assert gateway.admin("GET", "openapi.json", key="wrong")[0] == 401
    assert document["openapi"] == "3.1.0"


def schemas(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        if "schema" in node:
            yield node["schema"]
        for value in node.values():
            yield from schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas(value)


def test_all_of_it_are_json_schemas_and_every_reference_leads_somewhere() -> None:
    document = describe()
    found = [*schemas(document["paths"]), *document["components"]["schemas"].values()]
    assert len(found) > 60
    for schema in found:
        Draft202012Validator.check_schema(schema)
    references = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(document)))
    assert references
    assert references <= set(document["components"]["schemas"])


def test_what_the_gateway_answers_is_what_it_describes(gateway: Gateway) -> None:
    document = describe()
    for path, each in document["paths"].items():
        content = each.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if "{" in path or "application/json" not in content:
            continue
        status, answer = gateway.admin("GET", path.removeprefix("/admin/"))
        assert status == 200, path
        schema = {**content["application/json"]["schema"], "components": document["components"]}
        Draft202012Validator(schema).validate(answer)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_nothing_is_taken_that_is_not_described(gateway: Gateway, route: AdminRoute) -> None:
    path = route.path.removeprefix("/admin/").replace("{id:path}", "demo/echo").replace("{id}", "none")
    status, answer = gateway.admin(route.method, f"{path}?colour=1", {} if route.body else None)
    assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, "colour", "unknown_parameter")
    if route.body is not None:
        status, answer = gateway.admin(route.method, path, {"colour": 1})
        assert (status, answer["error"]["param"], answer["error"]["code"]) == (400, "colour", "unknown_parameter")


WRONG: dict[str, list[Any]] = {
    "string": [1, True, [], {}, 1.5],
    "integer": ["1", 1.5, True, -1, 2**70, [], 1e308],
    "array": [1, "x", {}, True],
    "object": [1, "x", [], True],
}


def wrong_fields(properties: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the name of each field, and bodies in which it is wrong."""
    for name, schema in properties.items():
        known = schema.get("type", [])
        kinds = [known] if isinstance(known, str) else known
        for kind in kinds:
            if kind in WRONG and len([each for each in kinds if each != "null"]) == 1:
                yield from ((name, {name: value}) for value in WRONG[kind])
        if "object" in kinds:
            for inner, body in wrong_fields(schema["properties"]):
                yield f"{name}.{inner}", {name: body}


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body], ids=name_of)
def test_what_does_not_fit_the_schema_is_refused_by_name(gateway: Gateway, route: AdminRoute) -> None:
    assert route.body is not None
    path = route.path.removeprefix("/admin/").replace("{id:path}", "demo/echo").replace("{id}", "none")
    needed = {"name": "x", "model": "r"}
    for name, wrong in wrong_fields(dict(route.body["properties"])):
        body = {each: needed[each] for each in route.body.get("required", ())} | wrong
        try:
            status, answer = gateway.admin(route.method, path, body)
        except ValueError:
            continue  # JSON has no such number
        assert (status, answer["error"]["param"]) in [(400, name), (400, None)], (body, answer)


@pytest.mark.parametrize(
    "id", ["..", "%2e%2e%2fkeys", "..%2f..%2fetc", "%00", "a%0ab", "x" * 600, "%F0%9F%94%91", "'--"]
)
@pytest.mark.parametrize("path", ["keys", "teams", "projects"])
def test_an_id_that_cannot_be_is_not_found(gateway: Gateway, path: str, id: str) -> None:
    for method, more in (("GET", ""), ("PATCH", ""), *((("POST", "/rotate"),) if path == "keys" else ())):
        status, answer = gateway.admin(method, f"{path}/{id}{more}", {} if method != "GET" else None)
        assert (status, answer["error"]["code"]) in [(404, "unknown_url"), (400, "invalid_path")]


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "1e3", "%E2%88%9E", "NaN", "", "9" * 30, "%C2%B2"])
@pytest.mark.parametrize("path", ["keys", "teams", "projects", "audit"])
def test_a_page_has_a_size_that_can_be(gateway: Gateway, path: str, limit: str) -> None:
    status, answer = gateway.admin("GET", f"{path}?limit={limit}")
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (400, "invalid_value", "limit")


def test_the_page_has_every_path_and_every_parameter() -> None:
    text = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("admin.md", "keys.md", "usage.md"))
    for route in ROUTES:
        path = re.sub(r"\{\w+(:path)?\}", "ID", route.path)
        assert path in text or path.replace("/admin/", "") in text, path
        fields = dict(route.body["properties"]) if route.body else {}
        assert [name for name in (*route.query, *fields) if f"`{name}`" not in text] == []
