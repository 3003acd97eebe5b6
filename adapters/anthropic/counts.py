"""Token counts: the protocol counts cached tokens beside the others, OpenAI among them."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from adapters.codec import JSON, as_object, decode, is_null
from adapters.types import Usage

_MOST: Final = 2**53
"""A larger count is no count: JSON numbers are exact up to here."""


class Counts:
    """The counts of one answer, which come in pieces: later ones replace earlier ones where they say something."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[str, int] = {}

    def add_raw(self, value: Raw) -> None:
        """Takes an undecoded `usage` object; what cannot be read says nothing."""
        if is_null(value):
            return
        try:
            self.add(decode(value))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return

    def add(self, value: JSON) -> None:
        """Takes a `usage` object, or whatever stands in its place."""
        members = as_object(value)
        self._take(members, "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        if "cache_creation" in members:
            self._take(as_object(members["cache_creation"]), "ephemeral_1h_input_tokens")
        if "output_tokens_details" in members:
            self._take(as_object(members["output_tokens_details"]), "thinking_tokens")

    def _take(self, members: dict[str, Any], *names: str) -> None:
        for name in names:
            count = members.get(name)
            if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < _MOST:
                self._found[name] = count

    def usage(self) -> Usage | None:
        """Returns the counts OpenAI's way; None if there are none."""
        found = self._found
        if "input_tokens" not in found and "output_tokens" not in found:
            return None
        read = found.get("cache_read_input_tokens", 0)
        written = found.get("cache_creation_input_tokens", 0)
        completion = found.get("output_tokens", 0)
        return Usage(
            prompt=found.get("input_tokens", 0) + read + written,
            completion=completion,
            cached_prompt=read,
            cache_write=written,
            cache_write_1h=min(found.get("ephemeral_1h_input_tokens", 0), written),
            reasoning=min(found.get("thinking_tokens", 0), completion),
        )
