"""What goes wrong between having a credential configured and having one to put on a request."""

from __future__ import annotations


class InvalidCredential(ValueError):
    """A credential that cannot stand in a header; the message names its source, never its value."""


class CredentialUnavailable(Exception):
    """No credential can be had right now; the message says what to do and never holds a secret."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
