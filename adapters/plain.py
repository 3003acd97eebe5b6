"""Conversations in which every message is plain: texts, calls of functions, and their results.

Theory. Hundreds of such messages are what agents send, and reading each member of each message by hand costs more than
all the rest of a request. One typed decoding reads them, in C, and refuses everything else: a member more, a number,
an image. Whoever is refused reads the messages one by one.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Struct


class PlainFunction(Struct, frozen=True, forbid_unknown_fields=True):
    """What was called."""

    name: str
    arguments: str


class PlainCall(Struct, frozen=True, forbid_unknown_fields=True):
    """One member of `tool_calls`."""

    id: str
    function: PlainFunction
    type: str = ""


class PlainText(Struct, frozen=True, forbid_unknown_fields=True):
    """One part of a content that is written in parts."""

    type: Literal["text"]
    text: str


class PlainMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """A message of strings only: no number, nothing nested but calls and parts of text."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[PlainText] | None = None
    tool_calls: list[PlainCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None


decode_plain: Final = msgspec.json.Decoder(list[PlainMessage]).decode
"""`messages`, undecoded -> plain messages; msgspec.MsgspecError, or RecursionError, if one is anything else."""
