"""Forms are read alike wherever they are cut, and what is none is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batches.multipart import FormReader, boundary_of
from gateway.errors import InvalidRequest


def part(name: str, data: bytes, file_name: str | None = None) -> bytes:
    more = "" if file_name is None else f'; filename="{file_name}"'
    head = f'Content-Disposition: form-data; name="{name}"{more}\r\nContent-Type: text/plain\r\n\r\n'
    return b"--x\r\n" + head.encode() + data + b"\r\n"


def read(pieces: list[bytes]) -> list[tuple[str, str | None, bytes]]:
    reader = FormReader(b"x")
    found: list[tuple[str, str | None, bytes]] = []
    data = b""
    for piece in pieces:
        for each in reader.feed(piece):
            data += each.data
            if each.is_last:
                found.append((each.field, each.file_name, data))
                data = b""
    reader.close()
    return found


@given(data=st.binary(max_size=200), width=st.integers(1, 40))
def test_a_form_is_read_alike_however_it_is_cut(data: bytes, width: int) -> None:
    data = data.replace(b"\r\n--x", b"\r\n--")
    form = part("purpose", b"batch") + part("file", data, "a.jsonl") + b"--x--\r\n"
    cut = [form[at : at + width] for at in range(0, len(form), width)]
    assert read(cut) == [("purpose", None, b"batch"), ("file", "a.jsonl", data)]


def test_what_looks_like_a_boundary_and_is_none_belongs_to_the_file() -> None:
    data = b"\r\n--\r\n--y--\r\n-x\r\n\r\n"
    assert read([part("file", data, "a") + b"--x--"]) == [("file", "a", data)]


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"preamble\r\n--x--",
        part("file", b"data", "a"),
        b"--x\r\n\r\ndata\r\n--x--",
        b"--x\r\nContent-Disposition: attachment; name=a\r\n\r\ndata\r\n--x--",
        b"--x\r\n" + b"a: b\r\n" * 2000 + b"\r\n",
        part("a", b"") * 21 + b"--x--",
    ],
)
def test_what_is_no_form_is_refused(form: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read([form])


def test_the_boundary_is_in_the_content_type() -> None:
    assert boundary_of(b"multipart/form-data; boundary=abc") == b"abc"
    assert boundary_of(b'Multipart/Form-Data;boundary="a b"') == b"a b"
    for wrong in (b"", b"application/json", b"multipart/form-data", b"multipart/form-data; boundary=" + b"a" * 71):
        with pytest.raises(InvalidRequest):
            boundary_of(wrong)
