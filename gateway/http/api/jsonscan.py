"""Checks of a JSON body that the parser does not make, in a few linear passes over its bytes.

The data plane parses only the top level of a body and forwards the rest as it came, so whatever upstreams would
read differently from us, or choke on, must be found without decoding: nesting, numbers outside of what JSON
libraries agree on, invalid UTF-8, lone surrogates, duplicate keys.

Strings, which are most of a body (prompts, images), are looked at as a whole and once. For the other values the idea
is the skeleton: the bytes outside of strings. Everything that counts is there, and cutting at quotes is a memory
scan in C.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Raw

MAX_DEPTH: Final = 128
MAX_ITEMS: Final = 200_000
"""Commas and openings outside of strings: more than any real request has, and cheap to count."""

_NOT_NUMERIC: Final = bytes(set(range(256)) - set(b"0123456789eE+-."))
_SUSPECT_NUMBER: Final = re.compile(rb"\d{16}|[eE]\+?\d{3}")
_PLAIN: Final = re.compile(rb"true|false|null|-?[\d.]{1,15}$")
_NAMED_BYTES: Final = 16 * 1024
"""Length of a body up to which the name of a doubled key is looked for."""
_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
_SPARSE: Final = 512
"""Bytes per quote above which looking for each quote beats cutting at all of them."""
_BIG_INTEGER: Final = re.compile(rb"(?<![\d.eE+-])-?\d{16,}(?![\d.eE])")
_BIG_EXPONENT: Final = re.compile(rb"[eE]\+?0*[1-9]\d{2,}")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_PAIRS: Final = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_BRACKETS_ONLY: Final = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class BadJson(ValueError):
    """The body is not acceptable JSON; `code` is OpenAI's."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def check_text(body: bytes) -> None:
    """Raises BadJson unless the body is UTF-8 whose escapes can be written as UTF-8, too."""
    if not body.isascii():
        _check_utf8(body)
    if body.find(b"\\") >= 0 and _SURROGATE.search(body):
        _check_surrogates(body)


def check_value(value: Raw, *, depth: int = 1) -> None:
    """Raises BadJson for a value, `depth` levels below the body's top, that an upstream must not see."""
    view = memoryview(value)
    if view[0] == _QUOTE or _PLAIN.match(view):
        return
    skeleton = _skeleton(bytes(view))
    openings = skeleton.count(b"[") + skeleton.count(b"{")
    if openings + skeleton.count(b",") > MAX_ITEMS:
        raise _too_many()
    if openings > MAX_DEPTH - depth:
        _check_depth(skeleton, MAX_DEPTH - depth)
    _check_numbers(skeleton)


def _skeleton(text: bytes) -> bytes:
    """Returns what `outside_strings` does; a value of millions of strings is given up while they are counted.

    Cutting it at once would make an object of each, and cost twenty times the memory of the value.
    """
    if text.count(b'"') <= 2 * MAX_ITEMS:
        return outside_strings(text)
    skeleton = bytearray()
    items = 0
    for piece in _pieces(text):
        items += piece.count(b",") + piece.count(b"[") + piece.count(b"{")
        if items > MAX_ITEMS:
            raise _too_many()
        skeleton += piece + b'""'
    return bytes(skeleton)


def _too_many() -> BadJson:
    return BadJson("too_many_items", f"the body has more than {MAX_ITEMS} items")


def outside_strings(text: bytes) -> bytes:
    """Returns the bytes of valid JSON that are not inside a string; each string leaves its two quotes."""
    if is_sparse(text):
        return b'""'.join(_pieces(text))
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b'""'.join(text.split(b'"')[::2])


def is_sparse(text: bytes) -> bool:
    """True if most of it is long strings, so that they are cut out sooner than anything is counted."""
    at = 0
    # Not counted, since that looks at each byte by itself.
    for _ in range(len(text) // _SPARSE):
        at = text.find(b'"', at) + 1
        if not at:
            return True
    return False


def _pieces(text: bytes) -> Iterator[bytes]:
    """Cuts where strings are few and long, without copying them."""
    start = 0
    while (opening := text.find(b'"', start)) >= 0:
        yield text[start:opening]
        closing = text.find(b'"', opening + 1)
        while _is_escaped(text, closing):
            closing = text.find(b'"', closing + 1)
        start = closing + 1
    yield text[start:]


def _is_escaped(text: bytes, position: int) -> bool:
    before = position - 1
    while text[before] == _BACKSLASH:
        before -= 1
    return (position - before) % 2 == 0


def check_unique_keys(body: bytes, members: Mapping[str, Raw]) -> None:
    """Raises BadJson if a top-level key occurs twice: we and an upstream might act on different ones."""
    count = len(members)
    # Without quotes, colon and comma of each member, and the braces.
    rest = len(body) - 4 * count - 1 - sum(map(len, members)) - sum(map(len, members.values()))
    if rest == 0 or (rest == 2 * count - 1 and _is_spaced(body, members)):
        return  # nothing but the members, written with or without blanks after `:` and `,`
    # Linear in the body, unlike matching its brackets: every member has one colon, and what its value has inside.
    inside = sum(_colons(value) for value in members.values())
    if _skeleton(body).count(b":") == count + inside:
        return
    name = _doubled_key(body)
    raise BadJson("duplicate_key", f"{'a key' if name is None else f'the key {name!r}'} occurs twice", name)


def _doubled_key(body: bytes) -> str | None:
    """Returns which top-level key occurs twice; None for a long body, whose second reading would cost too much."""
    if len(body) > _NAMED_BYTES:
        return None
    try:
        pairs: list[tuple[str, object]] = json.loads(body, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    return None


def _colons(value: Raw) -> int:
    return outside_strings(bytes(value)).count(b":") if memoryview(value)[0] in b"[{" else 0


def _is_spaced(body: bytes, members: Mapping[str, Raw]) -> bool:
    """True if each key stands where the members before it end, written with blanks; a repeated key moves them."""
    at = 1
    for name, value in members.items():
        key = b'"%b": ' % name.encode()
        if not body.startswith(key, at):
            return False
        at += len(key) + len(value) + 2
    return True


def _check_utf8(body: bytes) -> None:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJson("invalid_json", f"the body is not valid UTF-8 (byte {error.start})") from None


def _check_surrogates(body: bytes) -> None:
    unescaped = body.replace(b"\\\\", b"")
    if _SURROGATE.search(_PAIRS.sub(b"", unescaped)):
        raise BadJson("invalid_json", "the body holds half of a surrogate pair, which no UTF-8 text can express")


def _check_depth(skeleton: bytes, max_depth: int) -> None:
    brackets = skeleton.translate(_BRACKETS_ONLY, _NOT_BRACKETS)
    for _ in range(max_depth):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise BadJson("json_too_deep", f"the body is nested deeper than {max_depth} levels")


def _check_numbers(skeleton: bytes) -> None:
    if not _SUSPECT_NUMBER.search(skeleton.translate(None, _NOT_NUMERIC)):
        return
    for found in _BIG_INTEGER.finditer(skeleton):
        if not -(2**63) <= int(found[0][:25]) < 2**64 or len(found[0]) > 20:
            raise BadJson("invalid_value", "the body holds an integer of more than 64 bits")
    exponent = _BIG_EXPONENT.search(skeleton)
    if exponent and int(re.sub(rb"\D", b"", exponent[0])[:6]) > 308:
        raise BadJson("invalid_json", "the body holds a number that is too large for any JSON library")
