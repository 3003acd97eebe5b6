"""Tokens that nobody else keeps: refresh tokens which a vendor gave in the place of older ones.

Theory. A vendor that replaces a refresh token takes the older one back, so the newest must outlive this process. Each
login has a file of its own in the data directory, for its user alone, sealed with AES-256-GCM if `ANYPORT_TOKEN_KEY` is
set (NIST SP 800-38D; the nonce is random, and a token is written a few times a day). A file is replaced whole or not at
all. Whoever renews holds the login's lock, and looks at the file again before it asks: processes that share a directory
share its logins. What cannot be opened is never written over.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import logging
import os
import secrets
import stat
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from gateway.credentials.errors import CredentialUnavailable
from gateway.credentials.extras import need_package, package
from gateway.secret import Secret

KEY_VARIABLE: Final = "ANYPORT_TOKEN_KEY"
_MIN_KEY_CHARACTERS: Final = 16
_FOLDER: Final = "logins"
_PURPOSE: Final = b"anyport logins 1"
_NONCE_BYTES: Final = 12
_MOST_BYTES: Final = 256 * 1024
_LOCK_EVERY_SECONDS: Final = 0.05
_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """A login as it was last renewed; times are seconds since the epoch."""

    origin: str
    """Names the refresh token that the operator gave: another one begins anew."""
    access: str
    refresh: str
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        return "Kept(***)"


class _Sealed(msgspec.Struct, frozen=True):
    """A file: one of the two."""

    version: int
    nonce: str = ""
    sealed: str = ""
    kept: Kept | None = None


class _Cipher(Protocol):
    """What is used of AESGCM."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes: ...


class Vault:
    """The files of kept tokens; its methods but `alone` may block."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        """`directory` is the data directory; touches nothing yet."""
        self._folder = directory / _FOLDER
        self._key = Secret(environ.get(KEY_VARIABLE, "").strip())

    def check(self) -> None:
        """Raises `CredentialUnavailable` if the key is too short, or there is nothing to seal with."""
        if not self._key:
            return
        if len(self._key.reveal()) < _MIN_KEY_CHARACTERS:
            raise CredentialUnavailable(
                f"{KEY_VARIABLE} must have at least {_MIN_KEY_CHARACTERS} characters; `openssl rand -hex 32` makes one"
            )
        need_package("cryptography", "tokens", KEY_VARIABLE)

    def read(self, name: str) -> Kept | None:
        """Returns what is kept under a name, None if nothing is; raises `CredentialUnavailable`."""
        path = self._path(name)
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                data = file.read(_MOST_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CredentialUnavailable(f"{_shown(path)} cannot be read: {_words(error)}") from None
        if mode & 0o077:
            raise CredentialUnavailable(f"others may read {_shown(path)} (mode {mode:o}): run `chmod 600` on it")
        try:
            found = msgspec.json.decode(data[:_MOST_BYTES], type=_Sealed)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise CredentialUnavailable(_damaged(path)) from None
        return self._opened(found, path, name)

    def write(self, name: str, kept: Kept) -> None:
        """Keeps tokens in the place of what was there; raises `CredentialUnavailable`."""
        path = self._path(name)
        try:
            self._make_folder()
            draft = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(msgspec.json.encode(self._closed(kept, name)))
                    file.flush()
                    os.fsync(descriptor)
                draft.rename(path)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise CredentialUnavailable(f"{_shown(path)} cannot be written: {_words(error)}") from None

    @contextlib.asynccontextmanager
    async def alone(self, name: str) -> AsyncGenerator[None]:
        """Holds the lock of a name, waiting for it; without a directory that can be written to, it holds nothing."""
        try:
            self._make_folder()
            lock = os.open(self._path(name).with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            _log.warning("%s: no lock, so other processes may renew the same login: %s", self._folder, _words(error))
            yield
            return
        try:
            while not _locked(lock):  # noqa: ASYNC110 - another process lets go, if only by its end
                await asyncio.sleep(_LOCK_EVERY_SECONDS)
            yield
        finally:
            os.close(lock)

    def _make_folder(self) -> None:
        for folder in (self._folder.parent, self._folder):  # `parents` would leave the mode of the upper one to chance
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _closed(self, kept: Kept, name: str) -> _Sealed:
        if not self._key:
            return _Sealed(1, kept=kept)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher().encrypt(nonce, msgspec.json.encode(kept), name.encode())
        return _Sealed(1, base64.b64encode(nonce).decode(), base64.b64encode(sealed).decode())

    def _opened(self, found: _Sealed, path: Path, name: str) -> Kept:
        if found.version != 1 or not (found.sealed or found.kept):
            raise CredentialUnavailable(_damaged(path))
        if not found.sealed and found.kept is not None:
            return found.kept
        if not self._key:
            raise CredentialUnavailable(
                f"{_shown(path)} is encrypted: set {KEY_VARIABLE} to the key that it was written with"
            )
        try:
            nonce, sealed = base64.b64decode(found.nonce), base64.b64decode(found.sealed)
            plain = self._cipher().decrypt(nonce, sealed, name.encode())
            return msgspec.json.decode(plain, type=Kept)
        except (ValueError, package("cryptography.exceptions").InvalidTag):
            raise CredentialUnavailable(
                f"{_shown(path)} was written with another {KEY_VARIABLE}, or is damaged: set the key that it was "
                "written with, or remove the file and log in again"
            ) from None

    def _cipher(self) -> _Cipher:
        key = package("cryptography.hazmat.primitives.kdf.hkdf").HKDF(
            algorithm=package("cryptography.hazmat.primitives.hashes").SHA256(), length=32, salt=None, info=_PURPOSE
        )
        derived: bytes = key.derive(self._key.reveal().encode())
        return package("cryptography.hazmat.primitives.ciphers.aead").AESGCM(derived)


def _damaged(path: Path) -> str:
    return f"{_shown(path)} is damaged: remove it and log in again, or bring back what it was"


def _shown(path: Path) -> str:
    """Returns the place within the data directory: where that is concerns no client who hears of it."""
    return f"{_FOLDER}/{path.name}"


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _words(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
