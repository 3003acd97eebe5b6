"""A secret that cannot be shown, logged, pickled or serialised by accident, and whose memory can be wiped."""

from __future__ import annotations

import hashlib
import hmac
from typing import NoReturn


class SecretWiped(Exception):
    """A secret was asked for after its end: whoever asks has outlived the configuration that it belonged to."""

    def __init__(self) -> None:
        super().__init__("this secret was wiped when its configuration was let go of")


class Secret:
    """Holds one secret; only `reveal` and `reveal_after` give it out, and every other way shows `***`.

    Its bytes stand in one buffer, which is overwritten by `wipe`, or when nobody has the secret any more.
    """

    __slots__ = ("_buffer", "_is_wiped", "_shown", "source")

    def __init__(self, value: str, source: str = "") -> None:
        """`source` says in words for people where it came from."""
        self._buffer = bytearray(value.encode("utf-8", "surrogatepass"))
        self._is_wiped = False
        self._shown: tuple[str, str] | None = None
        self.source = source

    def reveal(self) -> str:
        """Returns the secret itself; the only callers are those that put it on the wire or compare it."""
        return self._bytes().decode("utf-8", "surrogatepass")

    def reveal_after(self, prefix: str) -> str:
        """Returns the secret behind `prefix`, as a header has it: the same text each time, made once."""
        shown = self._shown
        if shown is None or shown[0] != prefix:
            shown = self._shown = (prefix, prefix + self.reveal())
        return shown[1]

    def digest(self) -> bytes:
        """Returns SHA-256 of the secret, to look it up or compare it."""
        return hashlib.sha256(self._bytes()).digest()

    def wipe(self) -> None:
        """Overwrites the secret where it stands; whoever asks for it from now on hears `SecretWiped`."""
        self._is_wiped = True
        self._shown = None
        self._buffer[:] = bytes(len(self._buffer))

    @property
    def is_wiped(self) -> bool:
        """True if nobody can have it any more."""
        return self._is_wiped

    def _bytes(self) -> bytearray:
        if self._is_wiped:
            raise SecretWiped
        return self._buffer

    def __del__(self) -> None:
        # Also where making it has failed before there was a buffer.
        if hasattr(self, "_buffer"):
            self.wipe()

    def __repr__(self) -> str:
        return "Secret(wiped)" if self._is_wiped else "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, format_spec: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        # One that was wiped is still one: nobody may take it for no credential, and go on without.
        return bool(self._buffer)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Secret) and hmac.compare_digest(self.digest(), other.digest()))

    def __hash__(self) -> int:
        return hash(self.digest())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")
