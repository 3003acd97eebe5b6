"""An event of an OpenAI-compatible stream: what has to be known of it is decoded, the rest stays as it came."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

ABSENT: Final = Raw()


class ToolDelta(Struct):
    """A piece of a tool call."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: Raw = ABSENT


class Delta(Struct):
    """What an event adds to a choice."""

    role: Raw = ABSENT
    content: Raw = ABSENT
    reasoning_content: Raw = ABSENT
    reasoning: Raw = ABSENT
    reasoning_details: Raw = ABSENT
    annotations: Raw = ABSENT
    tool_calls: list[ToolDelta] | None = None
    refusal: Raw = ABSENT
    function_call: Raw = ABSENT
    audio: Raw = ABSENT


class Choice(Struct):
    """One choice of an event."""

    index: int = 0
    delta: Delta | None = None
    text: Raw = ABSENT
    finish_reason: str | None = None
    message: Raw = ABSENT
    usage: Raw = ABSENT


class Chunk(Struct):
    """One event of a stream."""

    choices: list[Choice] | None = None
    usage: Raw = ABSENT
    error: Raw = ABSENT
    object: str | None = None
    model: str | None = None
    x_groq: Raw = ABSENT


class Constants(Struct):
    """The members that all events of a stream share."""

    id: Raw = ABSENT
    object: Raw = ABSENT
    created: Raw = ABSENT
    model: Raw = ABSENT


read_chunk: Final = msgspec.json.Decoder(Chunk).decode
read_constants: Final = msgspec.json.Decoder(Constants).decode
