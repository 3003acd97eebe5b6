"""The operational log: starts, warnings and errors through the standard library's logging, off the hot path.

One record is one line on stderr: JSON for machines, or text for people, where a traceback follows indented.
Writing goes through a bounded queue, so that a full pipe behind stderr stalls no request.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Final, Literal

from gateway.telemetry.writer import LineWriter, Sink, open_sink

Form = Literal["json", "console"]
Scrub = Callable[[str], str]

MAX_MESSAGE_CHARS: Final = 4000
MAX_TRACE_CHARS: Final = 32_000
_FLUSH_SECONDS: Final = 1.0
_QUIET: Final = ("httpx2", "httpcore2", "httpx", "httpcore", "hpack", "asyncio", "uvicorn", "alembic")
"""Loggers that print URLs, headers, a line per request or their own progress below WARNING."""


def setup(
    *, level: str = "info", form: Form = "console", scrub: Scrub | None = None, sink: Sink | None = None
) -> Callable[[], None]:
    """Sends every logger to one sink (default stderr) and returns a function that flushes and detaches it.

    `scrub` is applied to every message and traceback. A level that logging does not know raises ValueError.
    """
    root = logging.getLogger()
    root.setLevel(level.upper())
    handler = _QueueHandler(sink or open_sink("stderr"))
    handler.setFormatter(_JsonFormatter(scrub) if form == "json" else _ConsoleFormatter(scrub))
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)

    def detach() -> None:
        root.removeHandler(handler)
        handler.close()

    return detach


class _QueueHandler(logging.Handler):
    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._writer = LineWriter(sink, name="operational-log")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # a broken log call must not break its caller; say where it is instead
            line = f"unprintable log record from {record.pathname}:{record.lineno}"
        self._writer.put(line.encode("utf-8", "backslashreplace") + b"\n")

    def close(self) -> None:
        self._writer.close(_FLUSH_SECONDS)
        super().close()


class _Formatter(logging.Formatter):
    def __init__(self, scrub: Scrub | None) -> None:
        super().__init__()
        self._scrub: Scrub = scrub or str

    def _message(self, record: logging.LogRecord) -> str:
        return self._scrub(record.getMessage())[:MAX_MESSAGE_CHARS]

    def _trace(self, record: logging.LogRecord) -> str:
        if not record.exc_info or record.exc_info[0] is None:
            return ""
        # The standard formatting shows source lines and the exception's text, never the values of locals.
        return self._scrub(self.formatException(record.exc_info))[-MAX_TRACE_CHARS:]


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
        }
        if trace := self._trace(record):
            line["trace"] = trace
        return json.dumps(line)


class _ConsoleFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        head = f"{clock} {record.levelname.lower():<8} {_one_line(self._message(record))}"
        trace = self._trace(record)
        return "\n    ".join([head, *(_one_line(line) for line in trace.splitlines())])


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _timestamp(seconds: float) -> str:
    whole = int(seconds)
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{clock}.{int((seconds - whole) * 1000):03d}Z"
