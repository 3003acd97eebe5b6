"""How many tokens a request may take, from its bytes: for limits about as many, for money rather too many.

Four bytes of English are a token, three of other languages, two of digits and symbols. Media are counted by the part:
what they are as text says nothing about what they cost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec
from msgspec import Raw, Struct

from adapters.types import WRITING
from gateway.routing.asking import BYTES_PER_TOKEN, Asking

_FEWEST_BYTES_PER_TOKEN: Final = 2
_MEDIA_TOKENS: Final = 2_000
"""A part with media: what large pictures cost, and pages of documents."""
_MEDIA_BYTES_PER_TOKEN: Final = 64
"""Of base64: sound and video, whose tokens grow with their length."""
_SIGNS: Final = (b"_url", b"input_audio", b'"file"', b"\\u00")
"""One of them is in every body with media."""
_MEDIA: Final = (b'"image_url"', b'"video_url"', b'"audio_url"', b'"input_audio"', b'"file"')
_HIDDEN: Final = re.compile(rb"\\u00(?:[46][1-9a-fA-F]|[57][0-9aA]|5[fF])")
"""A letter written as its number: no program does that, but whoever hides what a member is called."""
_MOST_SPACE: Final = 16
_OF_URL: Final = (b'"url"', b'"file_data"')
_OF_DATA: Final = b'"data"'
_BACKSLASH: Final = ord("\\")
_MOST_BEFORE: Final = 64
"""How far the name of a member is looked for before its value."""
_MOST_MEDIA: Final = 1_000
"""Parts whose base64 is told apart from text; that of more is counted as text."""
_THINKING: Final = ("thinking", "additionalModelRequestFields")
_BUDGET: Final = re.compile(rb'"budget_tokens"\s*:\s*(\d{1,10})')
_MOST: Final = 10**9
_items = msgspec.json.Decoder(list[Raw])


class Tokens(Struct, frozen=True):
    """What a request may take."""

    input: int
    """About."""
    most_input: int
    """At worst."""
    most_output: int


def tokens_of(asking: Asking, assumed_output: int) -> Tokens:
    """Returns the tokens of a request; one that says no maximum is taken to write `assumed_output` at most."""
    body, media = asking.call.body, 0
    size = len(body)
    if any(sign in body for sign in _SIGNS):
        size, media = _without_media(asking)
    about = size // BYTES_PER_TOKEN + media
    most_input = -(-size // _FEWEST_BYTES_PER_TOKEN) + media
    if asking.call.operation not in WRITING:
        return Tokens(about, most_input, 0)
    most = max(_number(asking, "max_completion_tokens"), _number(asking, "max_tokens")) or assumed_output
    most += _thoughts(asking)
    choices = _number(asking, "n") or 1
    each = max(choices, _number(asking, "best_of")) * _prompts(asking)
    # Where a protocol makes one choice at a time, each choice reads the whole input.
    return Tokens(about, min(_MOST, most_input * choices), min(_MOST, most * each))


def _without_media(asking: Asking) -> tuple[int, int]:
    """Returns the bytes that are text, and the tokens of the others."""
    # Only there: what looks like media elsewhere, in a tool for instance, is text to a model.
    said = asking.member("messages") or asking.member("input")
    size, grown, texts, at = len(asking.call.body), 0, list[bytes](), 0
    for begin, end in sorted(_base64(said)):
        texts.append(said[at:begin])
        at = end
        size -= end - begin
        grown += max(0, (end - begin) // _MEDIA_BYTES_PER_TOKEN - _MEDIA_TOKENS)
    return size, _parts(b"".join((*texts, said[at:]))) * _MEDIA_TOKENS + grown


def _parts(said: bytes) -> int:
    """Returns how many members with media there are, or more."""
    found = sum(_is_name(said, at + len(name)) for name in _MEDIA for at in _places(said, name))
    if b"\\u00" in said:
        found += sum(said[each.start() - 1] != _BACKSLASH for each in _HIDDEN.finditer(said))
    return found


def _is_name(said: bytes, end: int) -> bool:
    """Returns whether the text that ends there is a member's name; maybe not, but to be on the safe side."""
    return said[end : end + _MOST_SPACE].lstrip()[:1] in (b"", b":")


def _base64(said: bytes) -> Iterator[tuple[int, int]]:
    """Yields where the base64 of each part with media begins and ends; a text that looks like it is none."""
    begins = [at for at in islice(_places(said, b'"data:'), _MOST_MEDIA) if _is_value(said, at, _OF_URL)]
    begins += [
        at
        for name in islice(_places(said, _OF_DATA), _MOST_MEDIA)
        if (at := said.find(b'"', name + len(_OF_DATA))) >= 0 and _is_value(said, at, (_OF_DATA,))
    ]
    for begin in begins:
        end = said.find(b'"', begin + 1)
        yield begin + 1, len(said) if end < 0 else end


def _places(said: bytes, what: bytes) -> Iterator[int]:
    at = said.find(what)
    while at >= 0:
        yield at
        at = said.find(what, at + len(what))


def _is_value(said: bytes, at: int, names: tuple[bytes, ...]) -> bool:
    """Returns whether a value that begins there is that of a member with one of these names."""
    before = said[max(0, at - _MOST_BEFORE) : at].rstrip()
    return before.endswith(b":") and before[:-1].rstrip().endswith(names)


def _thoughts(asking: Asking) -> int:
    """Returns the tokens that the request gives to thinking, which some protocols allow beside the answer's."""
    said = (asking.member(name) for name in _THINKING)
    return max((min(_MOST, int(found[1])) for raw in said if (found := _BUDGET.search(raw))), default=0)


def _prompts(asking: Asking) -> int:
    """Returns for how many prompts the request wants an answer: a list of numbers is one."""
    raw = asking.member("prompt")
    if raw[:1] != b"[":
        return 1
    items = _items.decode(raw)
    return len(items) if items and bytes(items[0])[:1] in (b'"', b"[") else 1


def _number(asking: Asking, name: str) -> int:
    """Returns a member as the most generous reader understands it, `5.0` and `"5"` as 5; 0 if it is no number."""
    raw = asking.member(name)
    if raw.isdigit():
        return int(raw) if len(raw) < 10 else _MOST
    try:
        number = float(raw.strip(b'"')) if raw else 0.0
    except ValueError:
        return 0
    return int(min(number, _MOST)) if number > 0 else 0
