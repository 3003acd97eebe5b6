"""The reader says the same about every input, however the network cuts it; and the chunk scanner likewise."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.guard.chunk_rules import ChunkScanner
from gateway.http.guard.framing_rules import decode_path
from gateway.http.guard.limits import GuardLimits
from gateway.http.guard.refusal import Refused
from gateway.http.guard.request_reader import RequestReader
from gateway.http.guard.response_head import clean_header_value, header_lines

LIMITS = GuardLimits(header_bytes=300, header_count=8, url_bytes=60, max_body_bytes=200)
HEAD = b"POST /v1/x HTTP/1.1\r\nHost: a\r\n"
SEEDS = [
    b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
    HEAD + b"Content-Length: 5\r\n\r\nhello",
    HEAD + b"Content-Length: 11\r\n\r\nhello world",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
    HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /v1/models/a%2Fb?x=y HTTP/1.0\r\n\r\n",
    b"\r\nGET http://a/v1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
]
SPICE = [
    b"\r\n", b"\n", b"\r", b" ", b":", b"\x00", b"\x0b", b"\xff", b"chunked", b"Content-Length: 7\r\n", b"Host: b\r\n",
    b"Transfer-Encoding: x\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: foo\r\n", b"Expect: x\r\n", b"0\r\n\r\n",
    b"%2f", b"/../", b"#", b"A: b\r\n" * 8, b"x" * 70, b"y" * 250, b"G", b"5\r\n", b";", b"HTTP/2.0", b"ff\r\n",
]  # fmt: skip


class Notes:
    """Writes down what the reader says."""

    def __init__(self) -> None:
        self.reader = RequestReader(LIMITS, self)
        self.heads: list[tuple[object, ...]] = []
        self.bodies: list[bytes] = []
        self.ended = 0
        self.fault: tuple[int, str] | None = None

    def begin(self) -> None:
        reader = self.reader
        described = (reader.method, reader.path, reader.query, tuple(reader.headers), reader.keep_alive)
        self.heads.append((*described, reader.is_http11, reader.awaits_continue))
        self.bodies.append(b"")

    def body(self, data: bytes) -> None:
        self.bodies[-1] += data

    def end(self) -> None:
        self.ended += 1

    def feed(self, data: bytes) -> None:
        start = 0
        try:
            while start < len(data) and self.fault is None:
                start = self.reader.feed(data, start)
        except Refused as refused:
            self.fault = (refused.refusal.status, refused.refusal.code)

    def result(self) -> tuple[object, ...]:
        return (self.heads, self.ended, self.bodies[: self.ended], self.fault)


def read(message: bytes, cuts: list[int]) -> Notes:
    notes = Notes()
    edges = [0, *sorted(cut % (len(message) + 1) for cut in cuts), len(message)]
    for start, stop in pairwise(edges):
        if start < stop and notes.fault is None:
            notes.feed(message[start:stop])
    return notes


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    message = b"".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(message)))
        removed = draw(st.integers(0, 3))
        message = message[:position] + draw(st.sampled_from(SPICE)) + message[position + removed :]
    return message


@settings(max_examples=300, deadline=None)
@given(messages(), st.lists(st.integers(0, 2000), max_size=6))
def test_the_same_is_read_from_every_cutting(message: bytes, cuts: list[int]) -> None:
    whole = read(message, []).result()
    assert read(message, cuts).result() == whole
    assert read(message, list(range(len(message)))).result() == whole


@pytest.mark.parametrize(
    "length", [b"5", b"12", b"0", b"007", b"201", b"1x", b"+5", b" 5", b"5 ", b"", b"4\r\nX: y", b"1234567890"]
)
def test_a_head_that_comes_again_means_what_it_means_alone(length: bytes) -> None:
    second = HEAD + b"Content-Length: " + length + b"\r\n\r\nhello world!"
    alone, after = read(second, []), read(SEEDS[1] + second, [])
    assert (after.heads[1:], after.ended - 1, after.fault) == (alone.heads, alone.ended, alone.fault)
    assert after.bodies[1 : after.ended] == alone.bodies[: alone.ended]


@settings(max_examples=200, deadline=None)
@given(messages())
def test_a_good_message_is_never_read_as_more_requests_than_were_written(message: bytes) -> None:
    notes = read(message, [])
    assert len(notes.heads) <= message.count(b"HTTP/")
    assert notes.ended <= len(notes.heads) <= notes.ended + 1


def test_the_chunk_scanner_finds_the_end_in_every_cutting() -> None:
    body = b'5\r\nhello\r\nA;x="y"\r\n0123456789\r\n0\r\nT: u\r\n\r\n'
    message = body + b"GET / HTTP/1.1\r\n"
    chooser = random.Random(7)
    for _ in range(200):
        cut = chooser.randrange(1, len(message))
        scanner = ChunkScanner(100)
        end = scanner.scan(message[:cut], 0)
        if not scanner.is_done:
            assert end == cut
            end += scanner.scan(message[cut:], 0)
        assert (end, scanner.is_done, scanner.body_bytes, scanner.fault) == (len(body), True, 15, None)


@pytest.mark.parametrize("limit", [14, 15])
def test_the_chunk_scanner_counts_before_the_bytes_come(limit: int) -> None:
    scanner = ChunkScanner(limit)
    scanner.scan(b"5\r\nhello\r\nA\r\n", 0)
    assert (scanner.fault is None) == (limit == 15)
    assert scanner.fault is None or scanner.fault.status == 413


@given(st.text(alphabet="/.%2efF5cC0;\\a", max_size=12))
def test_a_decoded_path_never_climbs_or_hides_a_separator(text: str) -> None:
    try:
        path = decode_path(b"/v1/models/" + text.encode())
    except Refused:
        return
    segments = path.split("/")[1:]
    assert not {".", ".."} & set(segments)
    assert "" not in segments[:-1]
    assert not {"\\", "\x00", ";"} & set(path)


@given(st.text(max_size=40))
def test_a_clean_header_value_is_printable_latin_1(text: str) -> None:
    value = clean_header_value(text)
    encoded = value.encode("latin-1")
    assert not [byte for byte in encoded if byte < 0x20 or byte == 0x7F]
    assert header_lines([(b"x", encoded)]) == b"x: " + encoded + b"\r\n"


@given(st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=12)), max_size=4))
def test_header_lines_cannot_be_broken_out_of(headers: list[tuple[bytes, bytes]]) -> None:
    lines = header_lines(headers)
    assert lines.count(b"\n") == lines.count(b"\r\n") == lines.count(b"\r") <= len(headers)
    assert b"\x00" not in lines
