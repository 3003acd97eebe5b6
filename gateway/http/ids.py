"""Names for requests and answers: unique across processes, cheap, and no secret."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterable
from typing import Final

_CLIENT_ID: Final = re.compile(rb"(?!sk-)[A-Za-z0-9._:-]{1,128}")
"""What begins as keys do is taken for one: ids are written down."""


class Ids:
    """A random part for the process and a running number: randomness per request would cost a system call."""

    __slots__ = ("_numbers", "_process")

    _FIRST: Final = 0x1000_0001
    """Has as many digits as any that a process comes to."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(8)
        self._numbers = itertools.count(self._FIRST)

    def next(self) -> str:
        """Returns 24 or more characters that no other call gives."""
        return self._process + hex(next(self._numbers))[2:]

    def request_id(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Returns the client's `x-request-id` if it is harmless, else a new one."""
        given = [value for name, value in headers if name == b"x-request-id"]
        if given and _CLIENT_ID.fullmatch(given[0]):
            return given[0].decode("ascii")
        return "req_" + self.next()
