"""What every transport must do with broken, giant and compressed responses, on real sockets."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import pytest

from gateway.transport.base import MAX_RESPONSE_BYTES, Fault, Timeouts, Transport, TransportError
from gateway.transport.decoding import PIECE_BYTES
from tests.transport.contract import KIB, MIB, OK, TIMEOUTS, bytes_until_it_stops, endless, fault_of, fetch, get, post
from tests.upstreams.scripted import (
    FIN,
    RESET,
    STALL,
    Answer,
    ScriptedUpstream,
    Step,
    chunk,
    raw,
    response,
)

# Broken responses.


@pytest.mark.parametrize("end", [FIN, RESET])
@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nshort",
    ],
)
async def test_a_body_cut_short_is_an_error(transport: Transport, start: bytes, end: Step) -> None:
    async with ScriptedUpstream([raw(start, 0.02, end)]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        assert await got.next() == b"short"
        with pytest.raises(TransportError) as caught:
            await got.next()
        assert not got.is_complete
        got.release()
    assert (caught.value.fault, caught.value.replayable) == (Fault.DISCONNECTED, False)


async def test_a_reset_before_the_head_is_an_error(transport: Transport) -> None:
    async with ScriptedUpstream([raw(RESET)]) as upstream:
        error = await fault_of(transport, post(upstream))
    assert (error.fault, error.replayable) == (Fault.DISCONNECTED, False)


async def test_a_head_cut_short_is_an_error(transport: Transport) -> None:
    async with ScriptedUpstream([raw(b"HTTP/1.1 200 OK\r\ncontent-", 0.01, FIN)]) as upstream:
        error = await fault_of(transport, post(upstream))
    assert (error.fault, error.replayable) == (Fault.DISCONNECTED, False)


async def test_a_reset_ends_a_body_that_only_the_close_would_end(transport: Transport) -> None:
    async with ScriptedUpstream([raw(b"HTTP/1.1 200 OK\r\n\r\nsome", 0.02, RESET)]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        assert await got.next() == b"some"
        with pytest.raises(TransportError) as caught:
            await got.next()
        got.release()
    assert caught.value.fault is Fault.DISCONNECTED


async def test_interim_responses_are_skipped(transport: Transport) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with ScriptedUpstream([raw(interim, 0.01, b"HTTP/1.1 102 P\r\n\r\n" + response(200, [], b"ok"))]) as upstream:
        assert await fetch(transport, get(upstream)) == (200, b"ok")


REFUSED = {
    "101": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "101 without upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "status 600": response(600),
    "status 999": response(999),
    "status 1000": response(1000),
    "status 99": response(99).replace(b" 99 ", b" 099 "),
    "status 20": response(20),
    "HTTP/0.9": b"hello",
    "HTTP/2.0": response().replace(b"/1.1", b"/2.0"),
    "length and chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "folded header": b"HTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\ncontent-length: 0\r\n\r\n",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nx-a: 1\0\r\ncontent-length: 0\r\n\r\n",
    "junk chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "header block of 70 KiB": response(200, [("x-a", "a" * 70 * KIB)]),
    "header block of 70 KiB in lines": response(200, [(f"x-{n}", "a" * KIB) for n in range(70)]),
    "300 headers": response(200, [(f"x-{n}", "a") for n in range(300)]),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_response_that_is_not_plain_http_is_refused(transport: Transport, name: str) -> None:
    async with ScriptedUpstream([raw(REFUSED[name], STALL), OK]) as upstream:
        error = await fault_of(transport, get(upstream), Timeouts(connect=2.0, pool=1.0, head=2.0))
        assert error.fault is Fault.PROTOCOL
        assert "aaaa" not in error.message
        await upstream.wait_closed(0)
        assert await fetch(transport, get(upstream)) == (200, b'{"ok": true}')


async def test_an_endless_header_line_is_refused(transport: Transport) -> None:
    def endless() -> Iterator[Step]:
        yield b"HTTP/1.1 200 OK\r\nx-a: "
        while True:
            yield b"a" * 16 * KIB

    async with ScriptedUpstream([Answer(endless())]) as upstream:
        assert (await fault_of(transport, get(upstream))).fault is Fault.PROTOCOL


# Caps and back-pressure.


async def test_a_giant_body_is_cut_at_the_limit(transport: Transport) -> None:
    zeros = endless(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n", bytes(64 * KIB))
    async with ScriptedUpstream([zeros]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        with pytest.raises(TransportError) as caught:
            await got.read(MIB)
        got.release()
        await upstream.wait_closed(0)
        assert upstream.connections[0].sent_bytes < 32 * MIB
    assert caught.value.fault is Fault.TOO_LARGE


async def test_a_slow_reader_stops_the_upstream(transport: Transport) -> None:
    piece = chunk(bytes(64 * KIB))
    head = response(200, [("transfer-encoding", "chunked")], length=False)
    async with ScriptedUpstream([endless(head, piece)]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        before = await bytes_until_it_stops(upstream.connections[0])
        assert before < 16 * MIB
        read = 0
        while read <= before:
            read += len(await got.next())
        assert upstream.connections[0].sent_bytes > before
        got.release()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "raw deflate"])
async def test_one_layer_of_compression_is_decoded(transport: Transport, encoding: str) -> None:
    text = b'{"ok": true}' * 50_000
    raw_deflate = zlib.compressobj(wbits=-15)
    body = {
        "gzip": gzip.compress(text),
        "x-gzip": gzip.compress(text),
        "deflate": zlib.compress(text),
        "raw deflate": raw_deflate.compress(text) + raw_deflate.flush(),
    }[encoding]
    answer = raw(response(200, [("content-encoding", encoding.split()[-1])], body))
    async with ScriptedUpstream([answer]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        assert await got.read() == text
        assert got.is_complete
        assert "content-encoding" not in got.head.headers
        assert "content-length" not in got.head.headers
        got.release()


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES])
async def test_a_compressed_body_of_any_size_ends(transport: Transport, size: int) -> None:
    answer = raw(response(200, [("content-encoding", "gzip")], gzip.compress(bytes(size))))
    async with ScriptedUpstream([answer]) as upstream:
        assert await fetch(transport, get(upstream)) == (200, bytes(size))


async def test_a_compression_bomb_is_cut_at_the_limit_of_decoded_bytes(transport: Transport) -> None:
    bomb = gzip.compress(bytes(50 * MIB))
    async with ScriptedUpstream([raw(response(200, [("content-encoding", "gzip")], bomb))]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        assert len(await got.next()) <= MIB
        with pytest.raises(TransportError) as caught:
            await got.read(4 * MIB)
        got.release()
    assert caught.value.fault is Fault.TOO_LARGE


async def test_a_compression_bomb_read_piece_by_piece_is_cut_at_the_cap(transport: Transport) -> None:
    bomb = gzip.compress(bytes(MAX_RESPONSE_BYTES + MIB), compresslevel=1)
    async with ScriptedUpstream([raw(response(200, [("content-encoding", "gzip")], bomb))]) as upstream:
        got = await transport.send(get(upstream), TIMEOUTS)
        size = 0
        with pytest.raises(TransportError) as caught:
            while piece := await got.next():
                size += len(piece)
        got.release()
    assert caught.value.fault is Fault.TOO_LARGE
    assert MAX_RESPONSE_BYTES - MIB < size <= MAX_RESPONSE_BYTES


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "gzip, identity"])
async def test_other_content_encodings_are_refused(transport: Transport, encoding: str) -> None:
    answer = raw(response(200, [("content-encoding", encoding)], gzip.compress(gzip.compress(b"x"))))
    async with ScriptedUpstream([answer]) as upstream:
        assert (await fault_of(transport, get(upstream))).fault is Fault.PROTOCOL


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"not gzip at all", Fault.PROTOCOL),
        (gzip.compress(b"x" * 1000)[:-9], Fault.DISCONNECTED),
        (gzip.compress(b"x") + b"more", Fault.PROTOCOL),
    ],
    ids=["not compressed", "cut short", "surplus"],
)
async def test_a_lying_content_encoding_is_an_error(transport: Transport, body: bytes, fault: Fault) -> None:
    async with ScriptedUpstream([raw(response(200, [("content-encoding", "gzip")], body))]) as upstream:
        assert (await fault_of(transport, get(upstream))).fault is fault
