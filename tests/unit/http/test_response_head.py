"""Heads of answers as lines, and as the pairs that ASGI wants."""

from __future__ import annotations

from gateway.http.guard.response_head import header_lines, pairs_of


def test_lines_say_as_pairs_what_they_were_made_of() -> None:
    pairs = [(b"content-type", b"application/json"), (b"x-colons", b"a: b: c"), (b"x-empty", b"")]
    assert pairs_of(header_lines(pairs)) == pairs


def test_no_lines_are_no_pairs() -> None:
    assert pairs_of(b"") == []


def test_a_line_end_in_a_value_makes_no_pair_of_its_own() -> None:
    assert pairs_of(header_lines([(b"x-told", b"a\r\nx-forged: b")])) == [(b"x-told", b"ax-forged: b")]
