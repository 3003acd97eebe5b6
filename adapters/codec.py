"""JSON on the data plane: one encoder, and an object split at its top level only.

Splitting a body into `dict[str, Raw]` costs a fraction of decoding it, and joining it again copies bytes: a request
for an upstream that speaks OpenAI is never decoded below its top level.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

JSON = Any
"""A decoded JSON value."""

encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder().decode
split_object: Final = msgspec.json.Decoder(dict[str, Raw]).decode
"""bytes of a JSON object -> its members, values undecoded; msgspec.DecodeError or ValidationError otherwise."""


_NOTHING: Final = (b"", b"null")


def as_object(value: JSON) -> dict[str, Any]:
    """Returns `value` if it is a JSON object, else an empty one."""
    # A `cast` would be one call more for every object that is read.
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def as_list(value: JSON) -> list[Any]:
    """Returns `value` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]


def as_text(value: JSON) -> str:
    """Returns `value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def raw(value: object) -> Raw:
    """Returns `value` as JSON that can stand among undecoded members."""
    return Raw(encode(value))


def is_null(value: Raw | None) -> bool:
    """True for a member that is absent or null."""
    return value is None or (len(value) in (0, 4) and bytes(value) in _NOTHING)


def join_object(members: Mapping[str, Raw]) -> bytes:
    """Returns the JSON object with these members, in this order, values as they are."""
    return encode(members)


def floats_from_base64(text: str, layout: str = "<f") -> list[float]:
    """Decodes an embedding sent as base64 of numbers of the given layout; ValueError if it is none.

    The layout is the struct module's for one number: little-endian float32 unless a vendor differs.
    """
    try:
        data = base64.b64decode(text, validate=True)
        return [float(value) for (value,) in struct.iter_unpack(layout, data)]
    except (binascii.Error, struct.error, ValueError) as error:
        raise ValueError("not base64 of numbers") from error


def base64_from_floats(values: list[float]) -> str:
    """Encodes an embedding as base64 of little-endian float32, as OpenAI does; ValueError for other than numbers."""
    try:
        return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    except (struct.error, OverflowError) as error:
        raise ValueError("not a list of float32 values") from error
