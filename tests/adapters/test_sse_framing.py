"""Server-sent events: what ends a line, what ends an event, what an event means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.framing import FramingError
from adapters.framing.sse import DONE_FRAME, Event, Splitter, frame, parse
from tests.adapters.streams import cuts, streams


def split(pieces: list[bytes], cap: int = 10_000) -> tuple[list[bytes], bytes]:
    splitter = Splitter(cap)
    blocks = [block for piece in pieces for block in splitter.feed(piece)]
    return blocks, splitter.close()


def reference(data: bytes) -> list[bytes]:
    """Returns what the standard says, slowly: lines end in CRLF, LF or CR, events in an empty line."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[list[bytes]] = [[]]
    for line in text.split(b"\n"):
        if line:
            events[-1].append(line)
        elif events[-1]:
            events.append([])
    return [b"\n".join(lines) for lines in events if lines]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_each_of_the_three_line_ends_ends_an_event(end: bytes) -> None:
    data = (b"data: a" + end + b"data: b" + end + end) * 2
    blocks, rest = split([data])
    assert [*blocks, rest][:2] == [b"data: a\ndata: b"] * 2


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_nothing_else_ends_a_line(inside: str) -> None:
    block = f'data: {{"a":"x{inside}y"}}'.encode()
    assert split([block + b"\n\n"]) == ([block], b"")


def test_a_carriage_return_and_its_line_feed_may_come_apart() -> None:
    assert split([b"data: a\r", b"\n\r", b"\ndata: b\r", b"\r", b"\n"]) == ([b"data: a", b"data: b"], b"")


def test_a_byte_order_mark_at_the_start_is_taken_off_wherever_it_is_cut() -> None:
    data = b"\xef\xbb\xbfdata: a\n\n"
    assert [split([data[:at], data[at:]]) for at in range(1, 5)] == [([b"data: a"], b"")] * 4


def test_a_byte_order_mark_elsewhere_is_content() -> None:
    data = b"data: a\n\ndata: \xef\xbb\xbfb\n\n"
    assert split([data]) == ([b"data: a", b"data: \xef\xbb\xbfb"], b"")


def test_an_unfinished_event_is_given_at_the_end() -> None:
    assert split([b"data: a\n\ndata: b\n"]) == ([b"data: a"], b"data: b")
    assert split([b"\xef\xbb"]) == ([], b"\xef\xbb")


def test_an_event_over_the_cap_is_refused_with_what_came_before_it() -> None:
    splitter = Splitter(10)
    assert splitter.feed(b"data: 1234") == []
    with pytest.raises(FramingError) as refused:
        splitter.feed(b"\n\ndata: 2\n\ndata: 12345")
    assert refused.value.events == [b"data: 1234", b"data: 2"]


def test_the_splitter_says_when_nothing_is_held() -> None:
    splitter = Splitter(100)
    assert not splitter.is_between_events
    splitter.feed(b"data: a\n\n")
    assert splitter.is_between_events
    splitter.feed(b"data: b\n")
    assert not splitter.is_between_events
    splitter.feed(b"\n")
    assert splitter.is_between_events
    splitter.feed(b"data: c\r\n\r\n")
    assert not splitter.is_between_events, "its line ends were rewritten, so that its bytes are not those that came"


@given(data=streams(), cutting=st.data())
def test_any_cutting_gives_the_events_of_the_standard(data: bytes, cutting: st.DataObject) -> None:
    blocks, rest = split(cutting.draw(cuts(data)))
    found = [block.strip(b"\n") for block in [*blocks, rest]]
    assert [block for block in found if block] == reference(data)


@pytest.mark.parametrize(
    ("block", "event"),
    [
        (b"data: {}", Event(b"{}")),
        (b"data:{}", Event(b"{}")),
        (b"data:  {}", Event(b" {}")),
        (b"data:", Event(b"")),
        (b"data", Event(b"")),
        (b"data: a\ndata: b", Event(b"a\nb")),
        (b"event: error\ndata: {}", Event(b"{}", "error")),
        (b"data: {}\nevent:error", Event(b"{}", "error")),
        (b"id: 1\nretry: 5\ndata: {}", Event(b"{}")),
        (b": ping", Event(None, is_comment=True)),
        (b":", Event(None, is_comment=True)),
        (b": a\n: b", Event(None, is_comment=True)),
        (b": a\ndata: b", Event(b"b")),
        (b"event: ping", Event(None, "ping")),
        (b"id: 1", Event(None)),
        (b"retry: 1", Event(None)),
        (b"junk", Event(None)),
        (b": a\nid: 1", Event(None)),
        (b"", Event(None)),
        (b"event: \xff\ndata: x", Event(b"x", "\ufffd")),
    ],
)
def test_a_block_means(block: bytes, event: Event) -> None:
    assert parse(block) == event


def test_a_frame_is_one_event() -> None:
    assert frame(b"[DONE]") == DONE_FRAME
    assert [parse(block) for block in split([frame(b'{"a":1}')])[0]] == [Event(b'{"a":1}')]


def test_an_event_that_comes_in_tens_of_thousands_of_packets_is_put_together_once() -> None:
    splitter, piece = Splitter(16 * 1024 * 1024), b"x" * 256
    for packet in [b"data: ", *[piece] * 60_000]:
        assert splitter.feed(packet) == []
    assert splitter.feed(b"y\n\ndata: z\n") == [b"data: " + piece * 60_000 + b"y"]
    assert splitter.close() == b"data: z"


def test_the_cap_counts_every_packet_of_an_event() -> None:
    splitter = Splitter(10)
    assert splitter.feed(b"data: ") == []
    assert splitter.feed(b"1234") == []
    with pytest.raises(FramingError):
        splitter.feed(b"5")
