"""How many tokens a request may take, from its bytes: for limits about as many, for money rather too many.

Four bytes of English are a token, three of other languages, two of digits and symbols. Media are counted by the part:
what they are as text says nothing about what they cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from adapters.types import Operation
from gateway.routing.asking import BYTES_PER_TOKEN, Asking

_FEWEST_BYTES_PER_TOKEN: Final = 2
_MEDIA_TOKENS: Final = 2_000
"""A part with media: what large pictures cost, and pages of documents."""
_MEDIA_BYTES_PER_TOKEN: Final = 64
"""Of base64: sound and video, whose tokens grow with their length."""
_MEDIA_MEMBERS: Final = (b'"image_url":', b'"input_audio":', b'"file":', b'"video_url":', b'"audio_url":')
_WRITING: Final = (Operation.CHAT, Operation.COMPLETIONS)
_MOST: Final = 10**9


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
    if any(member in body for member in _MEDIA_MEMBERS):
        size, media = _without_media(body)
    return Tokens(
        size // BYTES_PER_TOKEN + media,
        -(-size // _FEWEST_BYTES_PER_TOKEN) + media,
        _most_output(asking, assumed_output),
    )


def _without_media(body: bytes) -> tuple[int, int]:
    """Returns the bytes that are text, and the tokens of the others."""
    parts = sum(body.count(member) for member in _MEDIA_MEMBERS)
    size, grown = len(body), 0
    for length in (*_lengths(body, b";base64,"), *_lengths(body, b'"data":"'), *_lengths(body, b'"data": "')):
        size -= length
        grown += max(0, length // _MEDIA_BYTES_PER_TOKEN - _MEDIA_TOKENS)
    return size, parts * _MEDIA_TOKENS + grown


def _lengths(body: bytes, marker: bytes) -> Iterator[int]:
    """Yields how long each text is from a marker on to its quotation mark."""
    at = 0
    while (begin := body.find(marker, at)) >= 0:
        begin += len(marker)
        end = body.find(b'"', begin)
        at = len(body) if end < 0 else end
        yield at - begin


def _most_output(asking: Asking, assumed: int) -> int:
    if asking.call.operation not in _WRITING:
        return 0
    most = asking.answer_tokens() or assumed
    return min(_MOST, most * max(_number(asking, "n"), _number(asking, "best_of"), 1))


def _number(asking: Asking, name: str) -> int:
    raw = asking.member(name)
    return int(raw) if raw.isdigit() and len(raw) < 5 else 1
