"""Server-sent events: bytes in, events out, and back.

Theory. An event stream is lines ended by LF, CRLF or CR, and events ended by an empty line. Nothing else ends a
line: U+2028, U+2029 and U+0085 are ordinary characters inside a JSON string, so `str.splitlines` and what is
built on it (`aiter_lines` of HTTP clients) cut events in two. We therefore stay with bytes. A block of lines is
an event if it has at least one `data:` line; the lines' values are joined with LF. Lines that begin with a colon
are comments, which upstreams send to keep a connection alive.

The common case is LF only, one `data: {...}` line an event, whole events in a packet. It costs two scans of the
packet and no copy: blocks are cut out at LF LF. The first CR switches the splitter for the rest of the stream to
rewriting every line end to LF; a CR that ends a packet is held back, since the next packet may begin with the LF
that belongs to it. A raw CR cannot occur inside JSON, where control characters are escaped, so that rewriting
never touches content. (Standard: html.spec.whatwg.org, "Server-sent events", read 2026-11-21.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.framing import FramingError

_BOM = b"\xef\xbb\xbf"
DONE = b"[DONE]"
DONE_FRAME = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Event:
    """One parsed block of lines."""

    data: bytes | None
    """Joined values of the `data:` lines; None if there is none."""
    name: str | None = None
    """Value of the `event:` line."""
    is_comment: bool = False
    """The block holds comments and nothing else."""


class Splitter:
    """Cuts a byte stream into blocks (events without their final empty line) with LF line ends."""

    __slots__ = ("_at_start", "_cap", "_held_cr", "_more", "_rest", "_rewrites")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._rest = b""
        self._more = bytearray()
        """What belongs behind `_rest`: not copied for each of the thousands of packets in which an image comes."""
        self._at_start = True
        self._rewrites = False
        self._held_cr = False

    @property
    def is_between_events(self) -> bool:
        """True if no byte of an unfinished event is held, and bytes were never rewritten."""
        return not self._rest and not self._rewrites and not self._at_start

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the blocks that `data` completes; raises FramingError past the cap."""
        if self._rewrites or b"\r" in data:
            data = self._rewritten(data)
        if self._rest:
            if b"\n" not in data and not self._at_start:
                return self._hold(data)
            data = b"".join((self._rest, self._more, data))
            self._more.clear()
        if self._at_start:
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._rest = data
                return []
            self._at_start = False
            data = data.removeprefix(_BOM)
        if data.endswith(b"\n\n"):
            self._rest = b""
            blocks = data[:-2].split(b"\n\n")
        else:
            blocks = data.split(b"\n\n")
            self._rest = blocks.pop()
        if len(self._rest) > self._cap:
            raise FramingError(blocks, "an event of the upstream is too long")
        return blocks

    def _hold(self, data: bytes) -> list[bytes]:
        self._more += data
        if len(self._rest) + len(self._more) > self._cap:
            raise FramingError([], "an event of the upstream is too long")
        return []

    def close(self) -> bytes:
        """Returns the block that the end of file leaves unfinished, b"" if none."""
        rest, self._rest = b"".join((self._rest, self._more)), b""
        self._more.clear()
        return rest.removeprefix(_BOM).strip(b"\n")

    def _rewritten(self, data: bytes) -> bytes:
        self._rewrites = True
        if self._held_cr:
            data = b"\r" + data
        self._held_cr = data.endswith(b"\r")
        if self._held_cr:
            data = data[:-1]
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def parse(block: bytes) -> Event:
    """Returns the meaning of one block of LF-separated lines."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return Event(block[6:])
    data: list[bytes] = []
    name: str | None = None
    has_other = False
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif field or not line:
            has_other = has_other or bool(line)
    if data:
        return Event(b"\n".join(data), name)
    return Event(None, name, is_comment=name is None and not has_other and block.strip(b"\n") != b"")


class DataSplitter:
    """Cuts an event stream into the data of its events, for protocols whose data says what it is.

    Comments, names and ids are skipped: a proxy may strip them, and nothing that we translate depends on them.
    """

    __slots__ = ("_blocks",)

    def __init__(self, cap: int) -> None:
        self._blocks = Splitter(cap)

    def feed(self, data: bytes) -> Sequence[bytes]:
        """Returns the data of the events that `data` completes; raises FramingError past the cap."""
        try:
            return [found for block in self._blocks.feed(data) if (found := data_of(block))]
        except FramingError as error:
            error.events = [found for block in error.events if (found := data_of(block))]
            raise

    def close(self) -> Sequence[bytes]:
        """Returns the data of the event that the end of file leaves unfinished."""
        found = data_of(self._blocks.close())
        return [found] if found else []


def data_of(block: bytes) -> bytes:
    """Returns the data of one block, b"" if it has none."""
    line = block
    if block.startswith(b"event:"):
        line = block[block.find(b"\n") + 1 :]
    if line.startswith(b"data:") and b"\n" not in line:
        return line[5:].strip(b" ")
    return (parse(block).data or b"").strip()


def frame(data: bytes) -> bytes:
    """Returns one event that carries `data`, which must hold no line end."""
    return b"data: " + data + b"\n\n"
