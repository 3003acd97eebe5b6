"""A long text as several messages."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.integrations.discord.parts import split

PIECES = st.lists(
    st.sampled_from(
        ["word ", "a" * 70, "\n", "\n\n", "```py\n", "```", "\n```\n", "😀", "e\u0301", "    x = 1\n", "````", " "]
    ),
    max_size=60,
).map("".join)


def test_a_short_text_is_one_message_and_an_empty_one_is_none() -> None:
    assert split("Hello") == ["Hello"]
    assert split("\n \n") == []


def test_a_text_is_cut_between_paragraphs_before_lines_and_words() -> None:
    assert split("a" * 30 + "\n\n" + "b b\n" * 10, 60) == ["a" * 30, ("b b\n" * 10).strip()]
    assert split("a" * 30 + "\n" + "b " * 20, 60) == ["a" * 30, ("b " * 20).strip()]
    assert split("a " * 40, 60) == [("a " * 26).strip(), ("a " * 14).strip()]


def test_characters_are_counted_as_discord_counts_them_and_never_cut() -> None:
    parts = split("😀" * 4500)
    assert "".join(parts) == "😀" * 4500
    assert [len(part) for part in parts] == [1991, 1991, 518]


def test_code_that_is_cut_is_closed_and_opened_again_in_its_language() -> None:
    code = "".join(f"line {number}\n" for number in range(20))
    parts = split(f"See:\n```python\n{code}```\nDone.", 100)
    assert len(parts) > 2
    assert parts[0].startswith("See:\n```python\nline 0\n")
    assert all(part.endswith("\n```") for part in parts[:-1])
    assert all(part.startswith("```python\nline ") for part in parts[1:-1])
    assert (parts[-2][-12:], parts[-1]) == ("\nline 19\n```", "Done.")
    assert not any("```python\n```" in part for part in parts)
    shown = re.findall(r"line \d+", "\n".join(parts))
    assert shown == code.split("\n")[:-1]


def test_code_that_is_still_being_written_is_closed() -> None:
    assert split("```py\nx = 1") == ["```py\nx = 1\n```"]


@given(text=PIECES)
def test_whatever_a_text_is_every_message_fits_and_nothing_is_lost(text: str) -> None:
    parts = split(text, 200)
    assert all(0 < len(part) <= 200 and part.strip() for part in parts)
    for letter in "wax😀":
        # The language of code stands in each of its pieces.
        found, wanted = "".join(parts).count(letter), text.count(letter)
        assert found >= wanted if "`" in text else found == wanted


@given(text=PIECES, more=PIECES)
def test_what_is_full_does_not_change_when_more_comes(text: str, more: str) -> None:
    before, after = split(text, 200), split(text + more, 200)
    assert after[: len(before) - 1] == before[:-1]
