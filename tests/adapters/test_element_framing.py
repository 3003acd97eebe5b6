"""Elements of a long array inside a JSON document: however it is cut, whatever stands in its texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.framing import FramingError
from adapters.framing.elements import ElementSplitter
from tests.adapters.streams import TEXTS, cuts

NAME = "answers"
VALUE = st.recursive(
    st.one_of(TEXTS, st.integers(), st.none(), st.just(NAME)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(TEXTS, st.just(NAME)), inner)),
    max_leaves=6,
)
ELEMENT = st.dictionaries(st.one_of(TEXTS, st.just(NAME)), VALUE, max_size=3)


def split(pieces: list[bytes], cap: int = 100_000) -> tuple[list[Any], Any]:
    splitter = ElementSplitter(NAME.encode(), cap)
    found = [json.loads(element) for piece in pieces for element in splitter.feed(piece)]
    splitter.close()
    return found, json.loads(splitter.rest)


@given(elements=st.lists(ELEMENT, max_size=4), indent=st.sampled_from([None, 1]), data=st.data())
def test_the_elements_are_those_of_the_document_however_it_is_cut(
    elements: list[Any], indent: int | None, data: st.DataObject
) -> None:
    around = {"name": NAME, "of": [NAME, [1]], "response": {NAME: {NAME: elements, "b": "]}"}}, "done": True}
    pieces = data.draw(cuts(json.dumps(around, indent=indent).encode()))
    found, rest = split(pieces)
    assert found == elements
    around["response"][NAME][NAME] = []  # type: ignore[index]
    assert rest == around


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b'{"answers":[{"a":"' + b"x" * 100, "an answer in the upstream's document is too long"),
        (b'{"a":"' + b"x" * 100, "what is around the answers"),
        (b'{"answers":[{},5]}', "no object"),
        (b'{"answers":["{}"]}', "no object"),
        (b'{"answers":[{}', "cut short"),
        (b'{"a":"b', "cut short"),
    ],
)
def test_what_cannot_be_read_is_said(document: bytes, said: str) -> None:
    with pytest.raises(FramingError, match=said):
        split([document], cap=100)


def test_elements_before_a_fault_are_not_lost() -> None:
    with pytest.raises(FramingError) as raised:
        ElementSplitter(NAME.encode(), 100).feed(b'{"answers":[{"a":1},{"b":2},null]}')
    assert list(raised.value.events) == [b'{"a":1}', b'{"b":2}']
