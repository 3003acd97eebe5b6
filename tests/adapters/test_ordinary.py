"""Events that are relayed without being decoded are those, and only those, that mean the same but for their text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openai.ordinary import OrdinaryEvents

LEARNT = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}]}'


def learnt() -> OrdinaryEvents:
    ordinary = OrdinaryEvents()
    ordinary.learn(LEARNT, b'"one"')
    return ordinary


def test_nothing_is_known_before_something_was_learnt() -> None:
    assert not OrdinaryEvents().knows(LEARNT)


def test_another_text_is_known() -> None:
    assert learnt().knows(LEARNT.replace(b"one", b"another <text>, {with} [signs]: 1"))


@pytest.mark.parametrize("text", [b"", b'a"b', b"a\\n", b"a\nb", "é".encode(), b"\xff", b"\x00", b'a","x":"b'])
def test_a_text_that_may_be_more_than_text_is_not(text: bytes) -> None:
    assert not learnt().knows(LEARNT.replace(b"one", text))


@pytest.mark.parametrize(
    "other",
    [
        LEARNT.replace(b"null", b'"stop"'),
        LEARNT.replace(b'"index":0', b'"index":1'),
        LEARNT[:-1],
        LEARNT[: len(LEARNT) // 2],
        b"data: [DONE]",
        b"",
    ],
)
def test_an_event_that_differs_elsewhere_is_not(other: bytes) -> None:
    assert not learnt().knows(other)


@given(st.text())
def test_what_is_known_reads_as_the_learnt_event_with_its_own_text(text: str) -> None:
    block = LEARNT.replace(b'"one"', json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))
    if learnt().knows(block):
        event = json.loads(block.removeprefix(b"data: "))
        assert event["choices"][0]["delta"]["content"] == text
        event["choices"][0]["delta"]["content"] = "one"
        assert event == json.loads(LEARNT.removeprefix(b"data: "))
