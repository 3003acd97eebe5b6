from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Protocol

import pytest

from gateway.telemetry import log
from gateway.telemetry.log import Form, Scrub

NASTY = ["a\nINFO forged", "a\r\nb", "\x1b[2Jcleared", "tab\there", "sep\u2028x", "c1\x9b0m", "lone \ud800"]


class ListSink:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


class Write(Protocol):
    def __call__(
        self, *records: tuple[int, str], form: Form, scrub: Scrub | None = None, level: str = "info"
    ) -> str: ...


@pytest.fixture
def write() -> Iterator[Write]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def run(*records: tuple[int, str], form: Form, scrub: Scrub | None = None, level: str = "info") -> str:
        sink = ListSink()
        detach = log.setup(level=level, form=form, scrub=scrub, sink=sink)
        for number, message in records:
            logging.getLogger("gateway.test").log(number, "%s", message)
        detach()
        return sink.data.decode()

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_json_record_is_one_line_with_level_logger_and_message(write: Write) -> None:
    line = json.loads(write((logging.WARNING, "disk is full"), form="json"))
    assert (line["level"], line["logger"], line["message"]) == ("warning", "gateway.test", "disk is full")
    assert line["ts"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_message_can_forge_a_line(write: Write, form: Form) -> None:
    text = write(*((logging.ERROR, message) for message in NASTY), form=form)
    lines = text.splitlines()
    assert len(lines) == len(NASTY)
    assert all(line.isprintable() for line in lines)


def test_the_level_hides_what_is_below_it(write: Write) -> None:
    text = write((logging.INFO, "quiet"), (logging.ERROR, "loud"), form="console", level="warning")
    assert "loud" in text and "quiet" not in text


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_are_scrubbed_from_messages_and_tracebacks(write: Write, form: Form) -> None:
    sink = ListSink()
    write((logging.INFO, "begin"), form=form)
    detach = log.setup(form=form, scrub=lambda text: text.replace("sk-canary", "[key]"), sink=sink)
    try:
        raise ValueError("bad key sk-canary\nsecond line")
    except ValueError:
        logging.getLogger("gateway.test").exception("call with sk-canary failed")
    detach()
    text = sink.data.decode()
    assert "sk-canary" not in text
    assert text.count("[key]") == 3  # message, source line, exception
    assert "ValueError" in text


def test_a_console_traceback_is_indented_under_its_line(write: Write) -> None:
    sink = ListSink()
    write((logging.INFO, "begin"), form="console")
    detach = log.setup(form="console", sink=sink)
    try:
        raise ValueError("first\nERROR forged")
    except ValueError:
        logging.getLogger("gateway.test").exception("failed")
    detach()
    head, *rest = sink.data.decode().splitlines()
    assert head.endswith("failed")
    assert rest and all(line.startswith("    ") for line in rest)


def test_a_broken_log_call_does_not_raise(write: Write) -> None:
    sink = ListSink()
    write((logging.INFO, "begin"), form="json")
    detach = log.setup(form="console", sink=sink)
    logging.getLogger("gateway.test").warning("%d of %d", "one")
    detach()
    assert b"unprintable log record from" in sink.data


def test_network_loggers_are_silent_below_warning(write: Write) -> None:
    write((logging.INFO, "begin"), form="json", level="debug")
    assert not logging.getLogger("httpx2").isEnabledFor(logging.INFO)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="NONSENSE"):
        log.setup(level="nonsense", sink=ListSink())
