"""What an interaction is answered with at once (`developers/interactions/receiving-and-responding.mdx`)."""

from __future__ import annotations

from typing import Any, Final

from adapters.codec import encode

PONG: Final = encode({"type": 1})
EPHEMERAL: Final = 64
"""Flag of a message that only one person sees."""
NO_MENTIONS: Final = {"parse": ()}
"""Whatever a text says: nobody is called by it."""


def later(*, is_private: bool) -> bytes:
    """Returns that the answer will come: Discord shows that the bot is thinking."""
    return encode({"type": 5, "data": {"flags": EPHEMERAL}} if is_private else {"type": 5})


def told(text: str) -> bytes:
    """Returns a message that only who has asked sees."""
    return encode({"type": 4, "data": {"flags": EPHEMERAL, **message(text)}})


def message(text: str) -> dict[str, Any]:
    """Returns a message of this text."""
    return {"content": text, "allowed_mentions": NO_MENTIONS}
