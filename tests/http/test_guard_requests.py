"""Good and odd requests: what the application sees, in which order it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from gateway.http.guard.limits import GuardLimits
from tests.http.guarded_server import Running, raw_socket, read_all, serving, talk, talk_in_halves, until

HOST = b"Host: localhost\r\n"
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    with serving(loop=request.param) as server:
        yield server


def post(body: bytes, *headers: bytes, path: bytes = b"/echo") -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (path, HOST, lines, len(body), body)


def get(path: bytes, *headers: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b%b\r\n" % (path, HOST, b"".join(line + b"\r\n" for line in headers))


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.2", b"foo"])
async def test_a_body_behind_an_upgrade_stays_a_body(protocol: bytes, running: Running) -> None:
    upgrade = (b"Connection: Upgrade, close, HTTP2-Settings", b"Upgrade: " + protocol)
    message = post(SMUGGLED, *upgrade)
    cuts = [1, 20, message.index(b"\r\n\r\n") + 4, message.index(b"GET /admin"), len(message) - 1]
    whole = await talk(running.port, message)
    for said in [whole, *talk_in_halves(running.port, message, cuts)]:
        assert [answer.status for answer in said.answers] == [200]
        echoed = said.answers[0].json
        assert echoed["body"] == SMUGGLED.decode()
        assert "upgrade" not in {name for name, _ in echoed["headers"]}
    assert "/admin" not in running.app.dispatched


async def test_an_upgrade_of_a_chunked_request_is_ignored_too(running: Running) -> None:
    message = (
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + get(b"/next")
    )
    said = await talk(running.port, message, until=2)
    assert [answer.json["body"] for answer in said.answers] == ["hello", ""]
    assert said.answers[1].json["path"] == "/next"


async def test_trailers_are_invisible_in_this_request_and_the_next(running: Running) -> None:
    message = (
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
        b"Authorization: Bearer z\r\nHost: evil\r\n\r\n" + get(b"/next")
    )
    said = await talk(running.port, message, until=2)
    assert [answer.status for answer in said.answers] == [200, 200]
    for answer in said.answers:
        names = [name for name, _ in answer.json["headers"]]
        assert "authorization" not in names
        assert names.count("host") == 1


async def test_a_chunked_body_may_have_short_extensions(running: Running) -> None:
    body = b'5;a=b\r\nhello\r\n6;c="d;e"\r\n world\r\n0\r\n\r\n'
    message = b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: Chunked\r\n\r\n" + body
    whole = await talk(running.port, message, until=1)
    assert whole.answers[0].json["body"] == "hello world"
    pieces = [message[index : index + 1] for index in range(len(message))]
    trickled = await talk(running.port, *pieces, pause=0.001, until=1)
    assert trickled.answers[0].json["body"] == "hello world"


async def test_a_hundred_pipelined_requests_are_answered_in_order(running: Running) -> None:
    message = b"".join(post(b"%d" % number, path=b"/echo?%d" % number) for number in range(100))
    said = await talk(running.port, message, until=100)
    assert [answer.json["query"] for answer in said.answers] == [str(number) for number in range(100)]
    assert [answer.json["body"] for answer in said.answers] == [str(number) for number in range(100)]


async def test_pipelined_requests_in_odd_packets_are_answered_in_order(running: Running) -> None:
    message = b"".join(post(b"%d" % number, path=b"/echo?%d" % number) for number in range(30))
    pieces = [message[index : index + 97] for index in range(0, len(message), 97)]
    said = await talk(running.port, *pieces, pause=0.001, until=30)
    assert [answer.json["query"] for answer in said.answers] == [str(number) for number in range(30)]


async def test_pipelined_requests_behind_a_slow_one_wait(running: Running) -> None:
    message = get(b"/slow?0.2&pipe") + b"".join(get(b"/echo?%d" % number) for number in range(40))
    said = await talk(running.port, message, until=41)
    assert said.answers[0].body == b'{"slow":true}'
    assert [answer.json["query"] for answer in said.answers[1:]] == [str(number) for number in range(40)]


async def test_empty_lines_between_requests_are_skipped(running: Running) -> None:
    said = await talk(running.port, b"\r\n" + get(b"/a") + b"\r\n\r\n" + get(b"/b"), until=2)
    assert [answer.json["path"] for answer in said.answers] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/v1/models/org%2Fmodel", "/v1/models/org/model"),
        (b"/v1/models/org%2fmodel%3Afree", "/v1/models/org/model:free"),
        (b"/v1/models/org/model-1.5@x", "/v1/models/org/model-1.5@x"),
        (b"/v1/models/a%20b", "/v1/models/a b"),
        (b"/v1/%C3%A4", "/v1/ä"),
        (b"/v1/a..b/", "/v1/a..b/"),
        (b"/v1/%252e%252e/x", "/v1/%2e%2e/x"),
        (b"http://localhost/v1/x?q=http://a//b;c", "/v1/x"),
        (b"HTTP://LOCALHOST/v1/x", "/v1/x"),
        (b"http://localhost", "/"),
    ],
)
async def test_a_good_target_reaches_the_application(target: bytes, path: str, running: Running) -> None:
    said = await talk(running.port, get(target), until=1)
    assert said.answers[0].json["path"] == path


async def test_the_query_is_passed_on_as_it_came(running: Running) -> None:
    said = await talk(running.port, get(b"/echo?a=%2f..//;b?c"), until=1)
    assert said.answers[0].json["query"] == "a=%2f..//;b?c"


async def test_http_1_0_gets_an_answer_without_chunks_and_a_close(running: Running) -> None:
    said = await talk(running.port, b"GET /echo HTTP/1.0\r\n\r\n")
    assert (said.answers[0].status, said.is_closed) == (200, True)
    stream = await talk(running.port, b"GET /stream?0 HTTP/1.0\r\n\r\n")
    assert "transfer-encoding" not in stream.answers[0].headers
    assert stream.answers[0].body == b"data: one\n\ndata: [DONE]\n\n"
    assert stream.is_closed


async def test_head_has_no_body(running: Running) -> None:
    said = await talk(running.port, b"HEAD /echo HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert said.raw.endswith(b"\r\n\r\n")
    assert said.raw.startswith(b"HTTP/1.1 200")


async def test_connection_close_is_honoured(running: Running) -> None:
    said = await talk(running.port, get(b"/echo", b"Connection: close"))
    assert (said.answers[0].status, said.answers[0].headers["connection"], said.is_closed) == (200, "close", True)


async def test_a_big_upload_arrives_whole(running: Running) -> None:
    body = bytes(range(65, 91)) * 200_000
    said = await talk(running.port, post(body), until=1)
    assert said.answers[0].json["body"] == body.decode()


async def test_a_big_answer_arrives_whole_and_the_connection_stays(running: Running) -> None:
    said = await talk(running.port, get(b"/whole") + get(b"/echo"), until=2)
    assert said.answers[0].body == b"y" * 5_000_000
    assert said.answers[1].json["path"] == "/echo"


async def test_continue_is_sent_when_the_application_reads_the_body(running: Running) -> None:
    head = post(b"hello", b"Expect: 100-continue")[:-5]
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(head)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hello")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.transport.abort()


async def test_no_continue_for_a_request_that_is_refused_unread(running: Running) -> None:
    said = await talk(running.port, post(b"hello", b"Expect: 100-continue", path=b"/early")[:-5])
    assert said.raw.startswith(b"HTTP/1.1 401")
    assert (said.answers[0].headers["connection"], said.is_closed) == ("close", True)


async def test_an_early_answer_can_be_read_although_the_upload_goes_on(running: Running) -> None:
    body = b"x" * 3_000_000
    said = await talk(running.port, post(body, b"Connection: close", path=b"/early"))
    assert (said.answers[0].status, said.is_closed) == (401, True)


async def test_after_an_early_answer_the_rest_of_the_upload_is_no_request(running: Running) -> None:
    body = SMUGGLED * 1000
    message = post(body, path=b"/early")
    said = await talk(running.port, message[:300], message[300:] + get(b"/echo"), until=2)
    assert [answer.status for answer in said.answers] == [401, 200]
    assert said.answers[1].json["path"] == "/echo"
    assert "/admin" not in running.app.dispatched


async def test_garbage_behind_a_request_in_one_packet_stops_the_request(running: Running) -> None:
    before = len(running.app.dispatched)
    said = await talk(running.port, post(b'{"model":"x"', path=b"/slow?5&short") + b"}")
    assert [(answer.status, answer.code) for answer in said.answers] == [(400, "invalid_http")]
    assert said.is_closed
    assert len(running.app.dispatched) == before


async def test_garbage_behind_a_running_request_ends_it_before_it_is_answered(running: Running) -> None:
    said = await talk(running.port, post(b"{", path=b"/slow?5&late"), b"}", pause=0.05)
    assert [(answer.status, answer.code) for answer in said.answers] == [(400, "invalid_http")]
    assert said.is_closed
    assert until(lambda: "5&late" in running.app.gone)


async def test_a_bad_request_behind_a_slow_one_is_refused_at_once(running: Running) -> None:
    bad = b"POST /x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n"
    for pieces in ((get(b"/slow?5&one") + bad,), (get(b"/slow?5&two"), bad)):
        said = await talk(running.port, *pieces, pause=0.05)
        assert [(answer.status, answer.code) for answer in said.answers] == [(400, "invalid_http")]
        assert said.is_closed


async def test_forwarding_headers_change_nothing(running: Running) -> None:
    message = get(b"/echo", b"X-Forwarded-For: 10.9.8.7", b"X-Forwarded-Proto: https", b"Forwarded: for=1.2.3.4")
    said = await talk(running.port, message, until=1)
    assert (said.answers[0].json["client"], said.answers[0].json["scheme"]) == ("127.0.0.1", "http")


async def test_garbage_behind_a_running_stream_is_refused_after_it(running: Running) -> None:
    said = await talk(running.port, post(b"{", path=b"/stream?0.2&garbage"), b"}" + SMUGGLED, pause=0.05)
    assert [answer.status for answer in said.answers] == [200, 400]
    assert said.answers[0].body.endswith(b"data: [DONE]\n\n")
    assert said.is_closed
    assert "/admin" not in running.app.dispatched


async def test_a_request_behind_connection_close_is_not_served(running: Running) -> None:
    before = len(running.app.dispatched)
    said = await talk(running.port, get(b"/echo", b"Connection: close") + SMUGGLED)
    assert [answer.status for answer in said.answers] == [400]
    assert len(running.app.dispatched) == before


async def test_a_body_cut_short_ends_without_an_answer(running: Running) -> None:
    before = len(running.app.answered)
    one = raw_socket(running.port)
    one.sendall(post(b"hello", path=b"/cut-short")[:-1])
    assert until(lambda: "/cut-short" in running.app.dispatched)
    one.shutdown(1)
    assert read_all(one).raw == b""
    assert until(lambda: "/cut-short" in running.app.disconnects)
    assert len(running.app.answered) == before


async def test_control_characters_in_a_response_header_are_dropped(running: Running) -> None:
    said = await talk(running.port, get(b"/odd-headers"), until=1)
    headers = said.answers[0].headers
    assert (said.answers[0].status, headers["x-odd"], headers["x-fine"]) == (200, "ax-evil: 1b", "yes")
    assert "x-evil" not in headers
    assert "bad name" not in headers


@pytest.mark.parametrize("name", ["/boom", "/half-boom"])
async def test_a_bug_in_the_application_is_a_500_or_a_cut(
    name: str, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    said = await talk(running.port, get(name.encode()))
    assert said.is_closed
    if name == "/boom":
        assert (said.answers[0].status, said.answers[0].code) == (500, "internal_error")
    else:
        assert b"part" in said.raw
        assert not said.raw.endswith(b"0\r\n\r\n")
    assert "a bug" in caplog.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost:8080", 200),
        (b"127.0.0.1", 200),
        (b"[::1]:80", 200),
        (b"LOCALHOST", 200),
        (b"evil.example", 400),
        (b"localhost.evil.example", 400),
        (b"127.0.0.1.evil.example:80", 400),
        (b"[::2]", 400),
    ],
)
async def test_only_allowed_hosts_are_served(host: bytes, status: int) -> None:
    allowed = frozenset({"localhost", "127.0.0.1", "[::1]"})
    with serving(GuardLimits(allowed_hosts=allowed)) as server:
        said = await talk(server.port, b"GET /echo HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", until=1)
        assert said.answers[0].status == status
        assert status == 200 or said.answers[0].code == "invalid_host"


async def test_a_second_request_may_not_change_to_a_foreign_host() -> None:
    with serving(GuardLimits(allowed_hosts=frozenset({"localhost"}))) as server:
        message = get(b"/echo") + b"GET /echo HTTP/1.1\r\nHost: evil\r\n\r\n"
        said = await talk(server.port, message[:-40], message[-40:])
        assert said.answers[-1].status == 400
