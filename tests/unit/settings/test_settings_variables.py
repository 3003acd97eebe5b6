"""`${VARIABLE}` in values."""

from __future__ import annotations

import pytest

from gateway.settings.document import Document, read_document
from gateway.settings.variables import Variables

ENVIRON = {"KEY": "sk-1", "HOST": "box", "EMPTY": "", "TRICK": "${KEY}$$", "_x1": "y"}


def read(value: str) -> Document:
    return read_document("a.yaml", f"a: '{value}'\n".encode(), Variables(ENVIRON))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${KEY}", "sk-1"),
        ("http://${HOST}:80/${_x1}", "http://box:80/y"),
        ("${KEY}${KEY}", "sk-1sk-1"),
        ("${NOT_SET:-fallback}", "fallback"),
        ("${NOT_SET:-}", ""),
        ("${EMPTY:-fallback}", "fallback"),
        ("${KEY:-fallback}", "sk-1"),
        ("${EMPTY}", ""),
        ("$$", "$"),
        ("$${KEY}", "${KEY}"),
        ("$$$${KEY}", "$${KEY}"),
        ("$KEY costs 5$", "$KEY costs 5$"),
        ("${TRICK}", "${KEY}$$"),
    ],
)
def test_variables_are_replaced_once(written: str, meant: str) -> None:
    document = read(written)
    assert document.root == {"a": meant}
    assert document.faults == []


def test_a_variable_that_is_not_set_is_named_with_its_place() -> None:
    (fault,) = read("x${NOT_SET}").faults
    assert str(fault) == "a.yaml:1:4  a  the environment variable NOT_SET is not set"


@pytest.mark.parametrize("written", ["${", "${}", "${1A}", "${A B}", "${A", "${A-b}", "${A:-${KEY}}"])
def test_a_malformed_variable_is_a_fault(written: str) -> None:
    (fault,) = read(written).faults
    assert "write $${ for the text" in fault.message


def test_keys_are_left_alone() -> None:
    document = read_document("a.yaml", b"'${KEY}': 1\n", Variables(ENVIRON))
    assert document.root == {"${KEY}": 1}
