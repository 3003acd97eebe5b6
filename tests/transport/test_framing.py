"""The parser's side of a connection, fed by hand: every way of cutting a response gives the same result."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transport.base import Fault, Timeouts, TransportError
from gateway.transport.connection import Connection
from gateway.transport.exchange import Exchange
from gateway.transport.pool import Pool
from gateway.transport.sweeper import Sweeper
from gateway.transport.wire import Origin
from tests.upstreams.scripted import chunk, response

ZIPPED = gzip.compress(b"plain text " * 20)


class Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def write(self, data: object) -> None:
        assert not self.is_closed

    def is_closing(self) -> bool:
        return self.is_closed

    def abort(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@dataclass(frozen=True)
class Result:
    """All that a caller can see of a response, and whether its connection was kept."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    fault: Fault | None = None
    is_kept: bool = False


async def _no_dial(pool: Pool, timeouts: Timeouts) -> Connection:
    raise AssertionError("nothing is dialled here")


async def receive(*packets: bytes, then_close: bool = False, is_head: bool = False) -> Result:
    """Feeds the packets to a connection that has sent a request, and returns what comes out."""
    loop = asyncio.get_running_loop()
    origin = Origin("http", "upstream", 80)
    pool = Pool(origin, loop=loop, sweeper=Sweeper(loop), dial=_no_dial, limit=1, idle_seconds=60.0)
    wire = Wire()
    connection = Connection(pool, loop)
    connection.connection_made(wire)
    connection.hold_slot()
    exchange = connection.start(b"request", Timeouts(head=0.0, idle=0.0), is_head=is_head)
    for packet in packets:
        if not wire.is_closed:
            connection.data_received(packet)
    if then_close or wire.is_closed:
        connection.connection_lost(None)
    return await _outcome(exchange, pool)


AGAIN = {
    "another length": response(200, (("x-a", "1"),), b"longer than before"),
    "the same": response(200, (("x-a", "1"),), b"hello"),
    "no body": response(200, (("x-a", "1"),), b""),
    "another header": response(200, (("x-a", "2"),), b"hello"),
    "another status": response(201, (("x-a", "1"),), b"hello"),
    "surplus bytes": response(200, (("x-a", "1"),), b"hello") + b"HTTP",
    "no number": response(200, (("x-a", "1"),), b"hello").replace(b": 5", b": 5x"),
    "the end of the connection": response(200, (("x-a", "1"),), b"hello")[:-1],
}


@pytest.mark.parametrize("is_head", [False, True], ids=["GET", "HEAD"])
@pytest.mark.parametrize("second", AGAIN.values(), ids=AGAIN)
async def test_a_response_means_the_same_after_one_with_such_a_head(second: bytes, is_head: bool) -> None:
    loop = asyncio.get_running_loop()
    pool = Pool(
        Origin("http", "upstream", 80), loop=loop, sweeper=Sweeper(loop), dial=_no_dial, limit=1, idle_seconds=60.0
    )
    connection = Connection(pool, loop)
    connection.connection_made(Wire())
    connection.hold_slot()
    first = connection.start(b"request", Timeouts(), is_head=False)
    connection.data_received(response(200, (("x-a", "1"),), b"hello"))
    assert (await _outcome(first, pool)).body == b"hello"
    exchange = connection.start(b"request", Timeouts(), is_head=is_head)
    connection.data_received(second)
    connection.connection_lost(None)
    alone = await receive(second, then_close=True, is_head=is_head)
    assert (await _outcome(exchange, pool), exchange.head.status) == (alone, alone.status)


async def _outcome(exchange: Exchange, pool: Pool) -> Result:
    body = b""
    try:
        await exchange.wait_for_head()
        while piece := await exchange.next():
            body += piece
    except TransportError as error:
        return Result(exchange.head.status, tuple(exchange.head.headers.items()), body, error.fault)
    finally:
        exchange.release()
    is_kept = pool.take() is not None
    return Result(exchange.head.status, tuple(exchange.head.headers.items()), body, None, is_kept)


