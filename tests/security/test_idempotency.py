"""`Idempotency-Key` at a real gateway: what is none is refused, and none ever stands for two requests."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.security.house import NAMED_KEY, PLAIN_KEY, House, house

SLOW = {"model": "r", "stream": True, "messages": [{"role": "user", "content": "word " * 25}]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("idempotency")) as one:
        yield one


@pytest.mark.parametrize("value", ["", "x" * 256, "schl\xfcssel"], ids=["empty", "long", "not ASCII"])
def test_what_is_no_key_is_refused_by_name(gateway: House, value: str) -> None:
    reply = gateway.chat(PLAIN_KEY, idempotency_key=value)
    assert (reply.status, reply.code, reply.error["param"]) == (400, "invalid_idempotency_key", "idempotency-key")
    assert reply.headers["x-should-retry"] == "false"


def test_a_line_break_in_it_ends_the_connection_and_not_the_header(gateway: House) -> None:
    body = b'{"model":"r","messages":[{"role":"user","content":"x"}]}'
    for evil in (b"a\r\n b", b"a\rb", b"a\nx-evil: 1", b"a\0b"):
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        head += b"authorization: Bearer %b\r\nidempotency-key: %b\r\n" % (PLAIN_KEY.encode(), evil)
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as one:
            one.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            said = one.makefile("rb").read()
        assert said.startswith(b"HTTP/1.1 400 ")
        assert said.count(b"HTTP/1.1") == 1


def test_the_same_request_is_served_again_and_another_one_is_not(gateway: House) -> None:
    assert [gateway.chat(PLAIN_KEY, idempotency_key="one").status for _ in range(3)] == [200] * 3
    for model in ("s", "demo/echo"):
        reply = gateway.chat(PLAIN_KEY, model, idempotency_key="one")
        assert (reply.status, reply.code) == (400, "idempotency_mismatch")
    completion = {"model": "r", "prompt": "x"}
    reply = gateway.client("POST", "/v1/completions", completion, key=PLAIN_KEY, idempotency_key="one")
    assert reply.code == "idempotency_mismatch"
    assert gateway.chat(PLAIN_KEY, idempotency_key="one").status == 200


def test_two_clients_may_take_the_same_one(gateway: House) -> None:
    assert gateway.chat(PLAIN_KEY, "r", idempotency_key="shared").status == 200
    assert gateway.chat(NAMED_KEY, "s", idempotency_key="shared").status == 200
    virtual = gateway.made("keys", name="third")["key"]
    assert gateway.chat(virtual, "demo/echo", idempotency_key="shared").status == 200


def test_a_request_that_was_refused_does_not_take_its_key(gateway: House) -> None:
    wrong = {"model": "r", "messages": []}
    path = "/v1/chat/completions"
    assert gateway.client("POST", path, wrong, key=PLAIN_KEY, idempotency_key="tried").code == "empty_array"
    assert gateway.chat(PLAIN_KEY, idempotency_key="tried").status == 200


def test_of_many_at_once_one_is_served_at_a_time_and_then_the_others(gateway: House) -> None:
    def ask(_: int) -> tuple[int, str | None]:
        reply = gateway.client("POST", "/v1/chat/completions", SLOW, key=PLAIN_KEY, idempotency_key="at once")
        return reply.status, None if reply.status == 200 else reply.code

    with ThreadPoolExecutor(8) as pool:
        heard = Counter(pool.map(ask, range(24)))
    assert set(heard) <= {(200, None), (409, "idempotency_in_progress")}
    assert heard[200, None] >= 1
    assert ask(0) == (200, None)
