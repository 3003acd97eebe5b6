"""Binary event streams: however they are cut, whatever is broken in them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.framing import FramingError
from adapters.framing.eventstream import Heading, Message, MessageSplitter, encode
from tests.adapters.streams import cuts

CAP = 1 << 16
EVENT = {":event-type": "contentBlockDelta", ":content-type": "application/json", ":message-type": "event"}
FIRST = encode(EVENT, b'{"a":1}')
SECOND = encode({":message-type": "exception", ":exception-type": "throttlingException"}, b'{"message":"slow"}')


def split(*pieces: bytes, cap: int = CAP) -> list[Message]:
    splitter = MessageSplitter(cap)
    found = [message for piece in pieces for message in splitter.feed(piece)]
    return [*found, *splitter.close()]


def with_headers(block: bytes, payload: bytes = b"") -> bytes:
    """A message with these bytes as headers, its checksums right."""
    lengths = struct.pack(">II", len(block) + len(payload) + 16, len(block))
    body = lengths + struct.pack(">I", crc32(lengths)) + block + payload
    return body + struct.pack(">I", crc32(body))


def header(name: str, type_: int, value: bytes) -> bytes:
    return bytes((len(name),)) + name.encode() + bytes((type_,)) + value


def test_a_message_says_what_it_is_and_what_it_carries() -> None:
    assert split(FIRST + SECOND) == [
        Message(Heading("event", "contentBlockDelta"), b'{"a":1}'),
        Message(Heading("exception", "throttlingException"), b'{"message":"slow"}'),
    ]


def test_an_error_message_carries_its_code_and_words_in_headers() -> None:
    data = encode({":message-type": "error", ":error-code": "InternalError", ":error-message": "no"}, b"")
    assert split(data) == [Message(Heading("error", "InternalError", "no"), b"")]


def test_a_message_may_be_empty_and_without_headers() -> None:
    assert split(encode({}, b"")) == [Message(Heading("event", ""), b"")]


def test_nothing_is_no_stream_but_no_fault_either() -> None:
    assert split() == split(b"") == []


@given(data=st.data(), payloads=st.lists(st.binary(max_size=40), max_size=5))
def test_messages_are_the_same_however_the_network_cut_them(data: st.DataObject, payloads: list[bytes]) -> None:
    stream = b"".join(encode(EVENT, payload) for payload in payloads)
    assert [message.payload for message in split(*data.draw(cuts(stream)))] == payloads


def test_a_cut_inside_a_header_is_waited_for() -> None:
    splitter = MessageSplitter(CAP)
    assert list(splitter.feed(FIRST[:20])) == []
    assert [message.payload for message in splitter.feed(FIRST[20:])] == [b'{"a":1}']


def test_headers_of_every_type_are_skipped_but_strings_are_read() -> None:
    widths: Mapping[int, int] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
    block = b"".join(header(f"h{type_}", type_, bytes(width)) for type_, width in widths.items())
    block += header("blob", 6, b"\x00\x03abc") + header(":message-type", 7, b"\x00\x05event")
    block += header(":event-type", 7, b"\x00\x08metadata")
    assert split(with_headers(block, b"x")) == [Message(Heading("event", "metadata"), b"x")]


@pytest.mark.parametrize(
    "block",
    [
        header("x", 10, b""),
        header("x", 7, b"\x00\x09short"),
        header("x", 7, b"\x00"),
        header("x", 5, b"1234"),
        b"\x09short",
        header("x", 7, b"\x00\x01\xff"),
        b"\x01",
    ],
    ids=["unknown type", "short string", "half a length", "short number", "short name", "no text", "no name"],
)
def test_headers_that_cannot_be_read_break_the_stream(block: bytes) -> None:
    with pytest.raises(FramingError, match="headers"):
        split(with_headers(block))


@pytest.mark.parametrize("at", range(len(FIRST)))
def test_a_changed_byte_is_found_wherever_it_is(at: int) -> None:
    damaged = bytearray(FIRST)
    damaged[at] ^= 0x10
    with pytest.raises(FramingError):
        split(bytes(damaged))


@given(at=st.integers(0, len(SECOND) - 1), bit=st.integers(0, 7), size=st.integers(1, 30))
def test_what_came_before_the_damage_is_not_lost(at: int, bit: int, size: int) -> None:
    damaged = bytearray(FIRST + SECOND)
    damaged[len(FIRST) + at] ^= 1 << bit
    splitter = MessageSplitter(CAP)
    found: list[Any] = []
    try:
        for start in range(0, len(damaged), size):
            found.extend(splitter.feed(bytes(damaged[start : start + size])))
        splitter.close()
    except FramingError as error:
        found.extend(error.events)
    assert [message.payload for message in found] == [b'{"a":1}']


@pytest.mark.parametrize("left", [1, 7, 12, len(FIRST) - 1])
def test_bytes_that_are_left_at_the_end_are_a_broken_stream(left: int) -> None:
    splitter = MessageSplitter(CAP)
    assert len(splitter.feed(FIRST + FIRST[:left])) == 1
    with pytest.raises(FramingError, match=f"{left} bytes"):
        splitter.close()


def test_a_message_above_the_cap_is_refused_before_it_is_here() -> None:
    whole = encode(EVENT, bytes(5000))
    assert len(split(whole, cap=len(whole))) == 1
    with pytest.raises(FramingError, match="too long"):
        split(whole[:12], cap=len(whole) - 1)


@pytest.mark.parametrize(("total", "headers"), [(15, 0), (0, 0), (20, 5), (16, 2**32 - 1)])
def test_lengths_that_contradict_each_other_are_refused(total: int, headers: int) -> None:
    lengths = struct.pack(">II", total, headers)
    with pytest.raises(FramingError, match="contradict"):
        split(lengths + struct.pack(">I", crc32(lengths)))


def test_many_kinds_of_headers_are_read_right_also_when_too_many_to_remember() -> None:
    data = b"".join(encode({":event-type": f"e{number}"}, b"") for number in range(200))
    assert [message.heading.name for message in split(data)] == [f"e{number}" for number in range(200)]


@given(st.binary(max_size=200))
def test_junk_is_a_framing_error_or_nothing(data: bytes) -> None:
    try:
        split(data)
    except FramingError as error:
        assert list(error.events) == []