PLAIN = (("x-a", "1"),)
CASES: dict[str, tuple[bytes, Result]] = {
    "length": (
        response(200, PLAIN, b"hello"),
        Result(200, (("x-a", "1"), ("content-length", "5")), b"hello", is_kept=True),
    ),
    "no body": (response(204, PLAIN, length=False), Result(204, PLAIN, is_kept=True)),
    "empty": (response(200), Result(200, (("content-length", "0"),), is_kept=True)),
    "chunked, with extension and trailers": (
        response(200, [("Transfer-Encoding", "Chunked")], length=False)
        + b"5;a=b\r\nhello\r\n"
        + chunk(b" world")
        + b"0\r\nx-trailer: 1\r\nauthorization: Bearer t\r\n\r\n",
        Result(200, (("transfer-encoding", "Chunked"),), b"hello world", is_kept=True),
    ),
    "interim responses": (
        b"HTTP/1.1 100 Continue\r\nx-early: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + response(200, (), b"x"),
        Result(200, (("content-length", "1"),), b"x", is_kept=True),
    ),
    "connection: close": (
        response(200, [("Connection", "close")], b"bye"),
        Result(200, (("connection", "close"), ("content-length", "3")), b"bye"),
    ),
    "HTTP/1.0": (
        response(200, (), b"old").replace(b"HTTP/1.1", b"HTTP/1.0"),
        Result(200, (("content-length", "3"),), b"old"),
    ),
    "HTTP/1.0 with keep-alive": (
        response(200, [("connection", "keep-alive")], b"old").replace(b"HTTP/1.1", b"HTTP/1.0"),
        Result(200, (("connection", "keep-alive"), ("content-length", "3")), b"old", is_kept=True),
    ),
    "blanks around values, repeated names, Latin-1": (
        b"HTTP/1.1 200 OK\r\nX-A: \t one \r\nX-B:two\t\r\nx-a:three\r\nX-E:\r\nX-L: \xe9\r\nContent-Length: 0\r\n\r\n",
        Result(
            200,
            (("x-a", "one, three"), ("x-b", "two"), ("x-e", ""), ("x-l", "\xe9"), ("content-length", "0")),
            is_kept=True,
        ),
    ),
    "gzip": (
        response(200, [("content-encoding", "gzip")], ZIPPED),
        Result(200, (), b"plain text " * 20, is_kept=True),
    ),
    "deflate": (
        response(200, [("content-encoding", "deflate")], zlib.compress(b"plain text " * 20)),
        Result(200, (), b"plain text " * 20, is_kept=True),
    ),
    "surplus": (
        response(200, (), b"mine") + response(200, (), b"evil"),
        Result(200, (("content-length", "4"),), b"mine"),
    ),
    "surplus junk": (response(200, (), b"mine") + b"junk", Result(200, (("content-length", "4"),), b"mine")),
    "surplus after a chunked body": (
        response(200, [("transfer-encoding", "chunked")], length=False) + chunk(b"mine") + b"0\r\n\r\nHTTP/1.1 200",
        Result(200, (("transfer-encoding", "chunked"),), b"mine"),
    ),
    "bad chunk size after a good chunk": (
        response(200, [("transfer-encoding", "chunked")], length=False) + chunk(b"good") + b"zz\r\n",
        Result(200, (("transfer-encoding", "chunked"),), b"good", Fault.PROTOCOL),
    ),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", Result(fault=Fault.PROTOCOL)),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        Result(fault=Fault.PROTOCOL),
    ),
}
CLOSED: dict[str, tuple[bytes, Result]] = {
    "body until close": (b"HTTP/1.1 200 OK\r\nx-a: 1\r\n\r\nall of it", Result(200, PLAIN, b"all of it")),
    "empty body until close": (b"HTTP/1.1 200 OK\r\nx-a: 1\r\n\r\n", Result(200, PLAIN)),
    "short length": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        Result(200, (("content-length", "9"),), b"short", Fault.DISCONNECTED),
    ),
    "no last chunk": (
        response(200, [("transfer-encoding", "chunked")], length=False) + chunk(b"some"),
        Result(200, (("transfer-encoding", "chunked"),), b"some", Fault.DISCONNECTED),
    ),
    "half a head": (b"HTTP/1.1 200 OK\r\nx-a", Result(fault=Fault.DISCONNECTED)),
    "interim only": (b"HTTP/1.1 100 Continue\r\n\r\n", Result(fault=Fault.DISCONNECTED)),
    "nothing": (b"", Result(fault=Fault.DISCONNECTED)),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_response_cut_at_any_byte_gives_the_same_result(name: str) -> None:
    data, expected = CASES[name]
    assert await receive(data) == expected
    for cut in range(1, len(data)):
        assert await receive(data[:cut], data[cut:]) == expected, cut


@pytest.mark.parametrize("name", CASES)
async def test_a_response_in_packets_of_one_byte_gives_the_same_result(name: str) -> None:
    data, expected = CASES[name]
    assert await receive(*(data[at : at + 1] for at in range(len(data)))) == expected


@pytest.mark.parametrize("name", CLOSED)
async def test_a_response_that_ends_with_the_connection_gives_the_same_result_however_cut(name: str) -> None:
    data, expected = CLOSED[name]
    for cut in range(1, max(len(data), 2)):
        packets = [packet for packet in (data[:cut], data[cut:]) if packet]
        assert await receive(*packets, then_close=True) == expected, cut


@given(st.data())
def test_a_stream_cut_at_random_gives_the_same_body(data: st.DataObject) -> None:
    pieces = data.draw(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=8))
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    stream = head + b"".join(map(chunk, pieces)) + b"0\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=10)))
    packets = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    result = asyncio.run(receive(*packets))
    assert (result.body, result.fault, result.is_kept) == (b"".join(pieces), None, True)


@given(st.binary(max_size=300), st.booleans())
def test_junk_gives_a_fault_or_a_response_and_nothing_else(junk: bytes, has_head: bool) -> None:
    start = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" if has_head else b""
    result = asyncio.run(receive(start + junk or b"x", then_close=True))
    assert result.fault is not None or result.status == 200


async def test_an_answer_to_head_ends_with_its_headers() -> None:
    result = await receive(response(200, [("content-length", "9")], length=False), is_head=True)
    assert result == Result(200, (("content-length", "9"),))


async def test_chunk_extensions_without_end_are_refused() -> None:
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    result = await receive(head, b"5;", *[b"a" * 8192] * 10)
    assert result.fault is Fault.PROTOCOL


async def test_trailers_without_end_are_refused() -> None:
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    result = await receive(head, b"0\r\n", *[b"x-t: " + b"a" * 8192 + b"\r\n"] * 10)
    assert result.fault is Fault.PROTOCOL


async def test_interim_responses_without_end_are_refused() -> None:
    result = await receive(*[b"HTTP/1.1 103 Early Hints\r\nx-a: " + b"a" * 8000 + b"\r\n\r\n"] * 10)
    assert result.fault is Fault.PROTOCOL
