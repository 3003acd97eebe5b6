"""What an input file may look like, and what is said of one that is wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batches import lines as module
from gateway.batches.lines import LineReader, with_usage
from gateway.storage.jobs import Tokens
from tests.unit.batches.works import CHAT, line, lines


def reader() -> LineReader:
    return LineReader("batch_1", CHAT)


def faults(data: bytes) -> list[tuple[int | None, str]]:
    read = reader()
    read.feed(data)
    read.close()
    return [(each.line, each.code) for each in read.faults]


@given(width=st.integers(1, 60))
def test_a_file_of_another_system_is_read_alike_however_it_is_cut(width: int) -> None:
    data = b"\xef\xbb\xbf" + lines(["a", "b", "c"]).replace(b"\n", b"\r\n\r\n").rstrip()
    read = reader()
    found = [each for at in range(0, len(data), width) for each in read.feed(data[at : at + width])]
    found += read.close()
    assert [(each.custom_id, each.number) for each in found] == [("a", 0), ("b", 1), ("c", 2)]
    assert (read.faults, read.total, read.bytes, read.model) == ([], 3, len(data), "r")


def test_what_is_missing_or_of_another_kind_is_named() -> None:
    whole = line("a")
    without = json.dumps({name: each for name, each in whole.items() if name != "custom_id"}).encode()
    number = json.dumps({**whole, "custom_id": 7}).encode()
    read = reader()
    read.feed(without + b"\n" + number + b"\n")
    said = [each.message for each in read.faults]
    assert "missing required field `custom_id`" in said[0]
    assert "`$.custom_id`" in said[1]


def test_what_is_not_utf_8_is_no_line() -> None:
    assert faults(lines(["a"]) + json.dumps(line("b")).encode().replace(b"text", b"\xff\xfe")) == [
        (2, "invalid_json_line")
    ]
    assert faults(lines(["a"]).decode().encode("utf-16"))[0] == (1, "invalid_json_line")


def test_a_line_that_never_ends_is_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 1000)
    assert faults(lines(["a"]) + b"x" * 900 + b"y" * 900 + b"\n" + lines(["c"])) == [(2, "line_too_long")]


def test_lines_that_ask_for_several_models_have_none_in_common() -> None:
    read = reader()
    read.feed(b"".join(json.dumps(line(name, model=name)).encode() + b"\n" for name in "ab"))
    assert read.model is None


def test_tokens_are_summed_up_of_answers_and_of_nothing_else() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 2}}
    answer = json.dumps({"response": {"status_code": 200, "body": {"usage": usage}}}).encode()
    odd = json.dumps({"response": {"body": {"usage": {"prompt_tokens": "many"}}}}).encode()
    tokens = with_usage(with_usage(with_usage(Tokens(), answer), odd), b'{"response":null}')
    assert tokens == Tokens(5, 2, 7, 0)
