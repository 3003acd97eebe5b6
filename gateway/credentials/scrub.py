"""Takes secrets out of text that we did not write, before anybody sees it.

Order matters: first control characters go (one inside a key would hide it), then the secrets, then the text
is cut. Cutting first could leave the first half of a key, which no expression knows any more.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from gateway.credentials.tokens import PRIVATE_KEY, context_patterns, token_patterns
from gateway.secret import Secret

MASK = "***"
MIN_SECRET = 4
"""Shorter configured secrets are not looked for: taking out every `a` would leave nothing to read."""
MAX_FETCHED = 256
"""Tokens that are remembered: those of some twenty cloud credentials for half a day."""
_MIN_TAIL = 8
_MIN_WINDOW = 16 * 1024
_MAX_WORD = 4 * 1024
_ANSI = re.compile(r"\x1b(?:\[[0-?]{0,64}+[ -/]{0,8}+[@-~]?|\][^\x07\x1b]*+\x07?|[@-Z\\-_]?)")
_BLANK = re.compile(r"[\t\n\r\v\f\x85\u2028\u2029]+")
# C0, C1, zero-width and direction-changing characters; lone surrogates cannot be encoded.
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


class Scrubber:
    """Knows the secrets of this process and the looks of everybody else's."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._given = frozenset(value for secret in secrets if len(value := secret.reveal()) >= MIN_SECRET)
        self._fetched: deque[str] = deque(maxlen=MAX_FETCHED)
        self._tokens = token_patterns()
        self._contexts = context_patterns()
        self._private_key = re.compile(PRIVATE_KEY, re.DOTALL)
        self._values: list[str] = []
        self._forms: list[str] = []
        self._arrange()

    def add(self, secret: Secret) -> None:
        """Knows one secret more, such as a token that was fetched; the oldest of very many such is forgotten."""
        value = secret.reveal()
        if len(value) >= MIN_SECRET and value not in self._values:
            self._fetched.append(value)
            self._arrange()

    def keep(self, secret: Secret) -> None:
        """Knows one secret more until it forgets all, such as the key of a place that is first asked for now."""
        value = secret.reveal()
        if len(value) >= MIN_SECRET and value not in self._given:
            self._given |= {value}
            self._arrange()

    def forget(self) -> None:
        """Lets go of every secret, where no text is to be scrubbed any more; looks are still known."""
        self._given = frozenset[str]()
        self._fetched.clear()
        self._arrange()

    def _arrange(self) -> None:
        values = self._given.union(self._fetched)
        # The longest first, or the rest of a secret that begins with another would stay.
        self._values = sorted(values, key=len, reverse=True)
        self._forms = sorted({form for value in values for form in _forms(value)}, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"Scrubber({len(self._values)} secrets)"

    def text(self, value: str, limit: int = 200) -> str:
        """Returns `value` on one line, without secrets, cut to `limit` characters plus `...`."""
        text = self._without_tail(self._without_known(visible(_window(value, limit))))
        for prefix, pattern in self._tokens:
            if prefix in text:
                text = pattern.sub(MASK, text)
        lowered = text.lower()
        for hints, pattern in self._contexts:
            if any(hint in lowered for hint in hints):
                text = pattern.sub(rf"\1{MASK}", text)
        return text if len(text) <= limit else text[:limit] + "..."

    def whole(self, value: str) -> str:
        """Returns `value` as it is, however long, without the secrets of this process and what looks like a token."""
        text = self._without_tail(self._without_known(value))
        for prefix, pattern in self._tokens:
            if prefix in text:
                text = pattern.sub(MASK, text)
        return text

    def lines(self, value: str, limit: int = 4000) -> str:
        """Returns `value` line by line without secrets, as for a traceback; each line is cut to `limit` characters."""
        return "\n".join(self.text(line, limit) for line in self._private_key.sub(MASK, value).split("\n"))

    def _without_known(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def _without_tail(self, text: str) -> str:
        """Takes off the beginning of a secret that somebody's cut has left at the end."""
        tail = text[-_MIN_TAIL:]
        for value in self._values:
            at = value.find(tail) if len(tail) == _MIN_TAIL else -1
            if at >= 0 and text.endswith(value[: at + _MIN_TAIL]):
                return text[: -at - _MIN_TAIL] + MASK
        return text


def _window(value: str, limit: int) -> str:
    """Returns the part of a very long text that is worth the time: whole words, far more than will be shown."""
    size = max(_MIN_WINDOW, 4 * limit)
    if len(value) <= size:
        return value
    end = max(value.rfind(" ", 0, size), value.rfind("\n", 0, size), size - _MAX_WORD)
    return value[:end]


def visible(value: str) -> str:
    """Returns `value` on one line, without terminal codes, control and invisible characters."""
    if value.isascii() and value.isprintable():
        return value
    return _INVISIBLE.sub("", _BLANK.sub(" ", _ANSI.sub("", value)))


def _forms(value: str) -> Iterator[str]:
    """Yields how a secret looks where it was quoted, escaped or encoded by somebody."""
    yield value
    yield quote(value, safe="")
    yield quote(value)
    yield quote_plus(value)
    yield quote(value, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d")
    yield json.dumps(value)[1:-1]
    yield json.dumps(value)[1:-1].replace("/", "\\/")
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield _inside_base64(value.encode(), offset, encode(b"\0" * offset + value.encode()).decode())


def _inside_base64(value: bytes, offset: int, encoded: str) -> str:
    """Returns the characters that are the same whatever stands around `value` in a longer encoded text."""
    first = (0, 2, 3)[offset]
    is_even = (offset + len(value)) % 3 == 0
    text = encoded.rstrip("=")
    return text[first:] if is_even else text[first:-1]
