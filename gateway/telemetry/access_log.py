"""One JSON line per finished request: no body content, no key itself, no path; only what one counts and times."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from adapters.types import Usage
from gateway.domain import Outcome
from gateway.telemetry.counts import milliseconds, overhead_seconds
from gateway.telemetry.writer import QUEUE_RECORDS, LineWriter, Sink

MAX_VALUE_CHARS: Final = 200
"""Cap of every text value that came from outside, such as a model name."""
MAX_DROPPED: Final = 32
"""Cap of the names of dropped request fields."""
_NO_USAGE: Final = Usage()


class AccessRecord(msgspec.Struct, frozen=True, gc=False):
    """The line's keys, in order. Times are milliseconds, sizes bytes; null means that it is not known.

    `upstream_ms` and `overhead_ms` of a stream end at its first content; `total_ms` is the whole stream.
    """

    ts: str
    id: str
    key: str
    operation: str
    model: str
    provider: str
    deployment: str
    stream: bool
    status: int
    error: str | None
    attempts: int
    fallback: str | None
    hedged: bool
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    usage_source: str
    ttft_ms: float | None
    total_ms: float
    upstream_ms: float
    overhead_ms: float
    bytes_in: int
    bytes_out: int
    finish: str | None
    cancelled: bool
    dropped: tuple[str, ...]


class AccessLog:
    """Writes records through a `LineWriter`; `wall` gives Unix seconds."""

    def __init__(self, sink: Sink, *, wall: Callable[[], float] = time.time, limit: int = QUEUE_RECORDS) -> None:
        self._writer = LineWriter(sink, limit=limit, name="access-log")
        self._wall = wall
        self._second = -1
        self._prefix = ""
        encoder = msgspec.json.Encoder()
        self._encode = encoder.encode

    @property
    def dropped(self) -> int:
        """Records that could not be written."""
        return self._writer.dropped

    def write(self, outcome: Outcome) -> None:
        """Queues the record of a settled request; never blocks, never raises for what a client can send."""
        self._writer.put(self._encode(self._record(outcome)) + b"\n")

    def close(self, timeout: float = 2.0) -> None:
        """Flushes for at most `timeout` seconds."""
        self._writer.close(timeout)

    def _record(self, outcome: Outcome) -> AccessRecord:
        usage = outcome.usage
        counts = usage or _NO_USAGE
        started = outcome.started
        first = outcome.first_byte
        attempts = outcome.attempts
        return AccessRecord(
            self._timestamp(),
            clean(outcome.request_id),
            clean_name(outcome.key),
            outcome.operation,
            clean_name(outcome.model),
            clean_name(outcome.provider),
            clean_name(outcome.deployment),
            outcome.stream,
            outcome.status,
            None if outcome.error_code is None else clean(outcome.error_code),
            len(attempts),
            outcome.fallback or None,
            len(attempts) > 1 and any(attempt.is_hedge for attempt in attempts),
            counts.prompt,
            counts.completion,
            counts.cached_prompt,
            counts.reasoning,
            "none" if usage is None else "estimated" if usage.estimated else "reported",
            None if first is None else milliseconds(first - started),
            milliseconds(outcome.ended - started),
            milliseconds(outcome.upstream_seconds),
            milliseconds(overhead_seconds(outcome)),
            outcome.bytes_in,
            outcome.bytes_out,
            None if outcome.finish is None else clean_name(outcome.finish),
            outcome.is_cancelled,
            tuple(map(clean, outcome.dropped[:MAX_DROPPED])) if outcome.dropped else (),
        )

    def _timestamp(self) -> str:
        now = self._wall()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return f"{self._prefix}{int((now - second) * 1000):03d}Z"


def clean(value: str, limit: int = MAX_VALUE_CHARS) -> str:
    """Returns `value` cut to `limit` characters, with every unprintable one (controls, separators) as `?`.

    JSON escapes C0 controls, but not C1 ones, bidirectional marks and U+2028, which confuse terminals.
    """
    if len(value) > limit:
        value = value[:limit] + "…"
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() else "?" for char in value)


@lru_cache(maxsize=256)
def clean_name(value: str) -> str:
    """Returns what `clean` does, for what is the same in most requests."""
    return clean(value)
