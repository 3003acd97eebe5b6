"""However much nonsense comes, what is remembered and written of it stays small, and others are served."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.security.house import PLAIN_KEY, House, house

MALFORMED = (
    b"NONSENSE\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nhost localhost\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)
INJECTED = (
    "' OR 1=1--",
    "'; DROP TABLE anyport_keys;--",
    "%",
    "%%%%%%%%%%%%%%%%%%%%",
    "_",
    "\\",
    "\u2028",
    "a\u202eb",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "x" * 200,
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("floods")) as one:
        yield one


def test_malformed_requests_write_nothing_into_the_log(gateway: House) -> None:
    before = gateway.process.wait_for("Hello!")
    for number in range(600):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as one:
            one.sendall(MALFORMED[number % len(MALFORMED)])
            one.shutdown(socket.SHUT_WR)
            one.makefile("rb").read()
    assert gateway.process.errors == before
    assert gateway.chat(PLAIN_KEY).status == 200


def test_names_that_clients_make_up_are_one_label(gateway: House) -> None:
    for number in range(300):
        gateway.chat(PLAIN_KEY, f"made-up-{number}", x_request_id=f"made-up-id-{number}")
        gateway.client("GET", f"/v1/models/made-up-{number}", key=PLAIN_KEY)
    metrics = gateway.client("GET", "/metrics", key=PLAIN_KEY).body.decode()
    assert "made-up" not in metrics
    assert re.search(r'gen_ai_request_model="other"', metrics)


@pytest.mark.parametrize("text", INJECTED)
def test_what_looks_like_a_statement_is_a_text_like_any_other(gateway: House, text: str) -> None:
    before = gateway.admin("GET", "/admin/keys?limit=1000").json["data"]
    for key, model, more in (
        (text.encode().decode("latin-1"), "r", {}),
        (PLAIN_KEY, text, {}),
        (PLAIN_KEY, "r", {"user": text, "metadata": {text: text}, "safety_identifier": text}),
    ):
        body = {"model": model, "messages": [{"role": "user", "content": text, "name": text}], **more}
        reply = gateway.client(
            "POST", "/v1/chat/completions", body, key=key, x_anyport_tags=text.encode().decode("latin-1")
        )
        assert reply.status in (200, 400, 401, 404), reply.body
    for path in (
        f"keys/{quoted(text)}",
        f"keys?prefix={quoted(text)}",
        f"keys?after={quoted(text)}&team_id={quoted(text)}",
    ):
        assert gateway.admin("GET", f"/admin/{path}").status in (200, 400, 404)
    for path in (f"audit?subject={quoted(text)}", f"usage?by=key&key={quoted(text)}&model={quoted(text)}"):
        assert gateway.admin("GET", f"/admin/{path}").status in (200, 400)
    made = gateway.admin("POST", "/admin/teams", {"name": text[:100]})
    if made.status == 200:
        assert gateway.admin("GET", f"/admin/teams/{made.json['id']}").json["name"] == text[:100]
        found = gateway.admin("GET", f"/admin/teams?prefix={quoted(text[:100])}&limit=1000").json["data"]
        names = {each["name"] for each in found}
        assert text[:100] in names
        # The gateway is shared with the other texts, of which one may begin with this one: nothing else may match.
        assert all(name.startswith(text[:100]) for name in names)
    assert gateway.admin("GET", "/admin/keys?limit=1000").json["data"] == before


def quoted(text: str) -> str:
    return quote(text, safe="")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=10000", "limit"),
        ("limit=1;drop", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e3", "limit"),
        ("sort=1;drop", "sort"),
        ("order_by=name", "order_by"),
        (f"prefix={'%25' * 300}", "prefix"),
        ("prefix=a&prefix=b", "prefix"),
        ("prefix=%00", "prefix"),
    ],
)
def test_a_list_takes_what_it_knows_and_nothing_else(gateway: House, query: str, param: str) -> None:
    reply = gateway.admin("GET", f"/admin/keys?{query}")
    assert (reply.status, reply.error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("keys", {"name": "a", "user_role": "admin"}),
        ("keys", {"name": "a", "is_admin": True}),
        ("keys", {"name": "a", "created_at_ms": 1}),
        ("keys", {"name": "a", "former_digest": "x"}),
        ("keys", {"name": "a", "key": "sk-anyport-chosen"}),
        ("keys", {"name": "a", "disabled_at_ms": None}),
        ("keys", {"name": "a", "expires_at_ms": -1}),
        ("keys", {"name": "a", "expires_at_ms": "9999y"}),
        ("keys", {"name": "a", "expires_at_ms": 1e308}),
        ("keys", {"name": "a", "limits": {"requests_per_minute": 1e308}}),
        ("keys", {"name": "a", "limits": {"requests_per_minute": "∞"}}),
        ("keys", {"name": "a", "routes": ["../admin"]}),
        ("keys", {"name": "a", "tags": ["x" * 600]}),
        ("keys", {"name": "a", "tags": ["x"] * 101}),
        ("teams", {"name": "a", "budgets": [{"usd": "∞"}]}),
        ("teams", {"name": "a", "budgets": [{"usd": 1, "role": "admin"}]}),
        ("teams", {"name": "a", "routes": ["*"]}),
        ("projects", {"name": "a", "team_id": "../x"}),
        ("projects", {"name": "a", "team_id": {"$ne": None}}),
    ],
)
def test_a_field_that_nobody_may_set_or_that_makes_no_sense_is_refused_and_nothing_is_made(
    gateway: House, what: str, fields: dict[str, object]
) -> None:
    before = gateway.admin("GET", f"/admin/{what}?limit=1000").json
    reply = gateway.admin("POST", f"/admin/{what}", fields)
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert reply.error["param"]
    assert gateway.admin("GET", f"/admin/{what}?limit=1000").json == before


@pytest.mark.parametrize(
    "headers",
    [
        {"x_forwarded_for": ", ".join(["10.0.0.1"] * 1000)},
        {"x_forwarded_for": "' OR 1=1--", "x_forwarded_proto": "https", "x_forwarded_host": "evil.example"},
        {"x_real_ip": "127.0.0.1", "forwarded": "for=127.0.0.1;host=evil.example"},
        {"x_request_timeout": "-1"},
        {"x_request_timeout": "1e9"},
        {"x_request_timeout": "abc"},
        {"x_stainless_read_timeout": "nan"},
        {"accept": "image/png", "accept_encoding": ", ".join(["gzip;q=0.001"] * 500)},
    ],
)
def test_headers_that_mean_nothing_here_change_nothing(gateway: House, headers: dict[str, str]) -> None:
    reply = gateway.chat(PLAIN_KEY, **headers)
    assert reply.status == 200
    assert "content-encoding" not in reply.headers
    assert gateway.chat("wrong", **headers).status == 401
