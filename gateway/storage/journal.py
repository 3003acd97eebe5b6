"""The journal: records that wait for storage, in files of this machine.

Theory. A record is safe when its append returns: one write to a file, which survives whatever the process dies of. (It
does not survive the machine: nothing waits for the disk. Full segments are synced.) A write that fails leaves nothing
behind: its part is cut off, the segment is left to be drained, and the next append begins another one, so that a disk
with room again needs nobody's help. What failed is tried again, seldom, by whoever asks whether the journal can write.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.records import UsageRecord
from gateway.storage.segments import Claim, claim, claimed_names, line_of

MAX_BYTES: Final = 1 << 30
SEGMENT_BYTES: Final = 16 << 20
SEGMENT_SECONDS: Final = 60.0
_PROBE_SECONDS: Final = 0.25
_PROBE_BYTES: Final = 65_536
"""As many as the records of some hundred requests that are under way."""
_PRIVATE: Final = 0o600

_log = logging.getLogger("anyport.storage")


class JournalFailed(Exception):
    """A record was not written; says why and what to do."""


@dataclass(slots=True, eq=False)
class Segment:
    """One file of records, and how far it was drained."""

    claim: Claim
    number: int
    path: Path
    size: int = 0
    """Bytes of whole records, of one that was left behind all bytes."""
    drained: int = 0
    records: int = 0
    """That are not drained yet; of segments left behind as soon as they were counted."""
    is_open: bool = False
    is_synced: bool = False
    opened_at: float = 0.0


Mark = tuple[tuple[Segment, int], ...]
"""Segments, and up to where each was written at some moment."""


def is_drained(mark: Mark) -> bool:
    """Says whether all that was written then is in storage."""
    return all(segment.drained >= size for segment, size in mark)


def _new_name() -> str:
    return secrets.token_hex(8)


class Journal:
    """Takes records at once and gives them back in batches; one for each process, many to a directory.

    For one thread. What dead processes left in the directory is taken over by `adopt`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = MAX_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        segment_seconds: float = SEGMENT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        names: Callable[[], str] = _new_name,
    ) -> None:
        """`max_bytes` may wait for storage; `names` gives names unlike any other's. Raises JournalFailed."""
        self.directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = min(segment_bytes, max_bytes // 4)
        self._segment_seconds = segment_seconds
        self._clock = clock
        self._names = names
        self._segments: deque[Segment] = deque()
        """In the order in which they are drained; only the last one may be open."""
        self._open: Segment | None = None
        self._descriptor = -1
        self._last_number = 0
        self._bytes = 0
        self._trouble = ""
        self._not_ours: set[str] = set()
        """Names that could not be taken over, each of which was said once."""
        self._probe_at = 0.0
        try:
            self._claim = self._claimed()
        except OSError as error:
            raise JournalFailed(f"the journal cannot be kept in {directory}: {_said(error)}") from error

    @property
    def name(self) -> str:
        """What its files are called, unlike those of other processes."""
        return self._claim.name

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not in storage."""
        return sum(segment.size - segment.drained for segment in self._segments)

    @property
    def pending_records(self) -> int:
        """Records that are not in storage."""
        return sum(segment.records for segment in self._segments)

    @property
    def trouble(self) -> str:
        """Why the last append failed, empty if it did not."""
        return self._trouble

    @property
    def is_writable(self) -> bool:
        """Says whether an append would succeed; now and then it tries, after one that did not.

        A sixteenth of the room is kept for the requests that are under way when this turns false.
        """
        if self._bytes > self._max_bytes - self._max_bytes // 16:
            return False
        return not self._trouble or self._is_well_again()

    @property
    def is_roomy(self) -> bool:
        """Says whether there is room for more than records, for each of which a request is served."""
        return self._bytes <= self._max_bytes // 2

    @property
    def rejected_path(self) -> Path:
        """Where what storage refuses is set aside."""
        return self.directory / f"rejected-{self._claim.name}.log"

    def append(self, *records: UsageRecord) -> None:
        """Writes records, all or none; once this returns, they are in storage some day. Raises JournalFailed."""
        lines = b"".join(map(_line, records))
        try:
            segment = self._write(lines)
        except OSError as error:
            raise JournalFailed(self._failed(_said(error))) from error
        segment.size += len(lines)
        segment.records += len(records)
        self._bytes += len(lines)
        self._trouble = ""

    def rotate(self) -> None:
        """Ends the open segment, so that it goes away once it is drained."""
        segment, self._open = self._open, None
        if segment is not None:
            try:
                os.close(self._descriptor)
            except OSError as error:
                _log.warning("trouble at closing %s: %s", segment.path, _said(error))
            segment.is_open = False
            self._sweep()

    def rotate_if_old(self) -> None:
        """Ends an open segment that is old enough and holds anything."""
        segment = self._open
        if segment is not None and segment.size and self._clock() - segment.opened_at >= self._segment_seconds:
            self.rotate()

    def next_segment(self) -> Segment | None:
        """Returns the segment that is to be drained next, None if all are."""
        return next((segment for segment in self._segments if segment.drained < segment.size), None)

    def mark(self) -> Mark:
        """Returns what is written at this moment."""
        return tuple((segment, segment.size) for segment in self._segments if segment.drained < segment.size)

    def unsynced(self) -> list[Segment]:
        """Returns the ended segments that may not be on the disk yet."""
        return [segment for segment in self._segments if not (segment.is_open or segment.is_synced)]

    def advance(self, segment: Segment, end: int, records: int) -> None:
        """Notes that a segment is in storage up to `end`; what is there completely, is removed."""
        segment.drained = end
        segment.records = max(segment.records - records, 0) if end < segment.size else 0
        segment.claim.remember(segment.number, end)
        self._sweep()

    def give_up(self, segment: Segment) -> None:
        """Forgets a segment that somebody else took away."""
        if segment is self._open:
            self.rotate()
        if segment in self._segments:
            segment.drained, segment.records = segment.size, 0
            self._sweep()

    def adopt(self) -> list[Segment]:
        """Takes over what dead processes left in the directory; raises OSError."""
        adopted: list[Segment] = []
        try:
            names = claimed_names(self.directory)
        except FileNotFoundError:
            return adopted
        for name in names:
            try:
                adopted += self._taken_over(name)
            except OSError as error:
                if name not in self._not_ours:
                    self._not_ours.add(name)
                    _log.error("cannot take over the records in %s/journal-%s: %s", self.directory, name, _said(error))
        self._segments.extendleft(reversed(adopted))
        self._bytes += sum(segment.size for segment in adopted)
        self._sweep()
        return [segment for segment in adopted if segment in self._segments]

    def close(self) -> None:
        """Ends writing; what is not drained yet is left to whoever adopts it."""
        self.rotate()
        left = {segment.claim for segment in self._segments}
        for kept in left - {self._claim}:
            kept.let_go()
        if self._claim in left:
            self._claim.let_go()
        else:
            self._claim.end()
        self._segments.clear()

    def _claimed(self) -> Claim:
        # One at a time: those that `parents` makes on the way are open to everybody.
        if not self.directory.parent.exists():
            self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        while (made := claim(self.directory, self._names(), is_new=True)) is None:
            continue
        return made

    def _write(self, line: bytes) -> Segment:
        if self._bytes + len(line) > self._max_bytes:
            raise OSError(f"{self._bytes} bytes wait for storage, and storage.journal_max_bytes is {self._max_bytes}")
        segment = self._open
        if segment is None or (segment.size + len(line) > self._segment_bytes and segment.size):
            segment = self._begun()
        if os.write(self._descriptor, line) < len(line):
            raise OSError("the disk is full")
        return segment

    def _begun(self) -> Segment:
        self.rotate()
        if not self._claim.is_held():
            # Someone removed the directory's files. Others could not know that this name is taken.
            self._claim = self._claimed()
        self._last_number += 1
        path = self._claim.path(self._last_number)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, _PRIVATE)
        self._open = Segment(self._claim, self._last_number, path, is_open=True, opened_at=self._clock())
        self._segments.append(self._open)
        return self._open

    def _failed(self, why: str) -> str:
        """Cuts off what a failed write left, ends the segment, and returns what to say."""
        if self._open is not None:
            try:
                os.ftruncate(self._descriptor, self._open.size)
            except OSError as error:
                _log.debug("cannot cut %s: %s", self._open.path, _said(error))
            self.rotate()
        self._trouble = (
            f"the journal in {self.directory} cannot be written: {why}. Make room there, or storage reachable"
        )
        self._probe_at = self._clock() + _PROBE_SECONDS
        return self._trouble

    def _is_well_again(self) -> bool:
        if self._clock() < self._probe_at:
            return False
        try:
            # Empty lines are no records, should they stay.
            segment = self._write(b"\n" * min(_PROBE_BYTES, self._max_bytes // 16))
            os.ftruncate(self._descriptor, segment.size)
        except OSError as error:
            self._failed(_said(error))
            return False
        self._trouble = ""
        return True

    def _taken_over(self, name: str) -> list[Segment]:
        left = claim(self.directory, name, is_new=False)
        if left is None:
            return []
        number, offset = left.place()
        segments: list[Segment] = []
        try:
            for each, path in left.segments():
                size = path.stat().st_size
                drained = min(offset, size) if each == number else 0
                segments.append(Segment(left, each, path, size=size, drained=drained))
        except OSError:
            left.let_go()
            raise
        if not segments:
            left.end()
        return segments

    def _sweep(self) -> None:
        """Removes segments that are drained, and others' claims with nothing left."""
        for segment in [each for each in self._segments if not each.is_open and each.drained >= each.size]:
            self._segments.remove(segment)
            self._bytes -= segment.size
            try:
                segment.path.unlink(missing_ok=True)
            except OSError as error:
                _log.warning("cannot remove %s, which is in storage: %s", segment.path, _said(error))
            if segment.claim is not self._claim and all(each.claim is not segment.claim for each in self._segments):
                segment.claim.end()


def _line(record: UsageRecord) -> bytes:
    try:
        return line_of(record)
    except ValueError as error:
        raise JournalFailed(f"the record of request {record.id!r} cannot be written: {error}") from error


def _said(error: OSError) -> str:
    return error.strerror or str(error)
