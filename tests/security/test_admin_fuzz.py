"""The operator's door never trips, whatever it is asked: every answer is one that was meant, nothing else changes."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.http.admin.table import ROUTES, AdminRoute
from tests.security.house import House, house

READERS = [route for route in ROUTES if route.method == "GET" and route.path != "/admin/events"]
WRITERS = [route for route in ROUTES if route.body is not None and route.path != "/admin/reload"]
EXPECTED = {200, 400, 404, 409, 422}
few = settings(max_examples=120, suppress_health_check=list(HealthCheck), deadline=None)
texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", " ", "%", "'", "\0", "../..", "key:1", "2026-11-21", "9" * 30, "-1", "NaN", "day", "\ud7ff", "é" * 300]
    ),
)
numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, -1, 2**53, 2**63 - 1, 2**63, 10**13]),
    st.floats(allow_nan=False),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("fuzz")) as one:
        yield one
        assert "Traceback" not in one.process.errors


@pytest.fixture(scope="module")
def ids(gateway: House) -> list[str]:
    """Whom there is something to ask of, and nobody."""
    return ["none", *(gateway.made(what, name="there")["id"] for what in ("keys", "projects", "teams"))]


def filled(route: AdminRoute, id: str) -> str:
    return route.path.replace("{id:path}", quote(id, safe="")).replace("{id}", quote(id, safe=""))


@few
@given(data=st.data())
def test_no_body_makes_it_trip(gateway: House, ids: list[str], data: st.DataObject) -> None:
    route = data.draw(st.sampled_from(WRITERS))
    assert route.body is not None
    known = st.sampled_from([*route.body["properties"], "user_role"]) if route.body["properties"] else texts
    fields: Any = data.draw(st.one_of(st.dictionaries(known, values, max_size=5), values))
    id = data.draw(st.one_of(st.sampled_from(ids), texts))
    if isinstance(fields, dict) and "name" in route.body["properties"]:
        fields = data.draw(st.sampled_from([fields, {"name": "a", **fields}]))
    reply = gateway.admin(route.method, filled(route, id), json.dumps(fields).encode())
    assert reply.status in EXPECTED, (route.path, fields, reply.body)
    assert reply.status == 200 or reply.error["message"]


@few
@given(data=st.data())
def test_no_query_makes_it_trip(gateway: House, ids: list[str], data: st.DataObject) -> None:
    route = data.draw(st.sampled_from(READERS))
    known = [*route.query, "sort"]
    query = data.draw(st.lists(st.tuples(st.sampled_from(known), texts), max_size=4))
    id = data.draw(st.one_of(st.sampled_from(ids), texts))
    written = "&".join(f"{name}={quote(text, safe='')}" for name, text in query)
    reply = gateway.admin("GET", f"{filled(route, id)}?{written}")
    assert reply.status in EXPECTED, (route.path, query, reply.body)


@few
@given(body=st.one_of(st.binary(max_size=60), st.text(alphabet=string.printable, max_size=60).map(str.encode)))
def test_no_bytes_make_it_trip(gateway: House, body: bytes) -> None:
    assert gateway.admin("POST", "/admin/keys", body).status in {400, 415}


def test_who_was_there_is_there_and_works(gateway: House) -> None:
    assert gateway.chat(gateway.made("keys", name="after")["key"]).status == 200
    assert gateway.admin("GET", "/admin/audit?limit=1").json["data"][0]["action"] == "key.create"
