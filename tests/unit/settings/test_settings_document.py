"""Reading YAML: values, places, and files that are no settings at all."""

from __future__ import annotations

import time

import pytest

from gateway.errors import ConfigError
from gateway.settings.document import MAX_FILE_BYTES, Document, Path, read_document


def _as_is(document: Document, path: Path, text: str) -> str:
    return text


def read(text: str | bytes) -> Document:
    return read_document("a.yaml", text.encode() if isinstance(text, str) else text, _as_is)


def fault_of(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    (fault,) = caught.value.faults
    return str(fault)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("off", "off"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.5e+3", 1500.0),
        (".inf", ".inf"),
        ("2026-01-02", "2026-01-02"),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(written: str, meant: object) -> None:
    assert read(f"a: {written}").root == {"a": meant}


def test_keys_are_always_text() -> None:
    assert read("{no: 1, 12: 2, 1.50: 3, null: 4}").root == {"no": 1, "12": 2, "1.50": 3, "null": 4}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null\n", "\ufeff"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    assert read(text).root == {}


def test_every_value_knows_its_line_and_column() -> None:
    document = read("\ufeffa:\n  b:\n    - x\n    - {c: 'y'}\n")
    place = document.places["a", "b", 1, "c"]
    assert (place.line, place.column) == (4, 11)
    assert (place.key_line, place.key_column) == (4, 8)


def test_anchors_and_aliases_work() -> None:
    assert read("a: &x [1, 2]\nb: *x\n").root == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "12\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    assert "'name: value' lines" in fault_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n\tb: 1\n", "a.yaml:2:1  not valid YAML: found character that cannot start any token; indent"),
        ("a: {b: 1\n", "a.yaml:2:1  not valid YAML: did not find expected ',' or '}'"),
        ("a: [${K}]\n", "put quotes around ${VARIABLE}"),
        ("a: 1\n---\nb: 2\n", "a.yaml:2:1  not valid YAML: but found another document"),
        ("a: *nothing\n", "a.yaml:1:4  not valid YAML: found undefined alias"),
        ("x: 1\na: \x01\n", "a.yaml:2:4  not valid YAML: control characters are not allowed"),
        (b"x: 1\na: \xff\n", "a.yaml:2:4  the file is not UTF-8 text"),
        (b"a: 1\n" + b"#" * MAX_FILE_BYTES, "the file is longer than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_yaml_is_refused_with_its_place(text: str | bytes, expected: str) -> None:
    assert expected in fault_of(text)


def test_a_repeated_key_names_the_first_one() -> None:
    document = read("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert [str(fault) for fault in document.faults] == [
        "a.yaml:2:11  b.c  already set in line 2",
        "a.yaml:3:1  a  already set in line 1",
    ]
    assert document.root == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: !foo 1\n", "a.yaml:1:4  a  the tag '!foo' is not supported"),
        ("a: !foo {b: 1}\n", "a.yaml:1:4  a  the tag '!foo' is not supported"),
        ("a: !!python/object:os.system [x]\n", "the tag '!!python/object:os.system' is not supported"),
        ("a: !!binary aGk=\n", "the tag '!!binary' is not supported"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "a.yaml:3:3  c.<<  merge keys (<<) are not supported"),
        ("? [a, b]\n: 1\n", "a.yaml:1:3  a name must be text"),
    ],
)
def test_what_only_other_yaml_files_need_is_a_fault(text: str, expected: str) -> None:
    (fault,) = read(text).faults
    assert expected in str(fault)


def test_aliases_that_expand_without_end_are_refused() -> None:
    laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    laughs += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    assert "aliases make the file too large" in fault_of(laughs)


def test_an_alias_of_itself_is_refused() -> None:
    assert "aliases make the file too large" in fault_of("a: &x [*x]\n")


@pytest.mark.parametrize("text", ["[" * 500_000, "{a: " * 100_000, "- " * 200_000])
def test_deep_nesting_is_refused_quickly(text: str) -> None:
    began = time.monotonic()
    assert "nested more than 50 levels deep" in fault_of(text)
    assert time.monotonic() - began < 10
