"""What routing may know of one request: who asks, with which headers, and what the request uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from adapters.types import Call, Operation
from gateway.routing.route import NO_HEADERS

BYTES_PER_TOKEN: Final = 4
_NO_TAGS: Final[frozenset[str]] = frozenset()
_NOTHING: Final = (b"", b"null", b"[]", b"{}")
_TAGS: Final = b"x-anyport-tags"
_MAX_TAGS_BYTES: Final = 1024
_MAX_STICKY_BYTES: Final = 64 * 1024
_ABSENT: Final = Raw()
_messages = msgspec.json.Decoder(list[Raw])


class Asking:
    """One request, looked at only as far as a route asks."""

    __slots__ = ("_tags", "_uses", "call", "headers", "key_name", "key_tags")

    def __init__(
        self,
        call: Call,
        headers: Mapping[bytes, bytes] = NO_HEADERS,
        *,
        key_name: str = "",
        key_tags: frozenset[str] = _NO_TAGS,
    ) -> None:
        """`key_name` and `key_tags` are those of the client's key."""
        self.call = call
        self.headers = headers
        self.key_name = key_name
        self.key_tags = key_tags
        self._uses: frozenset[str] | None = None
        self._tags: frozenset[str] | None = None

    @property
    def tags(self) -> frozenset[str]:
        """The tags of the client's key and those of the header `x-anyport-tags`."""
        if self._tags is None:
            told = self.headers.get(_TAGS, b"")[:_MAX_TAGS_BYTES].decode("latin-1")
            self._tags = self.key_tags | {tag for part in told.split(",") if (tag := part.strip())}
        return self._tags

    @property
    def uses(self) -> frozenset[str]:
        """What of `tools`, `images`, `audio`, `json_schema` the request uses."""
        if self._uses is None:
            self._uses = frozenset(_uses(self.call))
        return self._uses

    def member(self, name: str) -> bytes:
        """Returns a member of the request as it came, empty if it is not there or null."""
        raw = bytes(self.call.fields.get(name, _ABSENT))
        return b"" if raw == b"null" else raw

    def prompt_tokens(self) -> int:
        """Returns about how many tokens the request has: four bytes each."""
        return len(self.call.body) // BYTES_PER_TOKEN

    def answer_tokens(self) -> int:
        """Returns how many tokens the client wants at most; 0 if it does not say."""
        for name in ("max_completion_tokens", "max_tokens"):
            raw = self.member(name)
            if raw.isdigit() and len(raw) < 10:
                return int(raw)
        return 0

    def sticky_key(self, by: str) -> bytes:
        """Returns what requests that belong together have in common; empty if this one has nothing of the kind."""
        if by == "user":
            return self.member("user") or self.member("prompt_cache_key") or self.member("safety_identifier")
        if by == "prefix":
            return self._prefix()
        return self.headers.get(by.partition(":")[2].encode("latin-1"), b"")

    def _prefix(self) -> bytes:
        """The beginning of the conversation, which stays the same as it grows: all up to the first user's words."""
        if self.call.operation is not Operation.CHAT:
            return (self.member("prompt") or self.member("input"))[:_MAX_STICKY_BYTES]
        begun: list[bytes] = []
        for message in _messages.decode(self.call.fields["messages"]):
            raw = bytes(message)
            begun.append(raw[:_MAX_STICKY_BYTES])
            if b'"user"' in raw or len(begun) >= 8:
                break
        return b"".join(begun)


def _uses(call: Call) -> list[str]:
    fields = call.fields
    used: list[str] = []
    if any(bytes(fields.get(name, _ABSENT)) not in _NOTHING for name in ("tools", "functions")):
        used.append("tools")
    if b'"json_schema"' in bytes(fields.get("response_format", _ABSENT)):
        used.append("json_schema")
    messages = bytes(fields.get("messages", _ABSENT))
    # A quotation mark inside a text is escaped, so these are never a user's words.
    if b'"image_url"' in messages or b'"input_image"' in messages:
        used.append("images")
    if b'"input_audio"' in messages or b'"audio_url"' in messages:
        used.append("audio")
    return used
