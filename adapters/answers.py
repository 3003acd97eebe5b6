"""A whole answer decoded, or said to be none: the same words for every protocol."""

from __future__ import annotations

import msgspec

from adapters.codec import JSON, decode
from adapters.errors import Malformed
from adapters.types import Head


def read_json(head: Head, body: bytes) -> JSON:
    """Returns what an answer says; raises Malformed for what is not JSON in UTF-8."""
    try:
        if not body.isascii():
            body.decode()
        return decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        kind = head.headers.get("content-type", "no content type").partition(";")[0]
        raise Malformed(f"the upstream's answer is not JSON ({kind}, {len(body)} bytes)") from error
