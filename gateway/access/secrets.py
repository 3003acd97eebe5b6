"""New keys, and what is kept of them: a digest that says nothing without the pepper."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

from gateway.secret import Secret

PREFIX: Final = "sk-anyport-"
"""What all of our keys begin with; so scanners find those that leak."""
_RANDOM_BYTES: Final = 32
_SHOWN_CHARACTERS: Final = 4
_MIN_PEPPER_BYTES: Final = 16


class PepperMissing(Exception):
    """There is no pepper to check keys with; the message says where it should be, and what to do."""


def new_key() -> Secret:
    """Returns a key that nobody can guess: the prefix and 43 URL-safe characters."""
    return Secret(PREFIX + secrets.token_urlsafe(_RANDOM_BYTES))


def hint_of(key: Secret) -> str:
    """Returns the beginning of a key, for people to tell keys apart."""
    return key.reveal()[: len(PREFIX) + _SHOWN_CHARACTERS]


def digest_of(key: bytes, pepper: bytes) -> bytes:
    """Returns HMAC-SHA-256 of a key; raises ValueError for a pepper that keeps nothing secret."""
    if len(pepper) < _MIN_PEPPER_BYTES:
        raise ValueError(f"a pepper must have {_MIN_PEPPER_BYTES} bytes at least, not {len(pepper)}")
    return hmac.digest(pepper, key, "sha256")


class Pepper:
    """The secret that digests are made with: `access.pepper`, else a file that its user alone may read."""

    def __init__(self, configured: Secret | None, path: Path) -> None:
        """Reads and writes nothing yet."""
        self._value = configured.reveal().encode() if configured else None
        self._path = path

    def read(self) -> bytes:
        """Returns it; raises PepperMissing."""
        if self._value is None:
            try:
                value = self._path.read_bytes()
            except OSError as error:
                reason = (error.strerror or type(error).__name__).lower()
                raise PepperMissing(
                    f"{self._path} cannot be read: {reason}; bring it back, or set access.pepper to what it was"
                ) from None
            if len(value) < _MIN_PEPPER_BYTES:
                raise PepperMissing(f"{self._path} has only {len(value)} bytes; bring back what it was")
            self._value = value
        return self._value

    def make(self) -> bytes:
        """Returns it, and makes the file if there is none; of several processes, one makes it for all."""
        if self._value is None and not self._path.exists():
            try:
                self._write(secrets.token_hex(_RANDOM_BYTES).encode())
            except OSError as error:
                reason = (error.strerror or type(error).__name__).lower()
                raise PepperMissing(f"{self._path} cannot be written: {reason}; set access.pepper") from None
        return self.read()

    def _write(self, value: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}-{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(value)
                file.flush()
                os.fsync(descriptor)
            # A link appears whole or not at all, and never in the place of another's.
            with contextlib.suppress(FileExistsError):
                os.link(draft, self._path)
        finally:
            draft.unlink()
