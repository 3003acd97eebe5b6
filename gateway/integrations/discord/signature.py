"""Whether an interaction is from Discord: its signature, and that it is not an old one.

Discord signs `X-Signature-Timestamp` and the raw body with Ed25519; an endpoint must answer 401 to anything else, and
is sent wrong signatures to see that it does (`developers/interactions/overview.mdx`, "Setting Up an Endpoint").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.errors import BadSignature

_SIGNATURE: Final = b"x-signature-ed25519"
_TIMESTAMP: Final = b"x-signature-timestamp"
_SIGNATURE_CHARS: Final = 128
_MAX_TIMESTAMP_CHARS: Final = 12
MAX_AGE_SECONDS: Final = 300
"""How far the timestamp may be from our clock: what somebody has overheard is of no use after that."""


class Signatures:
    """Checks requests against one application's public key."""

    def __init__(self, public_key: str, wall: Callable[[], float]) -> None:
        """`public_key` is hexadecimal; `wall` gives Unix seconds."""
        self._key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        self._wall = wall

    def check(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        """Raises BadSignature unless Discord has sent exactly this, now."""
        timestamp = headers.get(_TIMESTAMP, b"")
        if not timestamp.isdigit() or len(timestamp) > _MAX_TIMESTAMP_CHARS:
            raise BadSignature("the signature of the interaction is missing or wrong")
        try:
            self._key.verify(_decoded(headers.get(_SIGNATURE, b"")), timestamp + body)
        except (InvalidSignature, ValueError):
            raise BadSignature("the signature of the interaction is missing or wrong") from None
        # Only now: whoever cannot sign learns nothing of our clock.
        if abs(self._wall() - int(timestamp)) > MAX_AGE_SECONDS:
            raise BadSignature(
                f"the interaction was signed more than {MAX_AGE_SECONDS} s away from this machine's time"
            )


def _decoded(signature: bytes) -> bytes:
    if len(signature) != _SIGNATURE_CHARS:
        raise ValueError("not a signature")
    return bytes.fromhex(signature.decode("ascii"))
