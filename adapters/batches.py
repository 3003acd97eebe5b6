"""What the batch APIs of providers have in common: requests in, where it stands, answers out.

A provider takes many requests at once, at half the price, and answers them when it has room. The body of each is what
the ordinary adapter makes, and each answer is what that one reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from adapters.errors import Malformed
from adapters.types import HttpRequest, Operation, Target

NEVER_MADE = 0
"""In place of a status: the request expired or was cancelled before its turn came; it costs nothing."""
BATCH: Final = "the provider's batch"
LIST: Final = "the provider's list of batches"
ANSWER: Final = "one of the provider's answers"
T = TypeVar("T")
_PLAIN: Final = re.compile(r"[0-9A-Za-z_-]{1,200}")


def plain_id(id: str) -> str:
    """Returns an id that becomes part of a URL; raises Malformed for one that would be more than a part."""
    if _PLAIN.fullmatch(id) is None:
        raise Malformed("the provider's batch has an id that is none")
    return id


def read(decode: Callable[[bytes], T], body: bytes, what: str) -> T:
    """Returns what an answer says; raises Malformed, which says of what it is."""
    try:
        return decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"{what} cannot be read: {error}") from None


class Item(Struct, frozen=True):
    """One request of a batch."""

    id: str
    """1 to 64 letters, digits, `_` and `-`."""
    body: bytes


class Standing(Struct, frozen=True):
    """How it stands with a batch at the provider."""

    id: str
    is_over: bool
    name: str = ""
    """What we called it; empty if such batches have no names."""
    count: int = 0
    """How many requests it has."""
    created: float = 0.0
    """Unix seconds."""
    files: tuple[str, ...] = ()
    """What its answers are in, if that is known by a name."""
    input_file: str = ""
    """What its requests were in, if that is known by a name."""


class Answered(Struct, frozen=True):
    """What became of one request, as if it had been made alone."""

    id: str
    """Empty if the answer does not say whose it is."""
    status: int
    body: bytes = b""


class BatchProtocol(Protocol):
    """Speaks one provider's batch API; without I/O. All that reads raises Malformed."""

    operations: ClassVar[frozenset[Operation]]
    has_names: ClassVar[bool]
    """Whether a batch can be found again by the name that we gave it."""
    answers_in: ClassVar[bytes]
    """The member of a batch that has its answers; empty if they come alone, a line for each."""

    def upload(self, target: Target, operation: Operation, items: Sequence[Item], name: str) -> HttpRequest | None:
        """Returns what has to be sent before the batch itself, None if nothing has."""
        ...

    def submit(
        self, target: Target, operation: Operation, items: Sequence[Item], name: str, uploaded: bytes
    ) -> HttpRequest:
        """Returns what begins a batch; `uploaded` is the answer to the upload."""
        ...

    def look(self, target: Target, id: str) -> HttpRequest:
        """Returns what asks how it stands."""
        ...

    def cancel(self, target: Target, id: str) -> HttpRequest:
        """Returns what ends it early."""
        ...

    def find(self, target: Target, page: str) -> HttpRequest:
        """Returns what asks for batches: the newest, or a page that `next_page` has named."""
        ...

    def next_page(self, body: bytes) -> str:
        """Reads of the answer to `find` what the next page is asked for by, empty if there is none."""
        ...

    def standing(self, body: bytes) -> Standing:
        """Reads the answer to `submit` and `look`."""
        ...

    def found(self, body: bytes) -> Sequence[Standing]:
        """Reads the answer to `find`."""
        ...

    def results(self, target: Target, standing: Standing) -> Sequence[HttpRequest]:
        """Returns what gets the answers of a batch that is over."""
        ...

    def answered(self, answer: bytes) -> Answered:
        """Reads one answer of what `results` has got."""
        ...

    def withdrawal(self, target: Target, uploaded: bytes) -> Sequence[HttpRequest]:
        """Returns what takes away an upload of which no batch was begun."""
        ...

    def clearing(self, target: Target, standing: Standing) -> Sequence[HttpRequest]:
        """Returns what takes away what a batch that is over leaves there, once its answers are kept."""
        ...
