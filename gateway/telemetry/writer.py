"""Lines to a file descriptor without ever blocking the event loop.

`LineWriter.put` appends to a bounded queue and returns; one daemon thread writes batches. A sink that blocks
fills the queue, a sink that fails loses its batch; both are counted, neither is noticed by a request.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

QUEUE_RECORDS: Final = 10_000
_BATCH_RECORDS: Final = 512
_GATHER_SECONDS: Final = 0.02
_POLL_SECONDS: Final = 0.1


class Sink(Protocol):
    """Where bytes go. Called from the writer thread only; may block, may raise OSError."""

    def write(self, data: bytes) -> int:
        """Returns how many bytes were taken, at least one."""
        ...


class FileSink:
    """A file descriptor as sink; a non-blocking one is waited for.

    It is locked while it is written to: a pipe takes more than 4 KiB in pieces, between which another worker's lines
    could get. The kernel takes the lock from whoever dies.
    """

    def __init__(self, descriptor: int, *, owned: bool = False) -> None:
        self._descriptor = descriptor
        self._owned = owned

    def write(self, data: bytes) -> int:
        """Writes all, or returns how much could be written before an error; raises OSError if that is nothing."""
        with self._locked():
            rest = data
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    select.select([], [self._descriptor], [], _POLL_SECONDS)
                except OSError:
                    if len(rest) == len(data):
                        raise
                    break
        return len(data) - len(rest)

    @contextmanager
    def _locked(self) -> Generator[None]:
        is_locked = False
        with suppress(OSError):  # what cannot be locked is written to all the same
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            is_locked = True
        try:
            yield
        finally:
            if is_locked:
                with suppress(OSError):
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Closes the descriptor if it was opened here."""
        if self._owned:
            self._owned = False
            os.close(self._descriptor)


def open_sink(target: str) -> FileSink:
    """Returns the sink for `stdout`, `stderr` or a path, which is appended to; raises OSError.

    Appending by the kernel (O_APPEND) lets several workers share a file, and survives `copytruncate`.
    """
    if target == "stdout":
        return FileSink(1)
    if target == "stderr":
        return FileSink(2)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return FileSink(os.open(target, flags, 0o640), owned=True)


class LineWriter:
    """A bounded queue of lines in front of one daemon thread; `put` may be called from any thread."""

    def __init__(self, sink: Sink, *, limit: int = QUEUE_RECORDS, name: str = "line-writer") -> None:
        self.dropped = 0
        """Lines that were not written: queue full, sink failed, or writer closed."""
        self._sink = sink
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._is_closed = False
        """The same for `put`: asking an event costs a call."""
        self._lock = threading.Lock()
        self._is_idle = True
        self._is_torn = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Queues one line that ends in a newline, or drops and counts it. Never blocks."""
        if len(self._lines) >= self._limit or self._is_closed:
            self._drop(1)
            return
        self._lines.append(line)
        # Waking a sleeping thread is a system call; while it gathers, the flag alone is enough.
        if self._is_idle:
            self._is_idle = False
            self._wake.set()

    def close(self, timeout: float) -> None:
        """Writes what is queued for at most `timeout` seconds; what is left counts as dropped. Idempotent."""
        self._is_closed = True
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._drop(len(self._take(self._limit)))

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            self._closing.wait(_GATHER_SECONDS)
            # Before draining: a line put after the last look at the queue finds the flag and wakes us again.
            self._is_idle = True
            while batch := self._take(_BATCH_RECORDS):
                self._write(batch)
            if self._closing.is_set() and not self._lines:
                return

    def _take(self, most: int) -> list[bytes]:
        taken: list[bytes] = []
        try:
            while len(taken) < most:
                taken.append(self._lines.popleft())
        except IndexError:
            pass
        return taken

    def _write(self, batch: list[bytes]) -> None:
        data = b"".join(batch)
        if self._is_torn:
            # The last failure left half a line behind: end it, so that only that line is lost to a reader.
            data = b"\n" + data
        rest = data
        try:
            while rest:
                rest = rest[self._sink.write(rest) :]
        except (OSError, ValueError):
            written = data[: len(data) - len(rest)]
            whole = written.count(b"\n") - self._is_torn
            self._drop(len(batch) - max(whole, 0))
            if written:
                self._is_torn = not written.endswith(b"\n")
            return
        self._is_torn = False

    def _drop(self, count: int) -> None:
        with self._lock:
            self.dropped += count
