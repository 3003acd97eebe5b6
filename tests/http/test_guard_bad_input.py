"""Bad input at the HTTP layer: status, code, closed, and nothing of it reaches the application."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.http.guarded_server import Running, Said, serving, talk, talk_in_halves

HOST = b"Host: localhost\r\n"
POST = b"POST /x HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n"


def get(path: bytes = b"/x", *headers: bytes, host: bytes = HOST) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + host + b"".join(line + b"\r\n" for line in headers) + b"\r\n"


def with_length(value: bytes, body: bytes = b"hello") -> bytes:
    return POST + b"Content-Length: " + value + b"\r\n\r\n" + body


def with_encoding(value: bytes) -> bytes:
    return POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n"


BAD_HEADS: dict[str, tuple[bytes, int, str]] = {
    "length then encoding": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "invalid_http",
    ),
    "encoding then length and a smuggled request": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
        "invalid_http",
    ),
    "same length twice": (with_length(b"5\r\nContent-Length: 5"), 400, "invalid_http"),
    "two lengths": (with_length(b"5\r\nContent-Length: 6"), 400, "invalid_http"),
    "list of lengths": (with_length(b"5, 5"), 400, "invalid_http"),
    "length with plus": (with_length(b"+5"), 400, "invalid_http"),
    "negative length": (with_length(b"-1"), 400, "invalid_http"),
    "hexadecimal length": (with_length(b"0xd"), 400, "invalid_http"),
    "length over 64 bits": (with_length(b"18446744073709551616"), 400, "invalid_http"),
    "empty length": (with_length(b""), 400, "invalid_http"),
    "length with inner space": (with_length(b"5 5"), 400, "invalid_http"),
    "huge length": (with_length(b"1000000000"), 413, "request_too_large"),
    "huge length without body": (with_length(b"1000000000", b""), 413, "request_too_large"),
    "huge length with expectation": (
        with_length(b"1000000000\r\nExpect: 100-continue", b""),
        413,
        "request_too_large",
    ),
    "encoding x": (with_encoding(b"x"), 400, "invalid_transfer_encoding"),
    "encoding gzip and chunked": (with_encoding(b"gzip, chunked"), 400, "invalid_transfer_encoding"),
    "encoding chunked and identity": (with_encoding(b"chunked, identity"), 400, "invalid_transfer_encoding"),
    "encoding xchunked": (with_encoding(b"xchunked"), 400, "invalid_transfer_encoding"),
    "encoding with a vertical tab": (with_encoding(b"\x0bchunked"), 400, "invalid_transfer_encoding"),
    "empty encoding": (with_encoding(b""), 400, "invalid_transfer_encoding"),
    "encoding twice": (
        with_encoding(b"chunked\r\nTransfer-Encoding: chunked"),
        400,
        "invalid_transfer_encoding",
    ),
    "encoding identity, then chunked": (
        with_encoding(b"identity\r\nTransfer-Encoding: chunked"),
        400,
        "invalid_transfer_encoding",
    ),
    "chunked in HTTP/1.0": (
        b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "invalid_transfer_encoding",
    ),
    "space before colon": (get(b"/x", b"A : b"), 400, "invalid_http"),
    "empty header name": (get(b"/x", b": b"), 400, "invalid_http"),
    "control character in value": (get(b"/x", b"A: \x01"), 400, "invalid_http"),
    "NUL in value": (get(b"/x", b"A: \x00"), 400, "invalid_http"),
    "NUL in name": (get(b"/x", b"A\x00: b"), 400, "invalid_http"),
    "bare CR": (get(b"/x", b"A: b\rc"), 400, "invalid_http"),
    "folded header": (get(b"/x", b"A: b", b" c"), 400, "invalid_http"),
    "folded first header": (b"GET /x HTTP/1.1\r\n Host: a\r\n\r\n", 400, "invalid_http"),
    "space in name": (get(b"/x", b"A b: c"), 400, "invalid_http"),
    "lines that end in LF": (b"GET /x HTTP/1.1\nHost: localhost\n\n", 400, "invalid_http"),
    "one line that ends in LF": (b"GET /x HTTP/1.1\r\nHost: localhost\nA: b\r\n\r\n", 400, "invalid_http"),
    "no host": (get(host=b""), 400, "invalid_host"),
    "two hosts": (get(host=HOST + b"Host: other\r\n"), 400, "invalid_host"),
    "same host twice": (get(host=HOST + HOST), 400, "invalid_host"),
    "empty host": (get(host=b"Host:\r\n"), 400, "invalid_host"),
    "host with path": (get(host=b"Host: a/v1/models?x=\r\n"), 400, "invalid_host"),
    "host with space": (get(host=b"Host: a b\r\n"), 400, "invalid_host"),
    "host with user": (get(host=b"Host: u@a\r\n"), 400, "invalid_host"),
    "host with text for a port": (get(host=b"Host: a:80x\r\n"), 400, "invalid_host"),
    "two authorizations": (
        get(b"/x", b"Authorization: Bearer a", b"Authorization: Bearer b"),
        400,
        "duplicate_header",
    ),
    "two content types": (get(b"/x", b"Content-Type: a/b", b"content-type: c/d"), 400, "duplicate_header"),
    "HTTP/0.9 line": (b"GET /x\r\n", 505, "http_version"),
    "HTTP/0.9 version": (b"GET /x HTTP/0.9\r\n" + HOST + b"\r\n", 505, "http_version"),
    "HTTP/2.0 version": (b"GET /x HTTP/2.0\r\n" + HOST + b"\r\n", 505, "http_version"),
    "HTTP/1.2 version": (b"GET /x HTTP/1.2\r\n" + HOST + b"\r\n", 505, "http_version"),
    "RTSP": (b"GET /x RTSP/1.0\r\n" + HOST + b"\r\n", 505, "http_version"),
    "not HTTP at all": (b"GET /x HTTX/1.1\r\n" + HOST + b"\r\n", 400, "invalid_http"),
    "space in the URL": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400, "invalid_http"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_http"),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "invalid_http"),
    "binary garbage": (b"\x00\xff\xfe\x80garbage", 400, "invalid_http"),
    "JSON without HTTP": (b'{"model": "x"}', 400, "invalid_http"),
    "CONNECT to a host": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "method_not_allowed"),
    "CONNECT to a path": (b"CONNECT /x HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "TRACE": (b"TRACE /x HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "method in lower case": (b"get /x HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "method with @": (b"G@T /x HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "unknown method": (b"BREW /x HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "method of another protocol": (b"ANNOUNCE /x HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method_not_allowed"),
    "dot segments": (get(b"/v1/../admin"), 400, "invalid_path"),
    "one dot": (get(b"/v1/./admin"), 400, "invalid_path"),
    "dots at the end": (get(b"/v1/.."), 400, "invalid_path"),
    "two slashes": (get(b"//v1"), 400, "invalid_path"),
    "two slashes inside": (get(b"/v1//models"), 400, "invalid_path"),
    "escaped dots": (get(b"/v1/%2e%2e/admin"), 400, "invalid_path"),
    "escaped slash": (get(b"/admin%2fkeys"), 400, "invalid_path"),
    "escaped slash in capitals": (get(b"/admin%2Fkeys"), 400, "invalid_path"),
    "escaped backslash": (get(b"/v1%5cmodels"), 400, "invalid_path"),
    "backslash": (get(b"/v1\\models"), 400, "invalid_path"),
    "escaped NUL": (get(b"/v1/a%00"), 400, "invalid_path"),
    "escaped line feed": (get(b"/v1/a%0ab"), 400, "invalid_path"),
    "invalid UTF-8": (get(b"/v1/%ff"), 400, "invalid_path"),
    "half an escape": (get(b"/v1/%a"), 400, "invalid_path"),
    "semicolon": (get(b"/v1/models;x=1"), 400, "invalid_path"),
    "fragment": (get(b"/v1/models#x"), 400, "invalid_path"),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400, "invalid_path"),
    "climbing out of the models": (get(b"/v1/models/..%2f..%2fadmin"), 400, "invalid_path"),
    "escaped climbing out of the models": (get(b"/v1/models/%2e%2e%2fadmin"), 400, "invalid_path"),
    "empty segments below the models": (get(b"/v1/models/a%2f%2fb"), 400, "invalid_path"),
    "backslash below the models": (get(b"/v1/models/a%5cb"), 400, "invalid_path"),
    "URL of another host": (get(b"http://other/x"), 400, "invalid_host"),
    "URL of another scheme": (get(b"ftp://localhost/x"), 400, "invalid_path"),
    "gzip body": (with_length(b"5\r\nContent-Encoding: gzip"), 415, "unsupported_content_encoding"),
    "zstd body": (with_length(b"5\r\nContent-Encoding: zstd"), 415, "unsupported_content_encoding"),
    "strange expectation": (with_length(b"5\r\nExpect: banana"), 417, "expectation_failed"),
}

BAD_BODIES: dict[str, tuple[bytes, int, str]] = {
    "letters for a chunk size": (CHUNKED + b"ZZ\r\n", 400, "invalid_http"),
    "chunk size with prefix": (CHUNKED + b"0x1\r\nh\r\n0\r\n\r\n", 400, "invalid_http"),
    "chunk size of 17 digits": (CHUNKED + b"00000000000000005\r\nhello\r\n0\r\n\r\n", 400, "invalid_http"),
    "chunk size of 17 big digits": (CHUNKED + b"11111111111111111\r\n", 400, "invalid_http"),
    "chunk size with space": (CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", 400, "invalid_http"),
    "chunk line that ends in LF": (CHUNKED + b"5\nhello\r\n0\r\n\r\n", 400, "invalid_http"),
    "chunk data without CRLF": (CHUNKED + b"5\r\nhello0\r\n\r\n", 400, "invalid_http"),
    "chunk data too long": (CHUNKED + b"5\r\nhelloXX\r\n0\r\n\r\n", 400, "invalid_http"),
    "LF in a chunk extension": (CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n", 400, "invalid_http"),
    "negative chunk size": (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", 400, "invalid_http"),
    "bad trailer": (CHUNKED + b"5\r\nhello\r\n0\r\nA b: c\r\n\r\n", 400, "invalid_http"),
    "chunk over the limit": (CHUNKED + b"2000001\r\n", 413, "request_too_large"),
}

BIG: dict[str, tuple[bytes, int, str]] = {
    "URL over 8 KiB": (get(b"/" + b"a" * 9000), 414, "uri_too_long"),
    "URL over 64 KiB": (get(b"/" + b"a" * 90_000), 414, "uri_too_long"),
    "long URL with a bad character far behind": (get(b"/" + b"a" * 9000 + b"\x01"), 414, "uri_too_long"),
    "header over 64 KiB": (get(b"/x", b"A: " + b"b" * 70_000), 431, "header_too_large"),
    "header of 1 MB": (get(b"/x", b"A: " + b"b" * 1_000_000), 431, "header_too_large"),
    "many headers": (get(b"/x", *(b"A%d: b" % number for number in range(101))), 431, "header_too_large"),
    "100,000 headers": (get(b"/x", *[b"A: b"] * 100_000), 431, "header_too_large"),
    "chunk extension of 5 kB": (
        CHUNKED + b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
        400,
        "invalid_http",
    ),
    "chunk extension of 1 MB": (
        CHUNKED + b"5;" + b"a" * 1_000_000 + b"\r\nhello\r\n0\r\n\r\n",
        400,
        "invalid_http",
    ),
    "many small chunk extensions": (CHUNKED + b"1;a=bcdef\r\nh\r\n" * 1000 + b"0\r\n\r\n", 400, "invalid_http"),
    "long trailers": (CHUNKED + b"0\r\n" + b"A: b\r\n" * 1000 + b"\r\n", 400, "invalid_http"),
    "endless empty lines": (b"\r\n" * 40_000, 431, "header_too_large"),
}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serving() as server:
        yield server


def judge(said: Said, status: int, code: str) -> None:
    assert [answer.status for answer in said.answers] == [status], said.raw[:300]
    (answer,) = said.answers
    assert said.is_closed
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"].startswith("req_")
    assert set(answer.json) == {"error"}
    error = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, code)
    assert error["message"]


@pytest.mark.parametrize("name", BAD_HEADS)
async def test_a_bad_head_is_refused_the_same_way_however_it_is_cut(name: str, running: Running) -> None:
    message, status, code = BAD_HEADS[name]
    before = len(running.app.dispatched)
    judge(await talk(running.port, message), status, code)
    for said in talk_in_halves(running.port, message, list(range(1, len(message)))):
        judge(said, status, code)
    assert len(running.app.dispatched) == before


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_bad_body_is_refused_the_same_way_however_it_is_cut(name: str, running: Running) -> None:
    message, status, code = BAD_BODIES[name]
    before, answered = len(running.app.dispatched), len(running.app.answered)
    judge(await talk(running.port, message), status, code)
    assert len(running.app.dispatched) == before
    cuts = list(range(1, len(message)))
    for said in talk_in_halves(running.port, message, cuts):
        judge(said, status, code)
    assert len(running.app.answered) == answered
    assert len(running.app.dispatched) - before <= len(cuts)


@pytest.mark.parametrize("name", BIG)
async def test_an_oversized_message_is_refused(name: str, running: Running) -> None:
    message, status, code = BIG[name]
    answered = len(running.app.answered)
    judge(await talk(running.port, message), status, code)
    cuts = [5, len(message) // 2, 8192, 65535, 65536, 65537, len(message) - 3]
    for said in talk_in_halves(running.port, message, [cut for cut in cuts if cut < len(message)]):
        judge(said, status, code)
    assert len(running.app.answered) == answered


@pytest.mark.parametrize("name", ["method in lower case", "length then encoding", "encoding with a vertical tab"])
async def test_a_bad_head_byte_by_byte_is_refused(name: str, running: Running) -> None:
    message, status, code = BAD_HEADS[name]
    pieces = [message[index : index + 1] for index in range(len(message))]
    judge(await talk(running.port, *pieces, pause=0.001), status, code)


async def test_a_wrong_method_names_the_right_ones(running: Running) -> None:
    said = await talk(running.port, BAD_HEADS["TRACE"][0])
    assert "POST" in said.answers[0].headers["allow"]


async def test_a_refused_client_that_still_sends_can_read_the_answer(running: Running) -> None:
    message = with_length(b"1000000000", b"x" * 8_000_000)
    judge(await talk(running.port, message), 413, "request_too_large")


async def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    from gateway.http.guard.limits import GuardLimits

    with serving(GuardLimits(max_body_bytes=1000)) as server:
        exact = await talk(server.port, with_length(b"1000", b"x" * 1000), until=1)
        assert exact.answers[0].status == 200
        judge(await talk(server.port, with_length(b"1001", b"x" * 1001)), 413, "request_too_large")
        chunks = b"1f4\r\n" + b"x" * 500 + b"\r\n"
        exact = await talk(server.port, CHUNKED + chunks * 2 + b"0\r\n\r\n", until=1)
        assert len(exact.answers[0].json["body"]) == 1000
        judge(await talk(server.port, CHUNKED + chunks * 2 + b"1\r\nx\r\n0\r\n\r\n"), 413, "request_too_large")
