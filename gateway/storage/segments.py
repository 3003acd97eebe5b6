"""Segments: how records lie on disk, and whose they are.

Theory. A record is a line: CRC-32 and length in hexadecimal, then JSON, which holds no line break. Whatever breaks off
a write, or damages a file, is known by its line alone, and no other line suffers. A process claims a name by a lock on
`journal-NAME.claim`, and its segments are `journal-NAME-NUMBER.log`. The kernel takes the lock away from whoever dies,
however it dies, so that what can be locked is left behind, and belongs to whoever locks it. The claim also holds the
place up to which its segments are in storage; it may be behind, never ahead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from gateway.records import UsageRecord

MAX_LINE_BYTES: Final = 1 << 20
"""Of one record; it has a few hundred, and up to 700,000 with what was asked and answered."""
MAX_CONTENT_BYTES: Final = 1 << 18
"""Of a request or an answer, of both of which a line has room for four thirds."""
_CONTENT: Final = b',"content":'
_CHUNK_BYTES: Final = 1 << 19
_HEAD_BYTES: Final = 18
_NAME: Final = re.compile(r"journal-([0-9a-z]+)(?:\.claim|-(\d+)\.log)\Z")
_PRIVATE: Final = 0o600

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(UsageRecord).decode


def line_of(record: UsageRecord) -> bytes:
    """Returns a record as it is written; raises ValueError for one that cannot be."""
    try:
        payload = _encode(record)
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    if len(payload) > MAX_LINE_BYTES - _HEAD_BYTES - 1:
        raise ValueError(f"it has {len(payload)} bytes, more than any record should")
    return b"%08x %08x %b\n" % (crc32(payload), len(payload), payload)


def record_of(line: bytes) -> UsageRecord | None:
    """Returns the record of a line without its end, None if a part is missing or wrong."""
    payload = line[_HEAD_BYTES:]
    if line[:_HEAD_BYTES] != b"%08x %08x " % (crc32(payload), len(payload)):
        return None
    try:
        return _decode(payload)
    except msgspec.MsgspecError:
        return None


def without_content(line: bytes) -> bytes:
    """Returns a line of which some is wrong, without what was asked and answered."""
    return line.partition(_CONTENT)[0]


@dataclass(slots=True)
class Lines:
    """What was read of a segment."""

    end: int
    """Where to go on."""
    records: list[UsageRecord] = field(default_factory=list[UsageRecord])
    damaged: list[bytes] = field(default_factory=list[bytes])
    """Lines that are no records."""
    torn_bytes: int = 0
    """Of a last line that was broken off: its append never returned."""


def read_lines(path: Path, start: int, end: int, most: int) -> Lines:
    """Reads at most `most` records of a segment from `start`; raises OSError."""
    with path.open("rb", buffering=0) as file:
        data = _chunk(file.fileno(), start, end)
    is_last = start + len(data) >= end
    lines, place = Lines(end), 0
    while place < len(data) and len(lines.records) < most:
        border = data.find(b"\n", place)
        if border < 0 and not is_last and place > 0:
            break
        line = data[place:] if border < 0 else data[place:border]
        if line and (record := record_of(line)) is not None:
            lines.records.append(record)
        elif border < 0 and is_last:
            lines.torn_bytes = len(line)
        elif line:
            lines.damaged.append(line)
        place = len(data) if border < 0 else border + 1
    # Nothing where something should be: the file was cut by someone else.
    lines.end = start + place if data else end
    return lines


def _chunk(descriptor: int, start: int, end: int) -> bytes:
    data = os.pread(descriptor, min(end - start, _CHUNK_BYTES), start)
    if b"\n" not in data:
        data = os.pread(descriptor, min(end - start, MAX_LINE_BYTES), start)
    return data


def count_lines(path: Path, start: int) -> int:
    """Returns how many lines a segment has from `start`; raises OSError."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""))


def sync(path: Path) -> None:
    """Brings a file from memory to the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path, lines: bytes) -> None:
    """Adds to a file of what could not be stored, and syncs it; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    try:
        while lines:
            lines = lines[os.write(descriptor, lines) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Claim:
    """The right to the segments of one name; it ends with the process, whatever that dies of."""

    def __init__(self, directory: Path, name: str, descriptor: int) -> None:
        """Use `claim`."""
        self.name = name
        self._directory = directory
        self._path = directory / f"journal-{name}.claim"
        self._descriptor = descriptor

    def is_held(self) -> bool:
        """Says whether others can see the claim: its file may have been removed."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except OSError:
            return False

    def place(self) -> tuple[int, int]:
        """Returns the number of the segment and the byte up to which all is in storage."""
        try:
            return _place(os.pread(self._descriptor, 64, 0))
        except OSError:
            return 0, 0

    def remember(self, number: int, offset: int) -> None:
        """Writes the place down; that it cannot is no trouble, since storage takes a record twice as one."""
        try:
            os.pwrite(self._descriptor, b"%010d %020d\n" % (number, offset), 0)
        except OSError:
            return

    def path(self, number: int) -> Path:
        """Returns where a segment is."""
        return self._directory / f"journal-{self.name}-{number:06d}.log"

    def segments(self) -> list[tuple[int, Path]]:
        """Returns the segments that exist, in the order of their numbers; raises OSError."""
        found = (
            (number, self._directory / entry) for name, number, entry in _names(self._directory) if name == self.name
        )
        return sorted((number, path) for number, path in found if number is not None)

    def let_go(self) -> None:
        """Leaves the segments to whoever claims them next."""
        os.close(self._descriptor)

    def end(self) -> None:
        """Takes the claim itself away, with no segments left; a file that stays is taken over, and found empty."""
        with contextlib.suppress(OSError):
            if self.is_held():
                self._path.unlink()
        os.close(self._descriptor)


def claim(directory: Path, name: str, *, is_new: bool) -> Claim | None:
    """Claims a name, a new one or one left behind; None if somebody else has it. Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if is_new else 0)
    try:
        descriptor = os.open(directory / f"journal-{name}.claim", flags, _PRIVATE)
    except FileExistsError:
        return None
    made = Claim(directory, name, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    # Between opening and locking, another one may have claimed it, emptied it and taken the file away.
    if not made.is_held():
        os.close(descriptor)
        return None
    return made


def claimed_names(directory: Path) -> list[str]:
    """Returns every name that anybody claims or claimed; raises OSError."""
    return sorted({name for name, _, _ in _names(directory)})


def claimed_place(directory: Path, name: str) -> tuple[int, int]:
    """Returns up to where the segments of a name are in storage, whoever has claimed it; see `Claim.place`."""
    try:
        return _place((directory / f"journal-{name}.claim").read_bytes())
    except OSError:
        return 0, 0


def segments_of_all(directory: Path) -> list[tuple[str, int, Path]]:
    """Returns name, number and place of every segment, whosever it is; raises OSError."""
    return [(name, number, directory / entry) for name, number, entry in _names(directory) if number is not None]


def _place(text: bytes) -> tuple[int, int]:
    try:
        number, offset = text.split()
        return int(number), int(offset)
    except ValueError:
        return 0, 0


def _names(directory: Path) -> Iterator[tuple[str, int | None, str]]:
    for entry in os.listdir(directory):
        if match := _NAME.match(entry):
            yield match[1], int(match[2]) if match[2] else None, entry
