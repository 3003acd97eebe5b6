from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from adapters.types import Usage
from gateway.domain import Attempt, Outcome
from gateway.telemetry.access_log import MAX_DROPPED, MAX_VALUE_CHARS, AccessLog
from gateway.telemetry.writer import FileSink, LineWriter, open_sink

NASTY = [
    "line\nbreak",
    "carriage\r\nreturn",
    "\x1b[31mred\x1b[0m",
    'quote" and \\ slash',
    "separator\u2028here\u2029",
    "nul\x00",
    "c1\x9b31m",
    "bidi\u202eevil",
    "lone \ud800 surrogate",
    "data: [DONE]\n\n",
    "ünïcödé 模型 🦊",
    "x" * 100_000,
]


class ListSink:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    @property
    def lines(self) -> list[dict[str, object]]:
        assert self.data.endswith(b"\n")
        return [json.loads(line) for line in self.data.splitlines()]


class BlockedSink:
    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()

    def write(self, data: bytes) -> int:
        self.entered.set()
        self.released.wait(10)
        return len(data)


class BrokenSink(ListSink):
    """Takes `room` bytes, then fails until there is room again."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.failures = 0

    def write(self, data: bytes) -> int:
        if self.room <= 0:
            self.failures += 1
            raise OSError(28, "No space left on device")
        taken = data[: self.room]
        self.room -= len(taken)
        return super().write(taken)


def finished() -> Outcome:
    return Outcome(
        request_id="req_1",
        key="key_1",
        operation="chat",
        model="fast",
        provider="openai",
        deployment="openai/gpt",
        stream=True,
        status=200,
        attempts=[Attempt(1, "openai/gpt", started=5.0)],
        usage=Usage(prompt=10, completion=20, cached_prompt=4, reasoning=2),
        finish="stop",
        started=5.0,
        upstream_seconds=0.12,
        first_byte=5.125,
        ended=5.5,
        bytes_in=600,
        bytes_out=900,
        dropped=("seed",),
    )


def wait_until(condition: object, *, seconds: float = 5.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def test_a_record_has_every_key_and_times_in_milliseconds() -> None:
    sink = ListSink()
    log = AccessLog(sink, wall=lambda: 1_700_000_000.25)
    log.write(finished())
    log.close()
    assert sink.lines == [
        {
            "ts": "2023-11-14T22:13:20.250Z",
            "id": "req_1",
            "key": "key_1",
            "operation": "chat",
            "model": "fast",
            "provider": "openai",
            "deployment": "openai/gpt",
            "stream": True,
            "status": 200,
            "error": None,
            "attempts": 1,
            "fallback": None,
            "hedged": False,
            "prompt_tokens": 10,
            "completion_tokens": 20,
            "cached_tokens": 4,
            "reasoning_tokens": 2,
            "usage_source": "reported",
            "ttft_ms": 125.0,
            "total_ms": 500.0,
            "upstream_ms": 120.0,
            "overhead_ms": 5.0,
            "bytes_in": 600,
            "bytes_out": 900,
            "finish": "stop",
            "cancelled": False,
            "dropped": ["seed"],
        }
    ]


def test_a_record_says_what_a_fallback_was_for_and_whether_a_second_attempt_ran() -> None:
    sink = ListSink()
    log = AccessLog(sink)
    outcome = finished()
    outcome.fallback = "rate_limit"
    outcome.attempts.append(Attempt(2, "groq/llama", started=5.1, is_hedge=True))
    log.write(outcome)
    log.close()
    (line,) = sink.lines
    assert (line["attempts"], line["fallback"], line["hedged"]) == (2, "rate_limit", True)


def test_unknown_values_are_null_and_usage_says_where_it_is_from() -> None:
    sink = ListSink()
    log = AccessLog(sink)
    log.write(Outcome("req_2", status=404, error_code="model_not_found"))
    log.write(Outcome("req_3", usage=Usage(prompt=1, estimated=True)))
    log.close()
    first, second = sink.lines
    assert (first["ttft_ms"], first["error"], first["usage_source"]) == (None, "model_not_found", "none")
    assert second["usage_source"] == "estimated"


@pytest.mark.parametrize("field", ["request_id", "model", "provider", "deployment", "error_code", "finish"])
def test_no_value_can_forge_a_line_or_make_it_long(field: str) -> None:
    sink = ListSink()
    log = AccessLog(sink)
    for text in NASTY:
        outcome = finished()
        setattr(outcome, field, text)
        outcome.dropped = (text,) * 1_000
        log.write(outcome)
    log.close()
    assert len(sink.data.decode().splitlines()) == len(NASTY)  # str.splitlines also splits at U+2028 and C1
    for line in sink.lines:
        dropped = line["dropped"]
        assert isinstance(dropped, list) and len(dropped) == MAX_DROPPED
        texts = [text for text in (*line.values(), *dropped) if isinstance(text, str)]
        assert all(len(text) <= MAX_VALUE_CHARS + 1 and text.isprintable() for text in texts)


def test_records_keep_their_order_across_batches() -> None:
    sink = ListSink()
    log = AccessLog(sink)
    for number in range(3_000):
        outcome = finished()
        outcome.bytes_in = number
        log.write(outcome)
    log.close(5)
    assert [line["bytes_in"] for line in sink.lines] == list(range(3_000))
    assert log.dropped == 0


def test_a_blocked_sink_delays_no_writer_and_drops_are_counted() -> None:
    sink = BlockedSink()
    log = AccessLog(sink, limit=10)
    log.write(finished())
    assert sink.entered.wait(5)
    for _ in range(25):
        log.write(finished())
    assert log.dropped == 15
    log.close(0.01)
    assert log.dropped == 25
    sink.released.set()


def test_a_full_pipe_that_nobody_reads_delays_no_writer() -> None:
    reader, writer = os.pipe()
    try:
        log = AccessLog(FileSink(writer), limit=100)
        wait_until(lambda: log.write(finished()) or log.dropped > 0)
        log.close(0.01)
        assert log.dropped >= 1
    finally:
        os.close(reader)
        wait_until(lambda: not log._writer._thread.is_alive())
        os.close(writer)


def test_a_non_blocking_pipe_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    log = AccessLog(FileSink(writer))
    for _ in range(1_000):
        log.write(finished())
    received = b""
    while received.count(b"\n") < 1_000:
        received += os.read(reader, 65_536)
    log.close()
    os.close(reader)
    os.close(writer)
    assert all(json.loads(line)["id"] == "req_1" for line in received.splitlines())
    assert log.dropped == 0


def test_a_pipe_whose_reader_is_gone_drops_and_counts() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = AccessLog(FileSink(writer))
    for _ in range(7):
        log.write(finished())
    log.close()
    os.close(writer)
    assert log.dropped == 7


def test_a_full_disk_that_is_cleaned_spoils_one_line_only() -> None:
    sink = BrokenSink(room=100)
    log = AccessLog(sink)
    log.write(finished())
    wait_until(lambda: sink.failures)
    sink.room = 10**9
    wait_until(lambda: log.dropped == 1)
    log.write(finished())
    log.close()
    torn, whole = sink.data.splitlines()
    assert json.loads(whole)["id"] == "req_1"
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn)


def test_a_file_is_appended_to_and_its_sink_closed(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    sink = open_sink(str(path))
    log = AccessLog(sink)
    log.write(finished())
    log.close()
    sink.close()
    before, line = path.read_text().splitlines()
    assert before == "before" and json.loads(line)["id"] == "req_1"


def test_what_is_written_after_closing_counts_as_dropped() -> None:
    sink = ListSink()
    writer = LineWriter(sink)
    writer.put(b"one\n")
    writer.close(2)
    writer.close(2)
    writer.put(b"two\n")
    assert sink.data == b"one\n"
    assert writer.dropped == 1
